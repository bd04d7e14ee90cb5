"""Corrections stay, whatever comes late, again, or beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from ingest.pipeline.identity.decisions import TEXTS, Finding
from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support import hl7v2
from tests.support.cases import all_of, fill, in_any_order, lines, mr, msg, obs, outcomes, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.service import Service

Json = dict[str, Any]
ANN: Final = pat("1", mr("A"))
BOB: Final = pat("1", mr("B"), name="Bob", born="1960-02-02", gender="male")
CARL: Final[Json] = {"name": "Carl", "born": "1990-09-09", "gender": "male"}
OLD: Final = mr("1", use="old")
UUID: Final = "0c5c6f0e-2b1b-4a1b-9c57-1d5b2b8d1234"


def told(minute: int, patient: Json, *, id: str = "r1", number: str = "F", **more: Any) -> Json:
    return msg(patient, rep(id, "Patient/1", fill(number), **more), minute=minute)


async def sent(lab: Service, *messages: Json) -> None:
    for n, one in enumerate(messages):
        answer = await send(lab, {**one, "id": f"sent-{n}"})
        assert answer.status == 200, answer.text


MENDED: Final = {
    "a mended mix-up": (
        (told(3, ANN), told(5, BOB, status="corrected"), told(7, BOB)),
        ["CBC final of Bob"],
    ),
    "a corrected code": (
        (
            told(3, ANN, id=UUID),
            told(5, ANN, id=UUID, code="CMP", status="corrected"),
            told(7, ANN, id=UUID, code="CMP"),
        ),
        ["CMP final of Ann"],
    ),
}


@pytest.mark.parametrize("name", MENDED)
async def test_what_was_mended_does_not_come_back_late_or_again(lab: Service, name: str) -> None:
    """The last version is plain `final`, so that its status tells nothing of the correction before it."""
    messages, wanted = MENDED[name]

    async def as_wanted(tenant: Service, order: Sequence[Json]) -> None:
        await sent(tenant, *order)
        assert await lines(tenant, "") == wanted

    await in_any_order(lab, [*messages, messages[0]], as_wanted)


async def test_a_late_report_that_is_anothers_by_now_is_told_to_its_sender(lab: Service) -> None:
    await sent(lab, told(5, BOB, status="corrected"))
    answer = await send(lab, told(3, ANN))
    assert TEXTS[Finding.REPORT_MENDED] in outcomes(answer)
    assert TEXTS[Finding.REPORT_MENDED] not in outcomes(await send(lab, told(4, BOB)))


async def test_of_two_reports_of_a_merged_patient_the_later_arrival_stays_where_no_time_is_told(
    lab: Service,
) -> None:
    first = told(1, ANN, status="preliminary", effectiveDateTime="2026-01-01")
    last = told(2, pat("1", mr("B")), effectiveDateTime="2026-01-01")
    merge = msg(pat("1", mr("B"), mr("A", use="old")), minute=3)
    for _ in range(4):  # Under ids of another order each.
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        for one in (first, last, merge):
            del (timeless := dict(one))["timestamp"]
            await sent(tenant, timeless)
            lab.clock.move(seconds=1)
        assert await lines(tenant, "mr|A") == ["CBC final of Ann"]


async def test_of_a_record_that_goes_to_somebody_else_nothing_is_completed(lab: Service) -> None:
    """HL7 v2 leaves unsaid what does not change; here nothing of it is theirs."""
    ann = "PID|1||P-1^^^HOSP^MR~9^^^USSSA^SS||ARBOR^ANN||19500101|F|||12 SECRET ST^^TOWN||555-1234"
    for n, pid in enumerate((ann, "PID|1||P-1^^^HOSP^MR||CARTER^CARL||19900909|M")):
        time = f"2026112210{n}000+0000"
        answer = await hl7v2.send(lab, hl7v2.message(pid, hl7v2.obr(f"F-{n}"), number=f"M-{n}", time=time))
        assert "MSA|AA" in answer.text
    [carl] = await all_of(lab, "Patient?_count=9")
    assert "address" not in carl
    assert "telecom" not in carl
    assert [one["value"] for one in carl["identifier"]] == ["P-1"]


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_merged_number_that_is_issued_again_links_nobody_where_the_merged_record_is_not_stored(
    lab: Service, deleted: bool
) -> None:
    if deleted:
        await sent(lab, told(1, pat("1", mr("1")), number="F1"))
        [retired] = await all_of(lab, "Patient?identifier=urn:made-up:mr|1")
    await sent(lab, told(2, pat("1", mr("2"), OLD), number="F2"))
    if deleted:
        assert (await lab.delete(f"Patient/{retired['id']}")).status == 204
    await sent(
        lab,
        told(5, pat("1", mr("1"), **CARL), number="F5"),
        told(6, pat("1", mr("2"), OLD), number="F6"),
        told(7, pat("1", mr("1"), **CARL), number="F7"),
        told(8, pat("1", mr("2")), number="F8"),
    )
    [carl] = [one for one in await all_of(lab, "Patient?_count=9") if one["name"][0]["text"] == "Carl"]
    assert await lines(lab, f"patient=Patient/{carl['id']}") == ["CBC final of Carl"] * 2
    found = await all_of(lab, "DiagnosticReport?patient.identifier=urn:made-up:mr|2")
    assert f"Patient/{carl['id']}" not in [one["subject"]["reference"] for one in found]


async def test_late_news_of_an_unknown_person_who_was_merged_is_linked(lab: Service) -> None:
    await sent(lab, told(2, pat("1", mr("2"), OLD), number="F2"))
    await sent(lab, told(1, pat("1", mr("1"), name="Doe", born="1900-01-01"), number="F1"))
    assert await lines(lab, "mr|2") == ["CBC final of Ann", "CBC final of Doe"]


def entry(n: int, resource: Json) -> Json:
    """An entry whose address tells no root."""
    return {"fullUrl": f"urn:uuid:0c5c6f0e-2b1b-4a1b-9c57-1d5b2b8d{n:04}", "resource": resource}


@pytest.mark.parametrize("more", [{"effectiveDateTime": "2026-01-01"}, {"identifier": [number("r", "R1")]}])
async def test_results_by_themselves_of_a_local_patient_who_is_not_there_are_each_their_own(
    lab: Service, more: Json
) -> None:
    """`Patient/1` is another person in the next message."""
    for n, value in enumerate(("6.9", "3.1")):
        await sent(lab, msg(entry(n, obs("k", "Patient/1", "K", value, **more)), minute=n))
    assert sorted(one["valueString"] for one in await all_of(lab, "Observation?")) == ["3.1", "6.9"]


@pytest.mark.parametrize("rooted", [True, False])
async def test_a_number_beside_a_reference_that_leads_nowhere_tells_whose_a_report_is(
    lab: Service, rooted: bool
) -> None:
    for n, who in enumerate("AB"):
        of = {"reference": "Patient/1", "identifier": mr(who)}
        report = {**rep("r1", "Patient/1", fill("F"), results=["Observation/k"]), "subject": of}
        result = {**obs("k", "Patient/1", "K", who, number("results", "R1")), "subject": of}
        alone = {**obs("n", "Patient/1", "Na", who, number("results", "R2")), "subject": of}
        for contents in ((report, result), (alone,)):
            entries = contents if rooted else [entry(n, one) for n, one in enumerate(contents)]
            await sent(lab, msg(*entries, minute=n))
    for who in "AB":
        if rooted:
            assert await lines(lab, f"mr|{who}") == [f"CBC final of elsewhere: K={who}"]
        found = await all_of(lab, f"Observation?patient:identifier=urn:made-up:mr|{who}")
        assert [one["valueString"] for one in found] == [who] * 2
