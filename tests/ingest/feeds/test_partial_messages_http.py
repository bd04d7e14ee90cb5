"""Partial messages leave the rest as stored: demographics, values not sent again, unchanged results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from ingest.messages.planning import Planner
from store.mongo.resources.resources import MongoResources
from tests.support.cases import in_any_order
from tests.support.hl7v2 import PID, message, obr, obx, one, results, send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

K, NA, CL = "2823-3^Potassium^LN", "2951-2^Sodium^LN", "2075-0^Chloride^LN"
FULL = (
    "PID|1||P-1^^^HOSP^MR~AN-1^^^HOSP^AN||MADEUP^ANNA||19700101|F|||1 Street^^Town||555-1234|||M|R||"
    "|123456789"
)


def at(minute: int) -> str:
    return f"202611221030{minute:02}+0000"


def told(results_: list[Any]) -> list[tuple[str, str, str]]:
    return [
        (
            each["code"]["coding"][0]["display"],
            str(each.get("valueQuantity", {}).get("value", "")),
            each["status"],
        )
        for each in results_
    ]


async def test_an_empty_field_says_nothing_and_null_deletes(service: Service) -> None:
    await send(service, message(FULL, event="ADT^A31"))
    await send(service, message(PID, obr(), obx(K, "4.0"), number="M-2", time=at(2)))
    patient = await one(service, "Patient", "identifier=P-1")
    assert patient["address"][0]["city"] == "Town"
    assert patient["telecom"][0]["value"] == "555-1234"
    # PID-3 speaks for the numbers of its authority, others stay.
    assert sorted(one["value"] for one in patient["identifier"]) == ["123456789", "P-1"]
    changed = FULL.replace("1 Street^^Town", '""').replace("555-1234", "555-9999").replace("|19700101|", "||")
    await send(service, message(changed, event="ADT^A08", number="M-3", time=at(3)))
    patient = await one(service, "Patient", "identifier=P-1")
    assert "address" not in patient
    assert patient["telecom"][0]["value"] == "555-9999"
    assert patient["birthDate"] == "1970-01-01"
    # What was said at an earlier time overwrites nothing.
    await send(service, message(FULL.replace("MADEUP", "OLDER"), event="ADT^A08", number="M-0", time=at(1)))
    assert "address" not in await one(service, "Patient", "identifier=P-1")


async def test_a_value_that_is_not_sent_again_stays(service: Service) -> None:
    first = (
        PID,
        obr(status="P"),
        obx(K, "4.00", status="P", f7="3.5-5.1", f8="N"),
        obx(NA, "140", status="P"),
    )
    await send(service, message(*first))
    await send(
        service,
        message(PID, obr(), obx(K, "", status="U"), obx(NA, "141"), number="M-2", time=at(2)),
    )
    found = await results(service)
    assert told(found) == [("Potassium", "4.0", "final"), ("Sodium", "141", "final")]
    assert found[0]["referenceRange"][0]["text"] == "3.5-5.1"


async def test_a_delta_changes_its_results_and_keeps_the_others(service: Service) -> None:
    whole = (PID, obr(), obx(K, "4.0"), obx(NA, "140"), obx(CL, "100", f4="1"), obx(CL, "101", f4="2"))
    await send(service, message(*whole))
    before = [each["id"] for each in await results(service)]
    delta = (obr(status="C", f55="U"), obx(NA, "150", status="C"), obx(CL, "111", f4="2", status="C"))
    await send(service, message(PID, *delta, number="M-2", time=at(2)))
    found = await results(service)
    assert [each["id"] for each in found] == before
    assert told(found) == [
        ("Potassium", "4.0", "final"),
        ("Sodium", "150", "corrected"),
        ("Chloride", "100", "final"),
        ("Chloride", "111", "corrected"),
    ]
    more = (obr(status="C", f55="A"), obx("718-7^Hemoglobin^LN", "14"))
    await send(service, message(PID, *more, number="M-3", time=at(3)))
    assert len(await results(service)) == 5
    await send(
        service, message(PID, obr(status="C", f55="U"), obx(K, "", status="D"), number="M-4", time=at(4))
    )
    assert told(await results(service))[0] == ("Potassium", "", "entered-in-error")
    # A report that comes as a whole shows what it says, and nothing else.
    await send(service, message(PID, obr(status="C"), obx(K, "4.4", status="C"), number="M-5", time=at(5)))
    assert told(await results(service)) == [("Potassium", "4.4", "corrected")]


async def test_deltas_of_two_connections_at_once_lose_none_of_their_results(service: Service) -> None:
    await send(service, message(PID, obr(), obx(K, "4.0")))
    codes = [f"{number}-0^Analyte {number}^LN" for number in range(1000, 1006)]
    await asyncio.gather(
        *(
            send(service, message(PID, obr(f55="A"), obx(code, "1"), number=f"M-{n}", time=at(2)))
            for n, code in enumerate(codes, 2)
        )
    )
    assert sorted(one[0] for one in told(await results(service))) == [
        *(f"Analyte {number}" for number in range(1000, 1006)),
        "Potassium",
    ]


async def test_whole_reports_and_deltas_come_in_any_order(service: Service) -> None:
    """A message that was held up adds its results beneath those that came since."""
    messages = (
        message(PID, obr(), obx(K, "4.0"), obx(NA, "140"), time=at(1)),
        message(PID, obr(status="C", f55="U"), obx(NA, "150", status="C"), number="M-2", time=at(2)),
        message(PID, obr(status="C", f55="A"), obx(CL, "111", f4="2"), number="M-3", time=at(3)),
    )

    async def completed(tenant: Service, order: Sequence[bytes]) -> None:
        for sent in order:
            await send(tenant, sent)
        assert sorted(each[:2] for each in told(await results(tenant))) == [
            ("Chloride", "111"),
            ("Potassium", "4.0"),
            ("Sodium", "150"),
        ]
        # Behind a whole report nothing older is added.
        await send(tenant, message(PID, obr(), obx(K, "4.4"), number="M-5", time=at(5)))
        await send(tenant, message(PID, obr(f55="A"), obx(NA, "9"), number="M-4", time=at(4)))
        assert [each[:2] for each in told(await results(tenant))] == [("Potassium", "4.4")]

    await in_any_order(service, messages, completed)


async def test_an_older_delta_overwrites_nothing(service: Service) -> None:
    await send(service, message(PID, obr(), obx(K, "4.0"), obx(NA, "140"), time=at(5)))
    await send(service, message(PID, obr(f55="U"), obx(K, "9.9", status="P"), number="M-0", time=at(1)))
    assert told(await results(service)) == [("Potassium", "4.0", "final"), ("Sodium", "140", "final")]


async def test_a_merge_leads_from_the_old_number_to_the_survivor(service: Service) -> None:
    await send(service, message(PID, obr("F-1"), obx(K, "4.0")))
    other = PID.replace("P-1", "P-2")
    await send(service, message(other, obr("F-2"), obx(K, "5.0"), number="M-2"))
    merge = message(other, "MRG|P-1^^^HOSP^MR", event="ADT^A40", number="M-3", time=at(3))
    await send(service, merge)
    for number in ("P-1", "P-2"):
        assert len((await service.search(f"patient.identifier={number}")).ids) == 2
    # A later message that knows nothing of the merge takes nothing back.
    await send(service, message(other, obr("F-3"), obx(K, "6.0"), number="M-4", time=at(4)))
    assert len((await service.search("patient.identifier=P-1")).ids) == 3
    patient = await one(service, "Patient", "identifier=P-2")
    assert {"old"} == {each.get("use") for each in patient["identifier"] if each["value"] == "P-1"}


async def test_a_merge_that_comes_late_changes_nothing_but_the_numbers(service: Service) -> None:
    survivor = PID.replace("P-1", "P-2")
    later = survivor.replace("MADEUP^ANNA", "LATER^ANNA")
    await send(service, message(later, obr("F-2"), obx(K, "5.0"), number="M-2", time=at(5)))
    merge = message(survivor, "MRG|P-1^^^HOSP^MR", event="ADT^A40", number="M-3", time=at(3))
    for number in ("M-3", "M-4"):
        await send(service, merge.replace(b"M-3", number.encode()))
    # Reports under the old number, which was never seen before, are the survivor's too.
    await send(service, message(PID, obr("F-1"), obx(K, "4.0"), number="M-1", time=at(1)))
    for number in ("P-1", "P-2"):
        assert len((await service.search(f"patient.identifier={number}")).ids) == 2
    found = await service.search("identifier=P-2", type="Patient")
    patient = (await service.get(f"Patient/{found.ids[0]}")).body
    assert patient["name"][0]["family"] == "LATER"
    assert patient["meta"]["versionId"] == "2"
    # The time is that of the newer message still: an older name does not come back.
    await send(service, message(survivor, event="ADT^A08", number="M-5", time=at(4)))
    assert (await service.get(f"Patient/{found.ids[0]}")).body["name"][0]["family"] == "LATER"


async def test_a_merge_and_news_of_the_survivor_at_once_keep_the_old_number(service: Service) -> None:
    for turn in range(8):
        survivor, old = PID.replace("P-1", f"N-{turn}"), f"P-{turn}"
        merge = message(survivor, f"MRG|{old}^^^HOSP^MR", event="ADT^A40", number=f"A-{turn}", time=at(3))
        news = message(survivor, obr(f"F-{turn}"), obx(K, "5.0"), number=f"B-{turn}", time=at(5))
        await asyncio.gather(send(service, merge), send(service, news))
        for number in (old, f"N-{turn}"):
            assert len((await service.search(f"patient.identifier={number}")).ids) == 1, turn


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["merge first", "news first"])
async def test_a_merge_and_news_complete_one_another_before_readers_may_see_them(
    service: Service, monkeypatch: pytest.MonkeyPatch, order: tuple[int, int]
) -> None:
    """A write that is not on a majority yet is nobody's to read, and the next message's to complete."""

    async def nothing_yet(*_: Any) -> None:
        return None

    survivor = PID.replace("P-1", "N-1")
    merge = message(survivor, "MRG|P-1^^^HOSP^MR", event="ADT^A40", number="M-1", time=at(3))
    news = message(survivor, obr("F-1"), obx(K, "5.0"), number="M-2", time=at(5))
    with monkeypatch.context() as lagging:
        lagging.setattr(MongoResources, "get", nothing_yet)
        for which in order:
            await send(service, (merge, news)[which])
    for number in ("P-1", "N-1"):
        assert len((await service.search(f"patient.identifier={number}")).ids) == 1


async def test_news_that_come_between_the_plan_of_a_merge_and_its_write_keep_the_old_number(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The merge, completed by news of the same content, goes to the history: it must be made current yet."""
    survivor, plan = PID.replace("P-1", "N-1"), Planner.plan
    merge = message(survivor, "MRG|P-1^^^HOSP^MR", event="ADT^A40", number="M-2", time=at(3))
    news = message(survivor, obr("F-1"), obx(K, "5.0"), number="M-3", time=at(5))

    async def planned(planner: Planner, **named: Any) -> Any:
        done = await plan(planner, **named)
        monkeypatch.setattr(Planner, "plan", plan)
        await send(service, news)
        return done

    await send(service, message(survivor, event="ADT^A08", number="M-1", time=at(1)))
    monkeypatch.setattr(Planner, "plan", planned)
    await send(service, merge)
    for number in ("P-1", "N-1"):
        assert len((await service.search(f"patient.identifier={number}")).ids) == 1


