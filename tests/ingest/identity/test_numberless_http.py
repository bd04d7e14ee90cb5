"""Reports without any number: known by code, patient and time, under any of the patient's records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.ingest.identity.test_at_once_http import WEAK, behind_plan
from tests.oracle.identity.hospital import number
from tests.support import hl7v2
from tests.support.cases import ROOT, all_of, fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
TIME: Final = "2026-01-01T08:00:00Z"


def bare(resource: Json, name: str) -> Json:
    """An entry without an id of its source."""
    told = {key: value for key, value in resource.items() if key != "id"}
    return {"fullUrl": f"urn:uuid:{name}", "resource": told}


def told(minute: int, *numbers: Json, own: bool, name: str = "Ann", status: str = "final") -> Json:
    """A report without number, of a patient with these numbers."""
    report = rep("r1", "Patient/1", status=status, results=["Observation/k"], effectiveDateTime=TIME)
    entries: list[Json] = [report, obs("k", "Patient/1", "K", f"{minute}")]
    if not own:
        report["subject"] = {"reference": f"{ROOT}/Patient/1"}
        report["result"] = [{"reference": "urn:uuid:k"}]
        entries = [bare(report, "r"), bare({**entries[1], "subject": report["subject"]}, "k")]
    return msg(pat("1", *numbers, name=name), *entries, minute=minute)


@pytest.mark.parametrize("own", [True, False], ids=["with an id", "without"])
@pytest.mark.parametrize("late", [True, False], ids=["late", "in order"])
async def test_of_a_patient_whose_records_a_race_made(
    replicas: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch, own: bool, late: bool
) -> None:
    service = await replicas[0].new_tenant(search_scope=SearchScope.ANY)
    first, last = (7, 5) if late else (5, 7)
    sent = told(first, WEAK, own=own, name="Ann Birch")
    behind_plan(monkeypatch, service, sent, lambda: None)
    assert (await send(service, told(last, WEAK, own=own, name="Ann Corrected"))).status == 200
    assert len(await all_of(service, "Patient?")) == 2
    name = "Ann Birch" if late else "Ann Corrected"
    assert await lines(service, "") == [f"CBC final of {name}: K=7"]
    again = told(9, WEAK, own=own, name="Ann Birch", status="corrected")
    assert (await send(service, again)).status == 200
    assert await lines(service, "") == ["CBC corrected of Ann Birch: K=9"]


@pytest.mark.parametrize("own", [True, False], ids=["with an id", "without"])
async def test_of_a_patient_whose_records_were_merged(lab: Service, own: bool) -> None:
    """The report comes under the retired number, and again under the survivor's."""
    assert (await send(lab, told(1, mr("1"), own=own, status="preliminary"))).status == 200
    assert (await send(lab, told(2, mr("2"), mr("1", use="old"), own=own))).status == 200
    assert await lines(lab, "") == ["CBC final of Ann: K=2"]
    assert (await send(lab, told(3, mr("1"), own=own, status="corrected"))).status == 200
    assert await lines(lab, "") == ["CBC corrected of Ann: K=3"]


@pytest.mark.parametrize("own", [True, False], ids=["with an id", "without"])
async def test_under_both_numbers_before_the_merge(lab: Service, own: bool) -> None:
    assert (await send(lab, told(1, mr("1"), own=own, status="preliminary"))).status == 200
    assert (await send(lab, told(2, mr("2"), own=own))).status == 200
    assert await lines(lab, "") == ["CBC final of Ann: K=2", "CBC preliminary of Ann: K=1"]
    assert (await send(lab, msg(pat("1", mr("2"), mr("1", use="old")), minute=3))).status == 200
    assert await lines(lab, "") == ["CBC final of Ann: K=2"]


async def test_of_a_feed(lab: Service) -> None:
    def at(minute: int, number: str, *more: str, event: str = "ORU^R01") -> bytes:
        who = f"PID|1||{number}^^^HOSP^MR||MADEUP^ANNA||19700101|F"
        time = f"2026112210{minute:02}00+0000"
        return hl7v2.message(who, *more, event=event, number=f"M-{minute}", time=time)

    bare_obr = "OBR|1|||24323-8^Panel^LN|||20261122093000+0000||||||||||||||||||F"
    await hl7v2.send(lab, at(1, "1", bare_obr, hl7v2.obx("1^K", "1")))
    await hl7v2.send(lab, at(2, "2", bare_obr, hl7v2.obx("1^K", "2")))
    await hl7v2.send(lab, at(3, "2", "MRG|1^^^HOSP^MR", event="ADT^A40"))
    for who, value in (("1", 4), ("2", 5)):
        await hl7v2.send(lab, at(value, who, bare_obr, hl7v2.obx("1^K", str(value))))
        [found] = await all_of(lab, "DiagnosticReport?")
        [result] = found["result"]
        assert (await lab.get(result["reference"])).body["valueQuantity"]["value"] == value


