"""Refused pushes over HTTP: what is kept of which, and what an admin does with it."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest

from api.http.app_keys import DEAD_LETTERS
from ingest.http.letter_keeper import ENTRY_LETTERS_MAX
from tests.api.interactions.dead_letters.letters import (
    SENTINEL,
    admin_of,
    kept,
    letters,
    metrics,
    replay,
    right_message,
    wrong,
    wrong_message,
)
from tests.support.fhir import MRN, batch, report
from tests.support.service import FHIR, Service, opened_service

# --- what is kept


@pytest.mark.parametrize(
    ("method", "path", "data", "operation", "status", "code"),
    [
        ("POST", "$process-message", json.dumps(wrong_message()), "process-message", 422, None),
        (
            "POST",
            "DiagnosticReport/$diagnosticreport-create",
            json.dumps(report()),
            "process-message",
            422,
            None,
        ),
        ("POST", "DiagnosticReport", json.dumps(wrong()), "create", 422, None),
        ("PUT", f"DiagnosticReport/{SENTINEL}", json.dumps(wrong("r1")), "update", 400, "invalid"),
        ("POST", "", json.dumps(report(conclusion=SENTINEL)), "batch", 400, "not-supported"),
        ("POST", "DiagnosticReport", f'{{"{SENTINEL}": 1, ', "create", 400, "structure"),
        ("POST", "DiagnosticReport", b"\xff\xfe" + SENTINEL.encode(), "create", 400, "structure"),
    ],
    ids=["message", "not-a-message", "create", "update", "batch", "not-json", "not-utf-8"],
)
async def test_a_push_refused_for_its_content_is_kept(
    service: Service, method: str, path: str, data: str | bytes, operation: str, status: int, code: str | None
) -> None:
    answer = await service.request(method, path, data=data)
    assert answer.status == status, answer.text
    [letter] = await letters(service)
    assert letter["id"] == answer.headers["Dead-Letter"]
    sent = data.encode() if isinstance(data, str) else data
    assert (letter["operation"], letter["status"], letter["size"]) == (operation, status, len(sent))
    assert (letter["client"], letter["state"], letter["attempts"], letter["times"]) == ("tests", "open", 0, 1)
    assert letter["reason"]["text"] == answer.body["issue"][0]["details"]["text"]
    assert letter["reason"]["code"] == answer.issues[0][1] == (code or answer.issues[0][1])
    assert await service._app[DEAD_LETTERS].body(service.tenant, letter["id"]) == sent
    assert f'dod_dead_letters_total{{code="{letter["reason"]["code"]}"}} 1.0' in metrics(service)


async def test_a_compressed_body_is_kept_as_it_was_understood(service: Service) -> None:
    data = json.dumps(wrong()).encode()
    answer = await service.request(
        "POST", "DiagnosticReport", data=gzip.compress(data), headers={"Content-Encoding": "gzip"}
    )
    letter = answer.headers["Dead-Letter"]
    assert await service._app[DEAD_LETTERS].body(service.tenant, letter) == data


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("PUT", "DiagnosticReport/r1", report(), {"If-Match": 'W/"9"'}, 412),
        ("POST", "DiagnosticReport", report(), {"Content-Type": "text/plain"}, 415),
        ("POST", "DiagnosticReport", report(), {"Accept": "text/html"}, 406),
        ("POST", "DiagnosticReport", wrong(), {"Authorization": "Bearer nothing"}, 401),
        ("POST", "DiagnosticReport/$unknown", wrong(), {}, 404),
        ("GET", "DiagnosticReport?nonsense:of=1", None, {}, 400),
        ("DELETE", "DiagnosticReport/r1", None, {"If-Match": "nonsense"}, 400),
        ("POST", "DiagnosticReport", None, {"Content-Type": FHIR}, 400),
    ],
)
async def test_other_refusals_are_not_kept(
    shared: Service, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = await shared.request(method, path, body, headers=headers)
    assert answer.status == status, answer.text
    assert "Dead-Letter" not in answer.headers
    assert await letters(shared, "state=all") == []


async def test_a_forbidden_type_is_not_kept(service: Service) -> None:
    reader = await service.with_token(scopes=["system/DiagnosticReport.cu"])
    answer = await reader.request("POST", "$process-message", right_message())
    assert (answer.status, answer.headers.get("Dead-Letter")) == (403, None)


async def test_a_body_beyond_the_limit_is_refused_unread(mongodb: str) -> None:
    async with opened_service(mongodb, body_bytes_max=2_000, resource_bytes_max=1_500) as service:
        over = await service.create(report(conclusion=SENTINEL + "x" * 2_000))
        assert (over.status, over.headers.get("Dead-Letter")) == (413, None)
        within = await service.create(report(conclusion=SENTINEL + "x" * 1_400))
        assert within.status == 413
        assert [one["id"] for one in await letters(service)] == [within.headers["Dead-Letter"]]


async def test_a_body_above_the_bound_leaves_its_reasons_only(mongodb: str) -> None:
    async with opened_service(mongodb, dead_letter_bytes_max=100) as service:
        letter = await kept(service)
        [listed] = await letters(service)
        assert (listed["hasBody"], listed["size"]) == (False, len(json.dumps(wrong_message())))
        answer = await replay(service, letter)
        assert (answer.status, answer.issues) == (409, [("error", "conflict")])
        fixed = await (await admin_of(service)).request("PUT", f"$dead-letters/{letter}", right_message())
        assert (fixed.status, fixed.body["hasBody"]) == (200, True)
        assert (await replay(service, letter)).body["state"] == "replayed"


async def test_an_entry_refused_by_a_batch_is_a_letter_of_its_own(service: Service) -> None:
    answer = await service.request(
        "POST",
        "",
        batch(
            ("PUT", "DiagnosticReport/good", report("good")),
            ("PUT", "DiagnosticReport/bad", wrong("bad")),
            ("POST", "DiagnosticReport", wrong("other")),
            ("DELETE", "DiagnosticReport/gone", None),
        ),
    )
    assert answer.status == 200
    told = [
        [issue["details"]["text"] for issue in entry["response"].get("outcome", {}).get("issue", [])][-1:]
        for entry in answer.body["entry"]
    ]
    by_operation = {letter["operation"]: letter["id"] for letter in await letters(service)}
    assert set(by_operation) == {"update", "create"}
    assert told[1:] == [
        [f"Dead-Letter: {by_operation['update']}"],
        [f"Dead-Letter: {by_operation['create']}"],
        [],
    ]
    admin = await admin_of(service)
    await admin.request("PUT", f"$dead-letters/{by_operation['update']}", report("bad"))
    assert (await replay(service, by_operation["update"])).body["state"] == "replayed"
    assert (await service.get("DiagnosticReport/bad")).status == 200


async def test_many_refused_entries_of_one_batch_push_out_nobodys_letters(service: Service) -> None:
    others = await kept(service)
    bad = [("PUT", f"DiagnosticReport/bad{n}", wrong(f"bad{n}")) for n in range(ENTRY_LETTERS_MAX + 3)]
    answer = await service.request("POST", "", batch(*bad, ("PUT", "DiagnosticReport/good", report("good"))))
    told = [
        entry["response"]["outcome"]["issue"][-1]["details"]["text"] for entry in answer.body["entry"][:-1]
    ]
    assert len(set(told)) == ENTRY_LETTERS_MAX + 1
    assert told[-1] == told[-3] != told[-4]
    listed = await letters(service, "count=200")
    assert len(listed) == ENTRY_LETTERS_MAX + 2
    assert others in [letter["id"] for letter in listed]
    rest = told[-1].removeprefix("Dead-Letter: ")
    [letter] = [one for one in listed if one["id"] == rest]
    assert (letter["operation"], letter["reason"]["code"]) == ("batch", "required")
    admin = await admin_of(service)
    body = json.loads((await admin.get(f"$dead-letters/{rest}?body=true")).body["body"])
    assert [entry["resource"]["id"] for entry in body["entry"]] == [one[2]["id"] for one in bad[-3:]]
    for entry in body["entry"]:
        entry["resource"]["status"] = "final"
    await admin.request("PUT", f"$dead-letters/{rest}", body)
    assert (await replay(service, rest)).body["state"] == "replayed"
    assert (await service.get(bad[-1][1])).status == 200


async def test_a_companion_that_a_message_refused_is_a_letter(service: Service) -> None:
    faulty = {
        "resourceType": "Organization",
        "id": "o",
        "identifier": [{"type": SENTINEL, "system": "urn:x", "value": "7"}],
    }
    sent = right_message()
    sent["entry"] += [{"fullUrl": "urn:uuid:o", "resource": faulty}]
    sent["entry"][2]["resource"]["performer"] = [{"reference": "urn:uuid:o"}]
    answer = await service.request("POST", "$process-message", sent)
    assert [entry["response"]["status"][:3] for entry in answer.body["entry"]] == ["201"] * 3 + ["422"]
    assert SENTINEL not in answer.text
    [letter] = await letters(service)
    assert letter["operation"] == "update"
    assert f"Dead-Letter: {letter['id']}" in answer.text
    admin = await admin_of(service)
    body = json.loads((await admin.get(f"$dead-letters/{letter['id']}?body=true")).body["body"])
    await admin.request("PUT", f"$dead-letters/{letter['id']}", {**body, "identifier": []})
    assert (await replay(service, letter["id"])).body["state"] == "replayed"
    stored = await service.search(f"identifier={MRN}|{SENTINEL}", type="Patient")
    found = await service.search(f"patient={stored.ids[0]}")
    [match] = found.matches
    [performer] = match["resource"]["performer"]
    assert (await service.get(performer["reference"])).status == 200


async def test_a_push_repeated_is_one_letter_and_another_is_another(service: Service) -> None:
    first = await kept(service)
    service.clock.move(minutes=2)
    twins = await asyncio.gather(*(kept(service) for _ in range(8)))
    assert set(twins) == {first}
    [letter] = await letters(service)
    assert (letter["times"], letter["time"], letter["lastTime"]) == (
        9,
        "2026-11-22T12:00:00Z",
        "2026-11-22T12:02:00Z",
    )
    assert await kept(service, body=wrong_message(timestamp="2026-01-01T00:00:00Z")) != first
    assert await kept(service, path="DiagnosticReport/$write") != first


async def test_simultaneous_first_comers_are_one_letter(service: Service) -> None:
    for number in range(5):
        body = wrong_message(id=f"round-{number}")
        assert len(set(await asyncio.gather(*(kept(service, body=body) for _ in range(10))))) == 1


async def test_a_database_that_fails_changes_no_refusal(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> str:
        from store.errors import Category, ServiceError  # noqa: PLC0415

        raise ServiceError(Category.UNAVAILABLE)

    monkeypatch.setattr(service._app[DEAD_LETTERS], "keep", fail)
    answer = await service.request("POST", "$process-message", wrong_message())
    assert (answer.status, answer.headers.get("Dead-Letter")) == (422, None)
    assert 'dod_dead_letters_lost_total{why="unavailable"} 1.0' in metrics(service)
