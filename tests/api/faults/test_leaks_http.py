"""Nothing of a patient leaves but in answers that were asked for: whatever succeeds, fails, freezes or dies.

A service of its own with its embedded mongod; texts that stand for a patient are pushed, searched and sent
where they do not belong. Afterwards logs, metrics, header fields, errors and page links are read.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.fhir import identified, message, patient, refers, report
from tests.support.mongod import frozen
from tests.support.preloaded import said_by
from tests.support.served import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.served import Served

pytestmark = [pytest.mark.mongo, pytest.mark.slow]

NUMBER, FAMILY, GIVEN = "SENTINEL4711", "Sentinelsson", "Sentinelia"
FINDING, PHONE, SECRET = "sentinelfinding", "+49-30-5550177", "dod_sentinelsecretsentinelsecretsentinelsecr0"
TEXTS = (NUMBER, FAMILY, GIVEN, FINDING, PHONE, SECRET)
SYSTEM = "urn:example:mrn"
TENANT = "leak/Development"
FHIR = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
QUICK = {"DOD_STORE_TIMEOUT_SECONDS": "2", "DOD_SEARCH_TIMEOUT_SECONDS": "2", "DOD_LOG_LEVEL": "DEBUG"}


class Heard:
    """Header fields, error texts and links: all that a client sees beside the resources it asked for."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.statuses: set[int] = set()

    def note(self, answer: httpx.Response) -> None:
        self.statuses.add(answer.status_code)
        self.told.append(("header fields", str(answer.headers)))
        if answer.status_code >= 400:
            self.told.append(("the text of an error", answer.text))
            return
        with suppress(ValueError, AttributeError):
            links = answer.json().get("link", [])
            self.told += [("a page link", one["url"]) for one in links if one["relation"] != "self"]


def hers() -> dict[str, Any]:
    name = [{"family": FAMILY, "given": [GIVEN]}]
    telecom = [{"system": "phone", "value": PHONE}]
    return patient("p1", identified(SYSTEM, NUMBER), name=name, telecom=telecom)


def reports() -> list[dict[str, Any]]:
    return [report(f"r{number}", "p1", conclusion=f"{FINDING} {number}") for number in range(3)]


def requests() -> Iterator[tuple[str, str, Any, dict[str, str]]]:
    """Method, path, body and header fields; what is asked for, and what is wrong with it."""
    yield "PUT", "Patient/p1", hers(), FHIR
    for one in reports():
        yield "PUT", f"DiagnosticReport/{one['id']}", one, FHIR
    yield "POST", "$process-message", message(hers(), *reports()), FHIR
    yield "GET", f"DiagnosticReport?patient.identifier={SYSTEM}|{NUMBER}&_count=1", None, {}
    yield "POST", "DiagnosticReport/_search", f"patient.identifier={SYSTEM}|{NUMBER}&_count=1", FORM
    yield "GET", f"Patient?family={FAMILY}&phone={PHONE}", None, {}
    yield "GET", "Patient/p1/$everything?_count=1", None, {}
    yield "GET", "DiagnosticReport/r1/_history?_count=1", None, {}
    # Refused, each for a reason of its own.
    yield "GET", f"DiagnosticReport?code={FINDING}", None, {}
    yield "GET", f"DiagnosticReport?patient=p1&date={NUMBER}", None, {}
    yield (
        "GET",
        f"DiagnosticReport?patient=p1&odd={NUMBER}&note={FAMILY}",
        None,
        {"Prefer": "handling=strict"},
    )
    yield "GET", f"DiagnosticReport?_page={NUMBER}", None, {}
    yield "GET", f"DiagnosticReport?patient:odd={NUMBER}", None, {}
    yield "GET", f"DiagnosticReport?patient=p1&_has:Odd:x:y={NUMBER}", None, {}
    yield "GET", f"Patient/{NUMBER}", None, {}
    yield "GET", f"Odd/{NUMBER}", None, {}
    yield "GET", f"Patient/{NUMBER}/$odd", None, {}
    yield "PUT", "Patient/p1", {**hers(), "birthDate": FINDING}, FHIR
    yield (
        "PUT",
        "Patient/p1",
        {**hers(), "gender": FAMILY, "odd": [PHONE]},
        {**FHIR, "Prefer": "handling=strict"},
    )
    yield "PUT", "Patient/p2", {**hers(), "id": NUMBER}, FHIR
    yield "PUT", f"Patient?identifier={SYSTEM}|{NUMBER}&birthdate={FINDING}", hers(), FHIR
    yield "POST", "Patient", hers(), {**FHIR, "If-None-Exist": f"identifier={NUMBER}&odd={FAMILY}"}
    yield "POST", "Patient", f'{{"resourceType": "Patient", "name": [{{"family": "{FAMILY}', FHIR
    yield "POST", "Patient", f'{{"resourceType": "{FAMILY}"}}', FHIR
    yield (
        "POST",
        "DiagnosticReport",
        {**report("x"), "status": FINDING, "subject": refers(f"Odd/{NUMBER}")},
        FHIR,
    )
    yield "POST", "", {"resourceType": "Bundle", "type": FINDING, "entry": [{"resource": hers()}]}, FHIR
    yield (
        "PATCH",
        "Patient/p1",
        [{"op": "test", "path": f"/{FAMILY}", "value": NUMBER}],
        {"Content-Type": "application/json-patch+json"},
    )
    yield "DELETE", f"Patient?name={FAMILY}", None, {}
    yield "GET", "Patient/p1", None, {"Authorization": f"Bearer {SECRET}"}
    yield "GET", "Patient/p1", None, {"If-None-Match": f'W/"{NUMBER}"', "Accept": f"text/{FAMILY}"}
    yield "GET", f"AuditEvent?patient.identifier={NUMBER}", None, {}


