"""Records that were linked as one person's, and become somebody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import pytest

from ingest.writes import filing
from store.mongo.resources.identities import MongoIdentities
from tests.oracle.identity import hospital
from tests.support import hl7v2
from tests.support.cases import all_of, fill, in_any_order, lines, mr, msg, outcomes, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.support.service import Answer, Service

    Given = Callable[[Service, str], Awaitable[Any]]

Json = dict[str, Any]
CARL: Final[Json] = {"name": "Carl", "born": "1990-09-09"}


async def told(lab: Service, minute: int, filler: str, *numbers: Json, **who: Any) -> Answer:
    sent = msg(pat("1", *numbers, **who), rep("r1", "Patient/1", fill(filler)), minute=minute)
    answer = await send(lab, sent)
    assert answer.status == 200, answer.text
    return answer


async def merged(lab: Service) -> str:
    """Ann, with a report under her retired number and one under her own; the id of the retired record."""
    await told(lab, 1, "F1", mr("1"))
    [retired] = await all_of(lab, "Patient?identifier=urn:made-up:mr|1")
    await told(lab, 2, "F2", mr("2"), mr("1", use="old"))
    for number in "12":
        assert await lines(lab, f"mr|{number}") == ["CBC final of Ann"] * 2
    return str(retired["id"])


async def given(lab: Service, record: str) -> None:
    await lab.load(pat(record, mr("3"), **CARL))


async def given_after_a_deletion(lab: Service, record: str) -> None:
    assert (await lab.delete(f"Patient/{record}")).status == 204
    await given(lab, record)


async def given_in_a_transaction(lab: Service, record: str) -> None:
    entry = {
        "resource": pat(record, mr("3"), **CARL),
        "request": {"method": "PUT", "url": f"Patient/{record}"},
    }
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert (await lab.request("POST", "", sent)).status == 200


@pytest.mark.parametrize("give", [given, given_after_a_deletion, given_in_a_transaction])
async def test_a_linked_record_that_becomes_anothers_is_linked_no_more(lab: Service, give: Given) -> None:
    record = await merged(lab)
    await give(lab, record)
    await told(lab, 3, "F3", mr("3"), **CARL)
    assert await lines(lab, "mr|2") == ["CBC final of Ann"]
    assert await lines(lab, "mr|3") == ["CBC final of Carl"] * 2  # What was filed under the record is his.
    [ann] = await all_of(lab, "Patient?identifier=urn:made-up:mr|2")
    await lab.load(pat(ann["id"], mr("2"), gender="other"))
    assert await lines(lab, "mr|2") == ["CBC final of Ann"]


async def test_a_linked_record_that_is_corrected_stays_linked(lab: Service) -> None:
    record = await merged(lab)
    await lab.load(pat(record, mr("1"), name="Anna"))
    assert await lines(lab, "mr|2") == ["CBC final of Ann", "CBC final of Anna"]


async def test_whoever_gets_a_retired_number_next_is_another(lab: Service) -> None:
    record = await merged(lab)
    answer = await told(lab, 3, "F3", mr("1"), **CARL)
    assert "patient-doubted" in outcomes(answer) or "they are two patients" in answer.text
    await told(lab, 4, "F4", mr("1"), **CARL)
    await told(lab, 5, "F5", mr("1"), name="Ann")
    assert await lines(lab, "mr|2") == ["CBC final of Ann"] * 3
    [carl] = [one for one in await all_of(lab, "Patient?_count=9") if one["name"][0]["text"] == "Carl"]
    assert carl["id"] != record
    assert await lines(lab, f"patient=Patient/{carl['id']}") == ["CBC final of Carl"] * 2


async def test_a_record_of_an_unknown_person_is_merged_all_the_same(lab: Service) -> None:
    """Words of the survivor about itself are no doubt."""
    await told(lab, 1, "F1", mr("1"), name="Doe", born="1900-01-01")
    await told(lab, 2, "F2", mr("2"), mr("1", use="old"))
    await told(lab, 3, "F3", mr("1"), name="Doe", born="1900-01-01")
    await told(lab, 4, "F4", mr("1"))
    found = ["CBC final of Ann"] * 4
    assert [len(await lines(lab, f"mr|{number}")) for number in "12"] == [len(found)] * 2


async def test_numbers_of_hl7_that_go_from_one_person_to_the_next(lab: Service) -> None:
    """P-1 becomes P-2, and then P-3 becomes P-1."""
    ann, carl = "PID|1||{}^^^HOSP^MR||ARBOR^ANN||19500101|F", "PID|1||{}^^^HOSP^MR||CARTER^CARL||19900909|M"

    async def event(minute: int, event: str, *segments: str) -> Answer:
        time = f"2026112210{minute:02}00+0000"
        return await hl7v2.send(lab, hl7v2.message(*segments, event=event, number=f"M-{minute}", time=time))

    for minute, (who, number) in enumerate(((ann, "P-1"), (carl, "P-3"))):
        await event(minute, "ORU^R01", who.format(number), hl7v2.obr(f"F-{minute}"))
    await event(2, "ADT^A47", ann.format("P-2"), "MRG|P-1^^^HOSP^MR")
    await event(3, "ADT^A47", carl.format("P-1"), "MRG|P-3^^^HOSP^MR")
    await event(4, "ORU^R01", carl.format("P-1"), hl7v2.obr("F-4"))
    await event(5, "ORU^R01", ann.format("P-2"), hl7v2.obr("F-5"))
    await event(6, "ADT^A08", ann.format("P-2"))
    found = {
        number: sorted([one["name"][0]["family"] for one in await subjects(lab, number)])
        for number in ("P-2", "P-3")
    }
    assert found == {"P-2": ["ARBOR", "ARBOR"], "P-3": ["CARTER", "CARTER"]}


async def subjects(lab: Service, number: str) -> list[Json]:
    """The patients of the reports that a number finds."""
    found = await all_of(lab, f"DiagnosticReport?patient.identifier={number}")
    return [(await lab.get(one["subject"]["reference"])).body for one in found]


async def test_a_message_planned_before_does_not_link_again_what_parted(lab: Service) -> None:
    record = await merged(lab)
    put, turns = filing.put_each, iter([True])

    async def behind(*arguments: Any, **more: Any) -> Any:
        if next(turns, False):
            await given(lab, record)
        return await put(*arguments, **more)

    with patch("ingest.messages.execution.filing.put_each", behind):
        await told(lab, 3, "F3", mr("2"), name="Anna")
    await told(lab, 4, "F4", mr("3"), **CARL)
    assert await lines(lab, "mr|2") == ["CBC final of Anna"] * 2
    assert await lines(lab, "mr|3") == ["CBC final of Carl"] * 2


async def test_records_parted_and_updated_in_one_group(lab: Service) -> None:
    record = await merged(lab)
    [ann] = await all_of(lab, "Patient?identifier=urn:made-up:mr|2")
    await lab.load(pat(record, mr("3"), **CARL), pat(ann["id"], mr("2"), name="Anna"))
    assert await lines(lab, "mr|2") == ["CBC final of Anna"]
    assert await lines(lab, "mr|3") == ["CBC final of Carl"]


async def test_a_record_that_is_given_away_before_it_is_linked_is_left_out(lab: Service) -> None:
    await told(lab, 1, "F1", mr("1"))
    [record] = await all_of(lab, "Patient?identifier=urn:made-up:mr|1")
    relate, turns = MongoIdentities.relate, iter([True])

    async def behind(self: MongoIdentities, *arguments: Any) -> Any:
        if next(turns, False):
            await given(lab, record["id"])
        return await relate(self, *arguments)

    with patch.object(MongoIdentities, "relate", behind):
        await told(lab, 2, "F2", mr("2"), mr("1", use="old"))
    assert await lines(lab, "mr|2") == ["CBC final of Ann"]
    assert await lines(lab, "mr|3") == ["CBC final of Carl"]


async def test_a_merged_record_of_another_hospital_keeps_its_number(lab: Service) -> None:
    """A record shares a weak number with its survivor: news of the survivor are not written over it."""
    await told(lab, 1, "F1", mr("1"))
    [retired] = await all_of(lab, "Patient?identifier=urn:made-up:mr|1")
    shared = hospital.number("x", "S", "SS")
    survivor = hospital.number("there", "2", "MR"), {**mr("1"), "use": "old"}
    await told(lab, 2, "F2", *survivor)
    await told(lab, 3, "F3", mr("1"), shared)
    await told(lab, 4, "F4", *survivor, shared)
    kept = (await lab.get(f"Patient/{retired['id']}")).body
    assert [(one["value"], one.get("use")) for one in kept["identifier"]] == [("1", None), ("S", None)]
    for asked in ("mr|1", "there|2"):
        assert len(await lines(lab, asked)) == 4, asked


KINDS: Final = ("^^^HOSP^MR", "^^^HOSP^PT", "^^^HOSP", "")
CORRECTIONS: Final = {
    "nothing": ("MADEUP^JANE||19700101|F", True),
    "name": ("MARRIED^JANE||19700101|F", True),
    "birth date": ("MADEUP^JANE||19700110|F", True),
    "name and birth date": ("OTHER^MARK||19800202|F", False),
    "name and sex": ("OTHER^MARK||19700101|M", False),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", CORRECTIONS)
async def test_a_merge_holds_though_it_corrects_what_made_two_records(
    lab: Service, kind: str, what: str
) -> None:
    who, agrees = CORRECTIONS[what]
    links = agrees or kind.endswith("MR")
    retired, survivor = (
        f"PID|1||{n}{kind}||{name}" for n, name in ((111, "MADEUP^JANE||19700101|F"), (222, who))
    )

    def at(minute: int, *segments: str, event: str = "ORU^R01") -> bytes:
        time = f"2026112210{minute:02}00+0000"
        return hl7v2.message(*segments, event=event, number=f"M-{minute}", time=time)

    sent = {
        at(1, retired, hl7v2.obr("F-1"), hl7v2.obx("1^K", "1")),
        at(2, survivor, hl7v2.obr("F-2"), hl7v2.obx("1^K", "2")),
        at(3, survivor, f"MRG|111{kind}", event="ADT^A40"),
    }

    async def linked_or_doubted(tenant: Service, order: Sequence[bytes]) -> None:
        answers = [await hl7v2.send(tenant, one) for one in order]
        found = [len((await tenant.search(f"patient.identifier={n}")).ids) for n in (111, 222)]
        # The survivor lists the number: a search by it finds that record's reports all the same.
        assert found == ([2, 2] if links else [2, 1])
        assert any("Patient records were linked" in one.text for one in answers) is links
        assert any("they are two patients" in one.text for one in answers) is not links

    await in_any_order(lab, sorted(sent), linked_or_doubted)
