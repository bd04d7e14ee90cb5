"""`dod letters` and `dod tenant verification` as they are typed, beside a running service."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from api import database
from api.app import utc_now
from api.auth.verification import SHAPE
from store.metrics import StoreMetrics
from store.mongo.stores import opened
from tests.support.commands import command
from tests.support.fhir import MRN, Json, identified, message, patient, report
from tests.support.mllp import connected, fed_service, oru
from tests.support.service import Service, opened_service, settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from store.stores import Stores
    from tests.support.commands import Dod

SENTINEL = "sentinel-8812"


@pytest.fixture
async def here(mongodb: str) -> AsyncIterator[Service]:
    """A service by the wall clock, as the commands have it."""
    async with opened_service(mongodb, mongodb_database="dod_letters") as service:
        service.clock.now = utc_now()
        yield await service.new_tenant()


@pytest.fixture
def dod(mongodb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dod:
    @asynccontextmanager
    async def stores(_: object) -> AsyncIterator[Stores]:
        chosen = settings(mongodb_database="dod_letters")
        metrics = StoreMetrics(CollectorRegistry())
        async with opened(chosen, uri=mongodb, clock=utc_now, metrics=metrics) as found:
            yield found

    monkeypatch.setattr(database, "command_stores", stores)
    return command(monkeypatch, capsys)


def wrong(**elements: Any) -> Json:
    faulty = report(conclusion=SENTINEL, **elements)
    del faulty["status"]
    return message(faulty)


async def refused(service: Service, body: Json | str) -> str:
    data = body if isinstance(body, str) else json.dumps(body)
    answer = await service.request("POST", "$process-message", data=data)
    return answer.headers["Dead-Letter"]


async def test_from_refusal_to_replay(here: Service, dod: Dod, tmp_path: Path) -> None:
    tenant = str(here.tenant)
    letter = await refused(here, wrong())
    listed = await dod("letters", "list", "--tenant", tenant)
    head, row = listed.out.splitlines()
    assert head.split()[:4] == ["ID", "TIME", "TIMES", "TENANT"]
    assert row.split()[0] == letter
    assert {tenant, "process-message", "open", f"{len(json.dumps(wrong())):,}"} <= set(row.split())
    shown = await dod("letters", "show", letter)
    assert "DiagnosticReport.status" in shown.out or "status" in shown.out
    assert SENTINEL not in listed.out + shown.out
    bodied = await dod("letters", "show", letter, "--body")
    assert json.dumps(wrong()) in bodied.out
    assert "body shown" in (await dod("letters", "show", letter)).out

    still = await dod("letters", "replay", letter)
    assert still.code == 1
    assert still.out.startswith(f"{letter} is still open: ")
    good = tmp_path / "good.json"
    sick = patient("p1", identified(MRN, "made-up-1"))
    mended = message(sick, report(conclusion=SENTINEL))
    good.write_text(json.dumps(mended))
    assert (await dod("letters", "fix", letter, str(good))).code == 0
    done = await dod("letters", "replay", letter)
    assert (done.code, done.out) == (0, f"{letter} replayed\n")
    assert len((await here.search(f"patient.identifier={MRN}|made-up-1")).ids) == 1
    sent_again = await here.request("POST", "$process-message", mended)
    assert sent_again.headers["Idempotent-Replayed"] == "true"
    again = await dod("letters", "replay", letter)
    assert (again.code, "replayed already" in again.err) == (1, True)
    assert letter in (await dod("letters", "list", "--state", "replayed", "--tenant", tenant)).out
    assert letter not in (await dod("letters", "list", "--tenant", tenant)).out
    assert "dod letters" not in [grant.client for grant in await here.access.grants()]


async def test_all_and_by_reason(here: Service, dod: Dod) -> None:
    tenant = str(here.tenant)
    faulty = []
    for note in ("a", "b"):
        faulty.append(await refused(here, wrong(note=note)))
        here.clock.move(seconds=1)
    broken = await refused(here, "{")
    by_reason = await dod("letters", "list", "--reason", "structure", "--tenant", tenant)
    assert broken in by_reason.out
    assert not any(letter in by_reason.out for letter in faulty)
    discarded = await dod("letters", "discard", "--reason", "structure", "--tenant", tenant)
    assert discarded.out == f"{broken} discarded\n"
    replayed = await dod("letters", "replay", "--all", "--tenant", tenant)
    assert replayed.code == 1
    assert [line.split()[0] for line in replayed.out.splitlines()] == faulty
    assert (await dod("letters", "discard", "--all", "--tenant", tenant)).out.count("discarded") == 2
    nothing = await dod("letters", "replay", "--all", "--tenant", tenant)
    assert (nothing.code, nothing.out) == (0, "no letters to replay\n")


async def test_a_message_of_a_port_is_replayed_beside_the_service_that_listens_there(
    mongodb: str, dod: Dod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = {"mongodb_database": "dod_letters"}
    async with fed_service(mongodb, **changed) as (service, port), connected(port) as sender:
        service.clock.now = utc_now()
        assert (await sender.send(oru(status="Z")))[1] == "AE"
        row = (await dod("letters", "list", "--tenant", str(service.tenant))).out.splitlines()[1]
        letter = row.split()[0]
        good = tmp_path / "good.hl7"
        good.write_bytes(oru())
        await dod("letters", "fix", letter, str(good))
        monkeypatch.setenv("DOD_MLLP_PORT", str(port))
        monkeypatch.setenv("DOD_MLLP_TENANT", str(service.tenant))
        monkeypatch.setenv("DOD_RATE_PUSH", "1/hour")
        done = await dod("letters", "replay", letter)
        assert (done.code, done.out) == (0, f"{letter} replayed\n"), done
        assert len((await service.search("patient.identifier=P-1")).ids) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("letters", "replay"), 2, "--all"),
        (("letters", "discard", "x", "--all"), 2, "--all"),
        (("letters", "show", "nothing"), 1, "no dead letter nothing"),
        (("letters", "list", "--state", "lost"), 2, "--state"),
        (("letters", "list", "--tenant", "nobody/Staging"), 1, "no tenant"),
        (("letters", "fix", "x", "/nowhere/file"), 1, "cannot be read"),
        (("tenant", "verification", "nobody/Staging", "set"), 1, "no tenant"),
        (("tenant", "verification", "nobody/Staging", "give"), 2, "rotate"),
        (("tenant", "verification", "nobody", "set"), 2, "ORG/ENV"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_what_is_refused(dod: Dod, arguments: tuple[str, ...], code: int, said: str) -> None:
    result = await dod(*arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err


async def test_a_verification_token_is_set_rotated_shown_and_removed(
    here: Service, dod: Dod, tmp_path: Path
) -> None:
    tenant = str(here.tenant)
    made = (await dod("tenant", "verification", tenant, "set")).out.removesuffix("\n")
    assert SHAPE.fullmatch(made)
    given = tmp_path / "token"
    given.write_text("made-up-verification-token\n")
    rotated = await dod("tenant", "verification", tenant, "rotate", "--token-file", str(given))
    assert (rotated.code, "made-up" in rotated.out) == (0, False)
    state = (await dod("tenant", "verification", tenant, "show-state")).out
    assert [line.split()[-1] for line in state.splitlines()] == ["STATE", "current", "overlap"]
    assert made not in state
    here.clock.now = utc_now()
    nobody = Service(here.client, here.clock, here.tenant)
    for token in (made, "made-up-verification-token"):
        assert (await nobody.create(report(), verification_token=token)).status == 201
    await dod("tenant", "verification", tenant, "remove")
    assert (await nobody.create(report(), verification_token=made)).status == 401