async def test_a_report_under_both_numbers_is_one_once_the_merge_is_told(service: Service) -> None:
    survivor = PID.replace("P-1", "P-2")
    # Preliminary under the old number, final under the new one, and a result that each record has alone.
    await send(service, message(PID, obr("F-1", status="P"), obx(K, "4.0"), number="M-1", time=at(1)))
    await send(service, message(PID, obr("F-8"), obx(NA, "141"), number="M-8", time=at(1)))
    await send(service, message(survivor, obr("F-1"), obx(K, "4.4"), number="M-2", time=at(4)))
    await send(service, message(survivor, obr("F-9"), obx(NA, "139"), number="M-9", time=at(4)))
    assert len((await service.search("patient.identifier=P-1")).ids) == 2
    merge = message(survivor, "MRG|P-1^^^HOSP^MR", event="ADT^A40", number="M-3", time=at(3))
    await send(service, merge)
    for number in ("P-1", "P-2"):
        assert len((await service.search(f"patient.identifier={number}")).ids) == 3
    found = await results(service, "patient.identifier=P-2&identifier=F-1")
    assert told(found) == [("Potassium", "4.4", "final")]
    assert len((await service.search("code=2823-3&patient.identifier=P-1", type="Observation")).ids) == 1


async def test_a_document_of_a_later_notification_keeps_its_content(service: Service) -> None:
    txa = "TXA|1|PN^Progress note^L|TX|20261122100000+0000||||||||DOC-1^HOSP|||||DO||AV"
    await send(service, message(PID, txa, obx("N^Note^L", "all is well", kind="TX"), event="MDM^T02"))
    signed = txa.replace("|DO|", "|AU|")
    await send(service, message(PID, signed, event="MDM^T03", number="M-2", time=at(2)))
    document = await one(service, "DocumentReference", "patient.identifier=P-1")
    assert document["docStatus"] == "final"
    assert document["content"][0]["attachment"]["contentType"] == "text/plain; charset=utf-8"
    await send(service, message(PID, signed, event="MDM^T11", number="M-3", time=at(3)))
    assert (await one(service, "DocumentReference", "patient.identifier=P-1"))["status"] == "entered-in-error"


