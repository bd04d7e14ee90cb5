"""Refused pushes over HTTP: what is kept of which, and what an admin does with it."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from prometheus_client import generate_latest

from api.http.app_keys import DEAD_LETTERS, REGISTRY
from ingest.http.letter_keeper import ENTRY_LETTERS_MAX
from store.dead_letters import State
from tests.support.fhir import MRN, Json, batch, identified, message, patient, report
from tests.support.lines import logged
from tests.support.service import FHIR, Answer, Service, opened_service

SENTINEL = "sentinel-5527"
"""A patient's value: stands in every payload here, and may show in none of the places that are looked at."""
ADMIN = ("dod/admin",)
MRNS = f"Patient?identifier={MRN}|{SENTINEL}"


@pytest.fixture
def service(own_service: Service) -> Service:
    """A service of its own: its counts start at nothing."""
    return own_service


def wrong(id: str = "r1", **elements: Any) -> Json:
    """A report without the status that R4 demands."""
    faulty = report(id, conclusion=SENTINEL, **elements)
    del faulty["status"]
    return faulty


def wrong_message(**elements: Any) -> Json:
    """A message of a patient and a faulty report."""
    return message(patient("p1", identified(MRN, SENTINEL)), wrong(), **elements)


def right_message(**elements: Any) -> Json:
    return message(patient("p1", identified(MRN, SENTINEL)), report(conclusion=SENTINEL), **elements)


async def admin_of(service: Service) -> Service:
    return await service.with_token(scopes=ADMIN)


async def letters(service: Service, query: str = "") -> list[Json]:
    answer = await (await admin_of(service)).get(f"$dead-letters?{query}")
    assert answer.status == 200, answer.text
    assert SENTINEL not in answer.text
    listed: list[Json] = answer.body["letters"]
    return listed


async def kept(
    service: Service, method: str = "POST", path: str = "$process-message", body: Any = None
) -> str:
    """Push what is refused; the id of its letter."""
    answer = await service.request(method, path, wrong_message() if body is None else body)
    assert 400 <= answer.status < 500, answer.text
    assert SENTINEL not in answer.text
    return answer.headers["Dead-Letter"]


async def replay(service: Service, letter: str) -> Answer:
    return await (await admin_of(service)).request("POST", f"$dead-letters/{letter}/$replay")


def metrics(service: Service) -> str:
    return generate_latest(service._app[REGISTRY]).decode()


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
    service: Service, method: str, path: str, body: Any, headers: dict[str, str], status: int
) -> None:
    answer = await service.request(method, path, body, headers=headers)
    assert answer.status == status, answer.text
    assert "Dead-Letter" not in answer.headers
    assert await letters(service, "state=all") == []


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


# --- showing


async def test_the_payload_shows_only_when_asked_for_and_the_letter_notes_it(service: Service) -> None:
    letter = await kept(service)
    admin = await admin_of(service)
    shown = await admin.get(f"$dead-letters/{letter}")
    assert SENTINEL not in shown.text
    assert shown.body["issues"][0]["expression"]
    assert (shown.body["contentType"], shown.body["events"]) == (FHIR, [])
    payload = (await admin.get(f"$dead-letters/{letter}?body=true")).body
    assert json.loads(payload["body"]) == wrong_message()
    assert (payload["method"], payload["path"]) == ("POST", "$process-message")
    assert "Authorization" not in payload["headers"]
    [event] = (await admin.get(f"$dead-letters/{letter}")).body["events"]
    assert event["did"] == "body shown"


async def test_pages_and_filters(service: Service) -> None:
    expected = []
    for number in range(5):
        expected.append(await kept(service, body=wrong_message(id=f"m{number}")))
        service.clock.move(seconds=number % 2)
    structure = await service.request("POST", "DiagnosticReport", data="{")
    admin = await admin_of(service)
    found: list[str] = []
    query: str | None = "count=2"
    while query is not None:
        page = (await admin.get(f"$dead-letters?{query}")).body
        assert len(page["letters"]) <= 2
        found += [letter["id"] for letter in page["letters"]]
        query = page.get("next")
    assert sorted(found) == sorted([*expected, structure.headers["Dead-Letter"]])
    times = [one["time"] for one in (await letters(service))]
    assert times == sorted(times, reverse=True)
    assert [one["id"] for one in await letters(service, "reason=structure")] == [
        structure.headers["Dead-Letter"]
    ]


@pytest.mark.parametrize(
    "query", ["state=lost", "count=0", "count=x", "count=²", "after=x", "after=9~", "after=1e9~x"]
)
async def test_a_wrong_query_is_400(service: Service, query: str) -> None:
    answer = await (await admin_of(service)).get(f"$dead-letters?{query}")
    assert answer.status == (200 if query == "after=9~" else 400), answer.text