def dod(folder: Path, *words: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOD_")}
    return said_by(*words, environment={**clean, "DOD_DATA_DIR": str(folder / "data")})


def mongod_of(service: Served) -> int:
    pid = service.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    [found] = [
        int(child)
        for child in children
        if "mongod" in Path(f"/proc/{child}/cmdline").read_text().split("\0")[0]
    ]
    return found


async def back(client: httpx.AsyncClient, url: str) -> None:
    """Wait until the service has found its database again."""
    async with asyncio.timeout(60):
        while True:
            if (await client.get(url)).status_code == 200:
                return
            await asyncio.sleep(0.1)


async def test_nothing_of_a_patient_leaves_but_in_answers(tmp_path: Path) -> None:
    heard = Heard()
    given = {"DOD_DATA_DIR": str(tmp_path / "data"), **QUICK}
    async with served(tmp_path, "", "dod", **given) as service:
        await asyncio.to_thread(dod, tmp_path, "tenant", "create", TENANT)
        scopes = [word for scope in ("system/*.cruds", "dod/audit") for word in ("--scope", scope)]
        token = await asyncio.to_thread(dod, tmp_path, "token", "issue", "--tenant", TENANT, *scopes)
        base = f"{service.url}/fhir/R4/{TENANT}"
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:

            async def send(method: str, path: str, body: Any, headers: dict[str, str]) -> None:
                sent = body if body is None or isinstance(body, str) else json.dumps(body)
                url = f"{base}/{path}".rstrip("/")
                heard.note(await client.request(method, url, content=sent, headers=headers))

            for request in requests():
                await send(*request)
            assert heard.statuses >= {200, 201, 400, 401, 404, 406, 422}
            with frozen(mongod_of(service)):
                for request in requests():
                    if request[1] in ("Patient/p1", "$process-message") or "identifier" in request[1]:
                        await send(*request)
            assert heard.statuses & {503, 504}
            metrics = (await client.get(f"{service.admin_url}/metrics")).text
            heard.told.append(("metrics", metrics))
            assert "dod_http_requests_total" in metrics
            await back(client, f"{service.admin_url}/readyz")
            os.kill(mongod_of(service), signal.SIGABRT)
            with suppress(httpx.HTTPError):
                await send("GET", f"DiagnosticReport?patient.identifier={SYSTEM}|{NUMBER}", None, {})
            async with asyncio.timeout(60):
                assert await service.process.wait() != 0
    logs = [service.log, *(tmp_path / "data").glob("mongod.log*")]
    assert len(logs) >= 2
    heard.told += [(log.name, log.read_text(errors="replace")) for log in logs]
    leaks = {
        (where, text, told[max(found.start() - 150, 0) : found.end() + 50])
        for where, told in heard.told
        for text in TEXTS
        if (found := re.search(re.escape(text), told, re.IGNORECASE)) is not None
    }
    assert leaks == set()
