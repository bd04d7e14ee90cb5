"""Records may become another's between a message's plan and its write: then it is decided anew."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest

from ingest.messages import carrying, execution
from ingest.messages.completion import completed
from ingest.messages.planning import Planner
from ingest.pipeline.identity.decisions import Choice
from ingest.writes import filing
from store.mongo.resources.commit_attempt import CommitAttempt
from tests.support import hl7v2
from tests.support.fhir import MRN, Json, identified, message, patient, refers, report, resource

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.service import Answer, Service

FILLER = {"type": {"coding": [{"code": "FILL"}]}, **identified("urn:filler", "F7")}


def mr(number: str) -> Json:
    return {"type": {"coding": [{"code": "MR"}]}, **identified(MRN, number)}


def anna(**elements: Any) -> Json:
    return patient("p", mr("1"), name=[{"family": "Anna"}], **elements)


def named(id: str, number: str, family: str) -> Json:
    return patient(id, mr(number), name=[{"family": family}])


async def send(service: Service, code: str, who: Json) -> Answer:
    return await service.request(
        "POST", "$process-message", message(report("r", "p", code={"text": code}), who)
    )


def raced(meanwhile: Callable[[], Awaitable[object]], *, times: int = 1) -> Any:
    """A message's writes, before each of which somebody else is faster, so many times."""
    put, turns, others = filing.put_each, iter(range(times)), list[bool]()

    async def behind(*arguments: Any, **more: Any) -> Any:
        if not others and next(turns, None) is not None:
            others.append(True)
            await meanwhile()
            others.clear()
        return await put(*arguments, **more)

    return patch("ingest.messages.execution.filing.put_each", behind)


async def record_of(service: Service, number: str) -> str:
    [found] = (await service.search(f"identifier={MRN}|{number}", type="Patient")).ids
    return found


async def reports_of(service: Service, record: str) -> int:
    return len((await service.search(f"patient=Patient/{record}")).ids)


@pytest.mark.parametrize("changed", [{}, {"gender": "female"}], ids=["unchanged", "with news"])
async def test_a_correction_between_plan_and_write_holds(service: Service, changed: Json) -> None:
    assert (await send(service, "before", anna())).status == 200
    record = await record_of(service, "1")

    async def meanwhile() -> None:
        # The record was Bert's all along.
        await service.load(named(record, "2", "Bert"))

    with raced(meanwhile):
        answer = await send(service, "behind", anna(**changed))
    assert answer.status == 200, answer.text
    bert = (await service.get(f"Patient/{record}")).body
    assert (bert["identifier"][0]["value"], bert["name"][0]["family"]) == ("2", "Bert")
    assert await reports_of(service, record) == 1
    own = await record_of(service, "1")
    assert (await reports_of(service, own), own == record) == (1, False)


async def test_another_message_between_plan_and_write_may_make_it_anothers(service: Service) -> None:
    both = patient("p", mr("1"), mr("2"), name=[{"family": "Anna"}])
    assert (await send(service, "before", both)).status == 200
    record = await record_of(service, "1")
    with raced(lambda: send(service, "between", named("p", "2", "Bert"))):
        assert (await send(service, "behind", anna())).status == 200
    bert = (await service.get(f"Patient/{record}")).body
    assert [one["value"] for one in bert["identifier"]] == ["2"]
    assert await reports_of(service, record) == 2
    assert await reports_of(service, await record_of(service, "1")) == 1


async def test_a_completed_entry_is_not_completed_by_somebody_else(service: Service) -> None:
    result = hl7v2.obx("2951-2^Sodium^LN", "140")
    await hl7v2.send(service, hl7v2.message(hl7v2.PID, hl7v2.obr("F-1"), result))
    before = await hl7v2.one(service, "Patient", "identifier=P-1")
    changed = list[bool]()

    async def behind(*arguments: Any, **named: Any) -> Any:
        if not changed:
            changed.append(True)
            number = {**before["identifier"][0], "value": "P-2"}
            await service.load({**before, "identifier": [number], "name": [{"family": "Bert"}]})
        return await completed(*arguments, **named)

    with patch("ingest.messages.carrying.completed", behind):
        second = hl7v2.message(hl7v2.PID, hl7v2.obr("F-2"), result, number="M-2", time="20261122113000+0000")
        await hl7v2.send(service, second)
    assert changed
    bert = await hl7v2.one(service, "Patient", "identifier=P-2")
    assert (bert["id"], bert["name"]) == (before["id"], [{"family": "Bert"}])
    own = await hl7v2.one(service, "Patient", "identifier=P-1")
    assert own["name"][0]["family"] == "MADEUP"
    assert [await reports_of(service, one["id"]) for one in (bert, own)] == [1, 1]