@pytest.mark.parametrize("scopes", [["system/*.cruds"], ["system/*.rs"]])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/ID"),
        ("GET", "/ID?body=true"),
        ("PUT", "/ID"),
        ("DELETE", "/ID"),
        ("POST", "/ID/$replay"),
    ],
)
async def test_only_the_admin_scope_deals_with_letters(
    service: Service, scopes: list[str], method: str, path: str
) -> None:
    where = "$dead-letters" + path.replace("ID", await kept(service))
    other = await service.with_token(scopes=scopes)
    answer = await other.request(method, where, report() if method == "PUT" else None)
    assert (answer.status, answer.issues) == (403, [("error", "forbidden")])
    assert [one["state"] for one in await letters(service)] == ["open"]


async def test_another_tenant_sees_nothing(service: Service) -> None:
    letter = await kept(service)
    other = await (await service.new_tenant()).with_token(scopes=ADMIN)
    assert (await other.get("$dead-letters?state=all")).body == {"letters": []}
    for method, path in [("GET", ""), ("GET", "?body=true"), ("DELETE", ""), ("POST", "/$replay")]:
        assert (await other.request(method, f"$dead-letters/{letter}{path}")).status == 404
    assert (await other.request("PUT", f"$dead-letters/{letter}", report())).status == 404


# --- fixing, replaying, discarding


async def test_fixed_and_replayed_it_is_stored_once_whatever_the_sender_repeats(service: Service) -> None:
    letter = await kept(service)
    again = await replay(service, letter)
    assert (again.status, again.body["state"], again.body["attempts"]) == (200, "open", 1)
    admin = await admin_of(service)
    fixed = await admin.request("PUT", f"$dead-letters/{letter}", right_message())
    assert (fixed.status, fixed.body["state"]) == (200, "open")
    done = await replay(service, letter)
    assert (done.status, done.body["state"], done.body["attempts"]) == (200, "replayed", 2)
    assert done.body["hasBody"] is False
    found = await service.search(f"patient.identifier={MRN}|{SENTINEL}")
    assert len(found.ids) == 1
    sent_again = await service.request("POST", "$process-message", right_message())
    assert sent_again.headers["Idempotent-Replayed"] == "true"
    assert (await service.search(f"patient.identifier={MRN}|{SENTINEL}")).ids == found.ids
    twice = await replay(service, letter)
    assert (twice.status, twice.issues) == (409, [("error", "conflict")])
    counted = metrics(service)
    assert 'dod_dead_letters_replays_total{outcome="stored"} 1.0' in counted
    assert 'dod_dead_letters_replays_total{outcome="refused"} 1.0' in counted


async def test_without_a_source_the_senders_name_is_still_part_of_the_key(service: Service) -> None:
    """A replay in the admin's name would make other resources than the sender's own retry."""
    no_header = message(wrong(identifier=[]), header=False)
    letter = await kept(service, body=no_header)
    good = message(patient("p1", identified(MRN, "1")), report(conclusion=SENTINEL), header=False)
    await (await admin_of(service)).request("PUT", f"$dead-letters/{letter}", good)
    assert (await replay(service, letter)).body["state"] == "replayed"
    retried = await service.request("POST", "$process-message", good)
    assert retried.headers["Idempotent-Replayed"] == "true"
    assert len((await service.search(f"patient.identifier={MRN}|1")).ids) == 1


async def test_a_create_replayed_after_a_crash_makes_no_twin(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    letter = await kept(service, path="DiagnosticReport", body=wrong())
    await (await admin_of(service)).request("PUT", f"$dead-letters/{letter}", report(conclusion=SENTINEL))
    store = service._app[DEAD_LETTERS]

    async def lost(*_: object) -> bool:
        raise RuntimeError

    with monkeypatch.context() as crash:
        crash.setattr(store, "close", lost)
        assert (await replay(service, letter)).status == 500
    assert len((await service.search("patient=p1")).ids) == 1
    assert (await replay(service, letter)).body["state"] == "replayed"
    assert len((await service.search("patient=p1")).ids) == 1


async def test_simultaneous_replays_store_one(service: Service) -> None:
    for number in range(5):
        letter = await kept(
            service,
            path="DiagnosticReport",
            body=wrong(f"r{number}", subject={"reference": f"Patient/t{number}"}),
        )
        good = report(f"r{number}", f"t{number}")
        await (await admin_of(service)).request("PUT", f"$dead-letters/{letter}", good)
        answers = await asyncio.gather(*(replay(service, letter) for _ in range(5)))
        assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409]
        assert len((await service.search(f"patient=t{number}")).ids) == 1