async def test_reports_that_their_message_alone_tells_apart_stay_as_many_when_it_is_corrected(
    service: Service,
) -> None:
    for number, (first, second) in enumerate((("1", "2"), ("3", "4"), ("5", "6")), 1):
        body = message(
            PID, obr(), obx(K, first), obr(), obx(K, second), number=f"M-{number}", time=at(number)
        )
        await send(service, body)
        found = await service.search("patient.identifier=P-1")
        assert len(found.ids) == 2
        reports = [(await service.get(f"DiagnosticReport/{one}")).body for one in found.ids]
        values = [(await service.get(one["result"][0]["reference"])).body["valueQuantity"] for one in reports]
        assert sorted(str(one["value"]) for one in values) == [first, second]


async def test_reports_without_number_and_time_are_one_for_each_message(service: Service) -> None:
    for number in ("M-1", "M-2", "M-2"):
        await send(service, message(PID, obr(f3="", f7=""), obx(K, "1"), number=number))
    assert len((await service.search("patient.identifier=P-1")).ids) == 2


async def test_a_cancelled_report_and_a_preliminary_one_that_becomes_final(service: Service) -> None:
    states = [("P", "preliminary"), ("F", "final"), ("C", "corrected"), ("X", "cancelled")]
    for number, (code, status) in enumerate(states, 1):
        lines = [obx(K, f"{number}.0", status=code)] if code != "X" else []
        await send(service, message(PID, obr(status=code), *lines, number=f"M-{number}", time=at(number)))
        report = await one(service, "DiagnosticReport", "patient.identifier=P-1")
        assert report["status"] == status
        assert len(report.get("result", ())) == len(lines)
    late = message(PID, obr(status="F"), obx(K, "9.9"), number="M-9", time=at(0))
    await send(service, late)
    assert (await one(service, "DiagnosticReport", "patient.identifier=P-1"))["status"] == "cancelled"