async def test_a_record_that_keeps_changing_hands_is_a_refusal_and_nothing_is_stored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying, "_ATTEMPTS_MAX", 3)
    assert (await send(service, "before", anna())).status == 200
    record, turns = await record_of(service, "1"), count(2)

    async def meanwhile() -> None:
        mine = await record_of(service, "1")
        number = str(next(turns))
        await service.load(named(mine, number, "Other"), named(f"next-{number}", "1", "Anna"))

    with raced(meanwhile, times=3):
        answer = await send(service, "behind", anna(gender="female"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), answer.text
    others = [f"next-{number}" for number in (2, 3, 4)]
    assert [await reports_of(service, one) for one in (record, *others)] == [1, 0, 0, 0]
    assert "gender" not in (await service.get(f"Patient/{others[-1]}")).body
    assert (await send(service, "behind", anna())).status == 200
    assert await reports_of(service, await record_of(service, "1")) == 1


async def test_a_report_found_by_number_may_become_another_patients(service: Service) -> None:
    sent = report("r", "p", code={"text": "panel"}, identifier=[FILLER])
    assert (await service.request("POST", "$process-message", message(sent, anna()))).status == 200
    record = await record_of(service, "1")
    [there] = (await service.search(f"patient=Patient/{record}")).ids
    stored = (await service.get(f"DiagnosticReport/{there}")).body

    async def meanwhile() -> None:
        await service.load(named("b", "2", "Bert"), {**stored, "subject": {"reference": "Patient/b"}})

    with raced(meanwhile):
        news = message({**sent, "conclusion": "news"}, anna())
        assert (await service.request("POST", "$process-message", news)).status == 200
    berts = (await service.get(f"DiagnosticReport/{there}")).body
    assert (berts["subject"]["reference"], "conclusion" in berts) == ("Patient/b", False)
    assert await reports_of(service, await record_of(service, "1")) == 1


async def test_what_another_process_overtakes_within_the_write_itself_is_taken_back(service: Service) -> None:
    assert (await send(service, "before", anna())).status == 200
    record, apply, changed = await record_of(service, "1"), CommitAttempt._apply, list[bool]()

    def behind(attempt: CommitAttempt) -> Any:
        mine = [write.id for write in attempt.writes if write.key.id == record]
        if mine and not changed:
            changed.append(True)
            told = {"identity": {"numbers": [[0, MRN, "2"]]}, "keys": [], "digest": b"Bert"}
            attempt.collections.resources.update_one({"_id": mine[0]}, {"$set": told, "$inc": {"version": 1}})
        return apply(attempt)

    with patch.object(CommitAttempt, "_apply", behind):
        assert (await send(service, "behind", anna(gender="female"))).status == 200
    own = await record_of(service, "1")
    assert (changed, own == record) == ([True], False)
    assert [await reports_of(service, one) for one in (record, own)] == [1, 1]


async def test_a_report_that_another_message_amended_is_not_withdrawn(service: Service) -> None:
    first = message(report("r", "p", identifier=[FILLER]), anna(), timestamp="2026-11-22T10:00:00Z")
    news = report("r", "p", identifier=[FILLER], conclusion="news")
    plan_again, turns = Planner.plan_again, iter([True])

    async def otherwise(self: Planner, *arguments: Any) -> Any:
        if not next(turns, False):
            return await plan_again(self, *arguments)
        planned, seen = await self.plan()
        answer = await service.request(
            "POST", "$process-message", message(news, anna(), timestamp="2026-11-22T11:00:00Z")
        )
        assert answer.status == 200, answer.text
        placements = [
            one._replace(key=one.key._replace(id="other"), choice=Choice("other"))
            if one.key.type == "DiagnosticReport"
            else one
            for one in planned.placements
        ]
        return replace(planned, placements=tuple(placements)), seen

    with patch.object(Planner, "plan_again", otherwise):
        assert (await service.request("POST", "$process-message", first)).status == 200
    [there] = (await service.search(f"patient.identifier={MRN}|1")).matches
    assert there["resource"]["conclusion"] == "news"


async def test_an_amendment_that_another_process_overtakes_within_the_write_is_taken_back(
    service: Service,
) -> None:
    sent = report("r", "p", identifier=[FILLER], conclusion="before")
    assert (await service.request("POST", "$process-message", message(sent, anna()))).status == 200
    record, apply, changed = await record_of(service, "1"), CommitAttempt._apply, list[bool]()

    def behind(attempt: CommitAttempt) -> Any:
        mine = [write.id for write in attempt.writes if write.key.id == record]
        if mine and not changed:
            changed.append(True)
            told = {"identity": {"numbers": [[0, MRN, "2"]]}, "keys": [], "digest": b"Bert"}
            attempt.collections.resources.update_one({"_id": mine[0]}, {"$set": told, "$inc": {"version": 1}})
        return apply(attempt)

    news = message({**sent, "conclusion": "behind"}, anna(gender="female"))
    with patch.object(CommitAttempt, "_apply", behind):
        assert (await service.request("POST", "$process-message", news)).status == 200
    own = await record_of(service, "1")
    assert (changed, own == record) == ([True], False)
    found = {
        patient: [
            one["resource"]["conclusion"]
            for one in (await service.search(f"patient=Patient/{patient}")).matches
        ]
        for patient in (record, own)
    }
    assert found == {record: ["before"], own: ["behind"]}


@pytest.mark.parametrize("hour", [11, 10], ids=["later", "at the same time"])
async def test_what_was_taken_back_is_written_when_the_message_is_tried_again(
    service: Service, hour: int
) -> None:
    """The record was another's for a moment only: the same entries are put under the same ids once more."""
    placer = {"type": {"coding": [{"code": "PLAC"}]}, **identified("urn:placer", "P7")}
    order = resource("ServiceRequest", "s", status="active", intent="order", identifier=[placer])
    order["subject"] = refers("Patient/p")
    sent = report("r", "p", identifier=[FILLER], conclusion="before", basedOn=[refers("ServiceRequest/s")])
    first = message(sent, order, anna(), timestamp="2026-11-22T10:00:00Z")
    assert (await service.request("POST", "$process-message", first)).status == 200
    record, apply, was = await record_of(service, "1"), CommitAttempt._apply, list[Any]()
    take_back, restored = execution._take_back, list[bool]()

    def behind(attempt: CommitAttempt) -> Any:
        mine = [write.id for write in attempt.writes if write.key.id == record]
        if mine and not was:
            stored = attempt.collections.resources
            told = {"identity": {"numbers": [[0, MRN, "2"]]}, "keys": [], "digest": b"Bert"}
            before = stored.find_one_and_update({"_id": mine[0]}, {"$set": told, "$inc": {"version": 1}})
            was.extend((stored, before))
        return apply(attempt)

    async def taken_back(*given: Any) -> None:
        await take_back(*given)
        stored, before = was
        told = {name: before[name] for name in ("identity", "keys", "digest")}
        stored.update_one({"_id": before["_id"]}, {"$set": told, "$inc": {"version": 1}})
        restored.append(True)

    news = message(
        {**sent, "conclusion": "behind"},
        {**order, "status": "completed"},
        anna(gender="female"),
        timestamp=f"2026-11-22T{hour}:00:00Z",
    )
    with patch.object(CommitAttempt, "_apply", behind), patch.object(execution, "_take_back", taken_back):
        assert (await service.request("POST", "$process-message", news)).status == 200
    assert restored == [True]
    [found] = (await service.search(f"patient=Patient/{record}&_include=DiagnosticReport:based-on")).matches
    assert found["resource"]["conclusion"] == "behind"
    basis = found["resource"]["basedOn"][0]["reference"]
    assert (await service.get(basis)).body["status"] == "completed"