async def test_twins_under_both_numbers_before_the_merge(lab: Service) -> None:
    """Two of one message that nothing but their ids tells apart."""

    def sent(minute: int, *numbers: Json) -> Json:
        two = [
            rep(name, "Patient/1", fill("F"), effectiveDateTime=TIME, conclusion=name) for name in ("a", "b")
        ]
        return msg(pat("1", *numbers), *two, minute=minute)

    for one in (sent(1, mr("1")), sent(2, mr("2")), msg(pat("1", mr("2"), mr("1", use="old")), minute=3)):
        assert (await send(lab, one)).status == 200
    assert sorted([one["conclusion"] for one in await all_of(lab, "DiagnosticReport?")]) == ["a", "b"]
    for one in (sent(4, mr("2")), sent(5, mr("1"))):
        assert (await send(lab, one)).status == 200
        assert sorted([one["conclusion"] for one in await all_of(lab, "DiagnosticReport?")]) == ["a", "b"]


async def test_of_two_days_that_say_no_time(lab: Service) -> None:
    """Nothing tells that they are one: a doubt makes two. What is sent again is the same."""

    def sent(minute: int, value: str) -> Json:
        report = rep("r", "Patient/1", results=["urn:uuid:k"])
        report["subject"] = {"reference": "https://lab.example/fhir/Patient/1"}
        result = {**obs("k", "Patient/1", "K", value), "subject": report["subject"]}
        return msg(pat("1", mr("1")), bare(report, "r"), bare(result, "k"), minute=minute)

    for one in (sent(1, "4"), sent(2, "5"), {**sent(1, "4"), "id": "again"}):
        assert (await send(lab, one)).status == 200
    assert await lines(lab, "") == ["CBC final of Ann: K=4", "CBC final of Ann: K=5"]


@pytest.mark.parametrize("numbers", [(number("results", "R-1001"),), ()], ids=["numbered", "without"])
async def test_an_observation_alone_of_a_merged_patient(lab: Service, numbers: tuple[Json, ...]) -> None:
    """A result under the retired number, that is corrected under the survivor's."""

    def sent(minute: int, value: str, *who: Json) -> Json:
        result = obs("k", "Patient/1", "K", value, *numbers, effectiveDateTime=TIME)
        return msg(pat("1", *who), result, minute=minute)

    assert (await send(lab, sent(1, "4", mr("1")))).status == 200
    assert (await send(lab, msg(pat("1", mr("2"), mr("1", use="old")), minute=2))).status == 200
    for minute, who in ((3, mr("2")), (4, mr("1"))):
        assert (await send(lab, sent(minute, f"{minute}", who))).status == 200
        found = await all_of(lab, "Observation?")
        assert [one["valueString"] for one in found] == [f"{minute}"]


@pytest.mark.parametrize("numbers", [(number("results", "R-1001"),), ()], ids=["numbered", "without"])
async def test_an_observation_alone_under_both_numbers_before_the_merge(
    lab: Service, numbers: tuple[Json, ...]
) -> None:
    def sent(minute: int, *who: Json) -> Json:
        result = obs("k", "Patient/1", "K", f"{minute}", *numbers, effectiveDateTime=TIME)
        return msg(pat("1", *who), result, minute=minute)

    for one in (sent(1, mr("1")), sent(2, mr("2")), msg(pat("1", mr("2"), mr("1", use="old")), minute=3)):
        assert (await send(lab, one)).status == 200
    assert (await send(lab, sent(4, mr("2")))).status == 200
    assert {one["valueString"] for one in await all_of(lab, "Observation?")} == {"4"}


def by_search(resource: Json) -> Json:
    return {**resource, "subject": {"reference": "Patient?identifier=urn:made-up:mr|1"}}


