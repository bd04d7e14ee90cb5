"""Dead letters fixed, replayed and discarded, also by several at once and after a crash."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from api.http.app_keys import DEAD_LETTERS
from store.dead_letters import State
from store.tenancy import SearchScope
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
from tests.support.fhir import MRN, Json, batch, identified, message, patient, report
from tests.support.lines import logged
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable

MRNS = f"Patient?identifier={MRN}|{SENTINEL}"


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


async def test_an_entry_of_a_message_that_is_replayed_late_replaces_nothing_newer(service: Service) -> None:
    numbered: dict[str, Any] = {"identifier": [identified("urn:example:fillers", "F-1")]}
    other = report("r2", identifier=[identified("urn:example:fillers", "F-2")])
    for is_newer in (False, True):
        tenant = await service.new_tenant()
        sent = message(patient("p1", identified(MRN, SENTINEL)), wrong(**numbered), other)
        answer = await tenant.request("POST", "$process-message", sent)
        assert [one["response"]["status"][:3] for one in answer.body["entry"]].count("422") == 1
        [letter] = await letters(tenant)
        place, admin = f"$dead-letters/{letter['id']}", await admin_of(tenant)
        body = json.loads((await admin.get(f"{place}?body=true")).body["body"])
        if is_newer:
            assert (await tenant.put({**body, "status": "final", "conclusion": "newer"})).status == 201
        await admin.request("PUT", place, {**body, "status": "final"})
        replayed = await replay(tenant, letter["id"])
        found = (await tenant.get(f"DiagnosticReport/{body['id']}")).body["conclusion"]
        assert (replayed.body["state"], found) == (("open", "newer") if is_newer else ("replayed", SENTINEL))


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


NUMBERED: dict[str, Any] = {"identifier": [identified("urn:example:fillers", "F-1")]}


def untimed(status: str | None, time: str | None = None) -> Json:
    """A message without a time of its own; without a status it is refused."""
    told = wrong(**NUMBERED) if status is None else report(status=status, **NUMBERED)
    body = message(patient("p1", identified(MRN, SENTINEL)), told)
    body.pop("timestamp", None)
    return {**body, "timestamp": time} if time else body


def updated(status: str | None) -> Json:
    return wrong() if status is None else report(status=status)


def several(kind: str, status: str | None) -> Json:
    put = batch(("PUT", "DiagnosticReport/r1", updated(status)))
    return {**put, "type": kind}


ROADS: dict[str, tuple[str, str, Callable[[str | None], Json]]] = {
    "message": ("POST", "$process-message", untimed),
    "update": ("PUT", "DiagnosticReport/r1", updated),
    "batch": ("POST", "", partial(several, "batch")),
    "transaction": ("POST", "", partial(several, "transaction")),
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("gone", [False, True], ids=["changed", "deleted"])
async def test_a_replay_takes_the_place_of_nothing_that_came_behind_its_letter(
    service: Service, road: str, gone: bool
) -> None:
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    method, path, body = ROADS[road]
    assert (await tenant.request(method, path, body("preliminary"))).status in (200, 201)
    tenant.clock.move(seconds=5)
    refused = await tenant.request(method, path, body(None))
    [letter] = [one["id"] for one in await letters(tenant)]
    assert refused.headers.get("Dead-Letter", letter) == letter
    tenant.clock.move(seconds=5)
    assert (await tenant.request(method, path, body("corrected"))).status == 200
    [found] = (await tenant.search("")).ids
    if gone:
        tenant.clock.move(seconds=5)
        assert (await tenant.delete(f"DiagnosticReport/{found}")).status in (200, 204)
    fixed = body("final") if road in ("message", "transaction") else updated("final")
    admin = await admin_of(tenant)
    assert (await admin.request("PUT", f"$dead-letters/{letter}", fixed)).status == 200
    replayed = await replay(tenant, letter)
    assert (replayed.status, replayed.body["state"]) == (200, "open")
    read = await tenant.get(f"DiagnosticReport/{found}")
    assert read.status == 410 if gone else read.body["status"] == "corrected"