async def test_a_doubt_about_who_is_who_is_told_in_the_acknowledgment(service: Service) -> None:
    first = await send(service, message(PID, obr("F-1"), obx(K, "4.0")))
    assert "ERR" not in first.text
    other = "PID|1||P-7^^^HOSP^MR||OTHER^BOB||19900101|M"
    doubted = await send(service, message(other, obr("F-1"), obx(K, "5.0"), number="M-2"))
    assert "ERR|||0^Message accepted^HL70357|W||||A stored report shares the number" in doubted.text
    changed = PID.replace("MADEUP^ANNA||19700101", "ELSE^EVE||19880808")
    odd = await send(service, message(changed, obr("F-2"), obx(K, "5.0"), number="M-3", time=at(3)))
    assert "|W||||Name and birth date changed at once" in odd.text
    moved = await send(
        service, message(other, obr("F-2", status="C"), obx(K, "5.0"), number="M-4", time=at(4))
    )
    assert "|W||||The report moved here from another patient" in moved.text


async def test_a_patient_who_is_told_of_again_has_no_new_version(service: Service) -> None:
    known = "PID|1||P-1^^^HOSP^MR~9^^^CITY^PI||MADEUP^ANNA||19700101|F||2106-3^White^CDCREC|1 A St^^City"
    swapped = known.replace("P-1^^^HOSP^MR~9^^^CITY^PI", "9^^^CITY^PI~P-1^^^HOSP^MR")
    for number, pid in enumerate((known, known, swapped, known), 1):
        sent = message(pid, obr(f"F-{number}"), obx(K, "4.0"), number=f"M-{number}", time=at(number))
        await send(service, sent)
        patient = await one(service, "Patient", "identifier=P-1")
        assert patient["meta"]["versionId"] == "1", number


async def test_a_report_that_moves_brings_none_of_the_other_patients_results_along(service: Service) -> None:
    potassium, sodium = "2823-3^Potassium^LN", "2951-2^Sodium^LN"
    first = message(PID, obr("F-1", f55="A"), obx(potassium, "4"), obx(sodium, "140"), time=at(1))
    await send(service, first)
    bert = PID.replace("P-1", "P-2").replace("ANNA", "BERT").replace("19700101", "19500505")
    mended = message(bert, obr("F-1", f55="A", status="C"), obx(potassium, "5"), number="M-2", time=at(2))
    await send(service, mended)
    berts = (await one(service, "Patient", "identifier=P-2"))["id"]
    found = await results(service, "patient.identifier=P-2")
    assert [value["valueQuantity"]["value"] for value in found] == [5]
    assert {value["subject"]["reference"] for value in found} == {f"Patient/{berts}"}
    assert (await service.search("patient.identifier=P-1")).ids == []
    assert (await service.search("patient.identifier=P-1", type="Observation")).ids == []