def by_number(resource: Json) -> Json:
    return {**resource, "subject": {"identifier": mr("1")}}


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("name", [by_search, by_number])
@pytest.mark.parametrize("numbers", [(fill("F"),), ()], ids=["numbered", "without"])
@pytest.mark.parametrize("merged", [True, False], ids=["merged", ""])
async def test_of_a_patient_who_is_named_by_number_and_comes_along_once(
    lab: Service, name: Any, numbers: tuple[Json, ...], first: bool, merged: bool
) -> None:
    """A report whose patient is named by a number, and once is in the message."""
    report = rep("r1", "Patient/1", *numbers, effectiveDateTime=TIME, results=["Observation/k"])

    def sent(minute: int, *, named: bool, who: Json) -> Json:
        result = obs("k", "Patient/1", "K", f"{minute}")
        contents = [name(report), name(result)] if named else [pat("1", who), report, result]
        return msg(*contents, minute=minute)

    assert (await send(lab, sent(1, named=first, who=mr("1")))).status == 200
    if merged:
        assert (await send(lab, msg(pat("1", mr("2"), mr("1", use="old")), minute=2))).status == 200
    for minute, named in ((3, not first), (4, first)):
        who = mr("2") if merged else mr("1")
        assert (await send(lab, sent(minute, named=named, who=who))).status == 200
        [found] = await all_of(lab, "DiagnosticReport?")
        [result] = found["result"]
        assert (await lab.get(result["reference"])).body["valueString"] == f"{minute}"
        assert len((await lab.search("patient.identifier=urn:made-up:mr|1")).ids) == 1


@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
@pytest.mark.parametrize("name", [by_search, by_number])
@pytest.mark.parametrize("numbers", [(number("results", "R-1001"),), ()], ids=["numbered", "without"])
async def test_an_observation_alone_whose_patient_is_named_by_number_and_comes_along_once(
    lab: Service, name: Any, numbers: tuple[Json, ...], first: bool
) -> None:
    for minute, named in ((1, first), (2, not first), (3, first)):
        result = obs("k", "Patient/1", "K", f"{minute}", *numbers, effectiveDateTime=TIME)
        contents = [name(result)] if named else [pat("1", mr("1")), result]
        assert (await send(lab, msg(*contents, minute=minute))).status == 200
        assert [one["valueString"] for one in await all_of(lab, "Observation?")] == [f"{minute}"]


@pytest.mark.parametrize("report", [True, False], ids=["report", "observation"])
async def test_a_number_that_others_may_have_tells_nothing_of_what_has_none(
    lab: Service, report: bool
) -> None:
    """Somebody is named by an insurer's number, which two people have."""
    shared, time = number("x", "9", "SS"), {"effectiveDateTime": TIME}
    people = (pat("1", mr("1"), shared), pat("1", mr("2"), shared, name="Bob", born="1960-02-02"))

    def sent(minute: int, *who: Json) -> Json:
        subject = {"subject": {"reference": f"{ROOT}/Patient/1"} if who else {"identifier": shared}}
        result = bare({**obs("k", "Patient/1", "K", f"{minute}", **time), **subject}, "k")
        told = {**rep("r", "Patient/1", results=["urn:uuid:k"], **time), **subject}
        return msg(*who, *([bare(told, "r")] if report else []), result, minute=minute)

    for one in (sent(1), sent(2, people[0]), sent(3, people[1]), sent(4, people[0])):
        assert (await send(lab, one)).status == 200
    found = [one["valueString"] for one in await all_of(lab, "Observation?")]
    assert sorted(found) == ["1", "3", "4"]


@pytest.mark.parametrize("kind", [{}, {"type": {"text": "Letter"}}], ids=["no type", "another type"])
async def test_two_documents_of_one_number_stay_two(lab: Service, kind: Json) -> None:
    def document(minute: int, **more: Json) -> Json:
        made = {"resourceType": "DocumentReference", "id": "d", "status": "current", **more}
        named = {"subject": {"reference": "Patient/1"}, "identifier": [number("accessions", "5")]}
        return msg(pat("1", mr("1")), {**made, **named}, minute=minute)

    for one in (document(1, type={"text": "Report"}), document(2, **kind)):
        assert (await send(lab, one)).status == 200
    assert len(await all_of(lab, "DocumentReference?")) == 2


async def test_two_observations_alone_where_a_merged_record_had_one(lab: Service) -> None:
    """Neither takes the other's place."""

    def sent(minute: int, who: Json, *ids: str) -> Json:
        results = [obs(one, "Patient/1", "K", f"{one}{minute}", effectiveDateTime=TIME) for one in ids]
        return msg(pat("1", who), *results, minute=minute)

    merge = msg(pat("1", mr("2"), mr("1", use="old")), minute=2)
    for one in (sent(1, mr("1"), "a"), merge, sent(3, mr("2"), "a", "b")):
        assert (await send(lab, one)).status == 200
    assert {"a3", "b3"} <= {one["valueString"] for one in await all_of(lab, "Observation?")}