async def test_a_fix_during_a_replay_is_not_lost(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    letter = await kept(service)
    admin = await admin_of(service)
    await admin.request("PUT", f"$dead-letters/{letter}", right_message())
    store = service._app[DEAD_LETTERS]
    close = store.close

    async def after_a_fix(*given: Any) -> bool:
        await admin.request("PUT", f"$dead-letters/{letter}", wrong_message())
        return await close(*given)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(store, "close", after_a_fix)
        assert (await replay(service, letter)).status == 409
    assert [one["state"] for one in await letters(service)] == ["open"]
    assert await store.body(service.tenant, letter) == json.dumps(wrong_message()).encode()


async def test_conditions_are_replayed(service: Service) -> None:
    await service.put(patient("there", identified(MRN, SENTINEL)))
    condition = {"If-None-Exist": f"identifier={MRN}|{SENTINEL}"}
    refused = await service.request("POST", "Patient", {**patient("new"), "name": "x"}, headers=condition)
    if refused.status < 400:
        refused = await service.request("POST", "Patient", data="{", headers=condition)
    letter = refused.headers["Dead-Letter"]
    await (await admin_of(service)).request(
        "PUT", f"$dead-letters/{letter}", patient("new", identified(MRN, SENTINEL))
    )
    assert (await replay(service, letter)).body["state"] == "replayed"
    found = await service.search(f"identifier={MRN}|{SENTINEL}", type="Patient")
    assert found.ids == ["there"]


async def test_a_replay_does_no_more_than_its_sender_might(service: Service) -> None:
    sender = await service.with_token(scopes=["system/DiagnosticReport.cu"])
    refused = await sender.request("POST", "$process-message", data="{")
    letter = refused.headers["Dead-Letter"]
    await (await admin_of(service)).request("PUT", f"$dead-letters/{letter}", right_message())
    answer = await replay(service, letter)
    assert (answer.body["state"], answer.body["status"], answer.body["reason"]["code"]) == (
        "open",
        403,
        "forbidden",
    )
    assert (await service.search(MRNS.partition("?")[2], type="Patient")).ids == []


async def test_our_own_references_are_those_of_the_origin_it_was_sent_to(service: Service) -> None:
    absolute = {"reference": f"{service.base}/Patient/own"}
    letter = await kept(service, "PUT", "DiagnosticReport/r1", wrong(subject=absolute))
    await (await admin_of(service)).request("PUT", f"$dead-letters/{letter}", report(subject=absolute))
    assert (await replay(service, letter)).body["state"] == "replayed"
    assert (await service.search("patient=own")).ids == ["r1"]


async def test_discarded_it_forgets_the_payload_and_comes_anew(service: Service) -> None:
    letter = await kept(service, "PUT", f"DiagnosticReport/{SENTINEL}", wrong("r1"))
    admin = await admin_of(service)
    gone = await admin.request("DELETE", f"$dead-letters/{letter}")
    assert (gone.status, gone.body["state"]) == (200, "discarded")
    shown = await admin.get(f"$dead-letters/{letter}?body=true")
    assert (shown.body["body"], shown.body["path"], shown.body["headers"]) == (None, "", {})
    assert SENTINEL not in shown.text
    assert (await admin.request("DELETE", f"$dead-letters/{letter}")).status == 409
    assert (await admin.request("PUT", f"$dead-letters/{letter}", report())).status == 409
    assert await letters(service) == []
    assert await kept(service, "PUT", f"DiagnosticReport/{SENTINEL}", wrong("r1")) != letter


async def test_a_letter_that_is_too_old_is_not_there(service: Service) -> None:
    letter = await kept(service)
    service.clock.move(days=29)
    assert await kept(service) == letter
    service.clock.move(days=29, hours=23)
    admin = await admin_of(service)
    assert (await admin.get(f"$dead-letters/{letter}")).status == 200
    service.clock.move(hours=2)
    admin = await admin_of(service)
    assert (await admin.get(f"$dead-letters/{letter}")).status == 404
    assert await letters(service, "state=all") == []


async def test_nothing_of_a_payload_is_logged_or_counted(service: Service) -> None:
    with logged() as lines:
        letter = await kept(service, "PUT", f"DiagnosticReport/{SENTINEL}", wrong("r1"))
        admin = await admin_of(service)
        await admin.get("$dead-letters")
        await admin.get(f"$dead-letters/{letter}?body=true")
        await admin.request("PUT", f"$dead-letters/{letter}", wrong(SENTINEL, category=SENTINEL))
        await replay(service, letter)
        await admin.request("DELETE", f"$dead-letters/{letter}")
    mine = [line for line in lines.parsed if line["logger"] == "api.dead_letters"]
    assert [line["message"] for line in mine] == [
        "dead letters listed",
        "dead letter shown",
        "dead letter fixed",
        "dead letter replayed",
        "dead letter discarded",
    ]
    assert {line["letter"] for line in mine[1:]} == {letter}
    assert {line["tenant"] for line in mine} == {str(service.tenant)}
    assert SENTINEL not in b"\n".join(lines.raw).decode()
    assert SENTINEL not in metrics(service)


async def test_states_are_those_of_the_port() -> None:
    assert [state.value for state in State] == ["open", "replayed", "discarded"]
