"""Identity of patients over HTTP: a case for each row of the table of identity, and its brothers."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.tenancy import SearchScope
from tests.oracle.identity.hospital import number
from tests.support.cases import Case, all_of, fill, holds, lines, mr, msg, obs, pat, rep
from tests.support.feed import send
from tests.support.fhir import refers

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
PLACEHOLDERS: Final = (
    "0",
    "N/A",
    "UNKNOWN",
    "NONE",
    "PENDING",
    "TEST",
    "unknown",
    "n/a",
    "None",
    " UNKNOWN ",
)
KEYLESS: Final = ("AN", "ANT", "VN", "SN", "MB", "FI", "XX")
"""Types of v2-0203 that name no patient: accounts, visits, subscribers, members, facilities."""
ANN: Final = "CBC final of Ann"
BOB: Final = "CBC final of Bob"


def told(minute: int, patient: Json, filler: str | None = None, **more: Any) -> Json:
    """A message with a report of one patient, whose local ids are the same every time."""
    return msg(
        patient, rep("r1", f"Patient/{patient['id']}", fill(filler or f"F{minute}"), **more), minute=minute
    )


def two(name: str, *shared: Json, mine: str | None = "MR", **more: Any) -> Case:
    """Ann and Bob carry a number that is no key; each has a record number."""
    ann = pat("a", *shared, number("mr", "A", mine), **more)
    bob = pat("b", *shared, number("mr", "B", mine), name="Bob", born="1960-02-02", **more)
    by_shared = {f"{one['system'].removeprefix('urn:made-up:')}|{one['value']}": [ANN, BOB] for one in shared}
    return Case(name, [told(1, ann), told(2, bob)], {"mr|A": [ANN], "mr|B": [BOB], **by_shared}, patients=2)


SEARCHED_ONLY: Final = (
    two("temp", number("x", "S", use="temp")),
    two("old", number("x", "S", use="old")),
    two("secondary", number("x", "S", use="secondary")),
    two("temp of type MR", number("mr", "S", "MR", use="temp")),
    two("ended", number("x", "S", period={"start": "2010-01-01", "end": "2015-01-01"})),
    two("ended, of type MR", number("mr", "S", "MR", period={"end": "2015"})),
    *(two(f"type {kind}", number("x", "S", kind)) for kind in KEYLESS),
    two("untyped household", number("policy", "FAM-1"), mine=None),
    two("temp beside untyped", number("tmp", "S", use="temp"), mine=None),
    two("account beside untyped", number("x", "S", "AN"), mine=None),
    two("social security beside record numbers", number("ss", "S", "SS")),
    two("national beside record numbers", number("x", "S", "NI")),
    two("licence beside record numbers", number("x", "S", "DL")),
)


@pytest.mark.parametrize("case", SEARCHED_ONLY, ids=lambda case: case.name)
async def test_a_number_that_two_people_share_is_searched_by_and_never_a_key(
    lab: Service, case: Case
) -> None:
    await holds(lab, case)
    other = await lab.new_tenant(search_scope=SearchScope.ANY)
    await holds(other, case._replace(sent=case.sent[::-1]), again=False)


@pytest.mark.parametrize("value", PLACEHOLDERS)
async def test_a_placeholder_is_never_a_key(lab: Service, value: str) -> None:
    for kind in ("MR", "SS", None):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        one = number("x", value, kind)
        ann, bob = pat("1", one), pat("1", one, name="Bob", born="1960-02-02")
        case = Case("placeholder", [told(1, ann), told(2, bob)], {"": [ANN, BOB]}, patients=2)
        await holds(tenant, case)


TWINS: Final = (
    *(number("x", "S", kind) for kind in KEYLESS),
    *(number("x", "S", "SS", use=use) for use in ("old", "temp", "secondary")),
    number("x", "S", "MR", period={"end": "2020-01-01"}),
)


@pytest.mark.parametrize("shared", TWINS, ids=lambda one: f"{one['type']['coding'][0]['code']} {len(one)}")
async def test_twins_with_one_such_number_and_no_other_are_two(lab: Service, shared: Json) -> None:
    sent = [told(1, pat("1", shared)), told(2, pat("1", shared, name="Bob"))]
    await holds(lab, Case("twins", sent, {"x|S": [ANN, BOB]}, patients=2))


def changed(
    name: str, *sent: Json, found: dict[str, list[str]], patients: int = 1, doubt: int | None = None
) -> Case:
    return Case(name, sent, found, patients=patients, doubt=doubt)


MARRIED: Final = "CBC final of Ann Reed"
SAME: Final = (
    changed(
        "corrected name",
        *(told(1, pat("1", mr("A"))), told(2, pat("2", mr("A"), name="Ann Reed"))),
        found={"mr|A": [MARRIED] * 2},
    ),
    changed(
        "corrected birth date",
        *(told(1, pat("1", mr("A"))), told(2, pat("1", mr("A"), born="1951-01-01"))),
        found={"mr|A": [ANN] * 2},
    ),
    changed(
        "name and birth date at once",
        *(told(1, pat("1", mr("A"))), told(2, pat("1", mr("A"), name="Ann Reed", born="1951-01-01"))),
        found={"mr|A": [MARRIED] * 2},
        doubt=1,
    ),
    changed(
        "of type PI",
        told(1, pat("1", number("x", "A", "PI"))),
        told(2, pat("9", number("x", "A", "PI"), name="Ann Reed")),
        found={"x|A": [MARRIED] * 2},
    ),
    changed(
        "another weak number",
        told(1, pat("1", mr("A"), number("ss", "1", "SS"))),
        told(2, pat("1", mr("A"), number("ss", "2", "SS"))),
        found={"mr|A": [ANN] * 2},
    ),
    changed(
        "record numbers of two systems",
        told(1, pat("1", mr("A"), number("other", "7", "MR"))),
        told(2, pat("1", number("other", "7", "MR"), mr("A"), name="Ann Reed")),
        found={"mr|A": [MARRIED] * 2, "other|7": [MARRIED] * 2},
    ),
    *(
        changed(
            f"{what} of one with a number of type {kind} only",
            told(1, pat("1", number("x", "A", kind))),
            told(2, pat("1", number("x", "A", kind), **more)),
            found={"x|A": [f"CBC final of {more.get('name', 'Ann')}"] * 2},
        )
        for kind in ("SS", "NI", None, "DL", "PPN")
        for what, more in (
            ("nothing", {}),
            ("corrected name", {"name": "Ann Reed"}),
            ("corrected birth date", {"born": "1951-01-01"}),
        )
    ),
)


@pytest.mark.parametrize("case", SAME, ids=lambda case: case.name)
async def test_one_patient_with_news(lab: Service, case: Case) -> None:
    await holds(lab, case)
    other = await lab.new_tenant(search_scope=SearchScope.ANY)
    await holds(other, case._replace(sent=case.sent[::-1], doubt=None), again=False)


TWO: Final = (
    *(
        changed(
            f"other name and birth date, number of type {kind}",
            told(1, pat("1", number("x", "A", kind))),
            told(2, pat("1", number("x", "A", kind), name="Bob", born="1960-02-02")),
            found={"x|A": [ANN, BOB]},
            patients=2,
            doubt=1,
        )
        for kind in ("SS", "NI", None, "DL", "PPN")
    ),
    changed(
        "one record number in two systems",
        told(1, pat("1", mr("A"))),
        told(2, pat("1", number("other", "A", "MR"), name="Bob", born="1960-02-02")),
        found={"mr|A": [ANN], "other|A": [BOB]},
        patients=2,
    ),
    changed(
        "mother's number on the newborn",
        told(1, pat("1", mr("A"), number("ss", "S", "SS"))),
        told(2, pat("2", number("ss", "S", "SS"), name="Bob", born="2026-10-01")),
        found={"ss|S": [ANN, BOB], "mr|A": [ANN]},
        patients=2,
    ),
    changed(
        "no number, other name",
        *(told(1, pat("1")), told(2, pat("1", name="Bob"))),
        found={"": [ANN, BOB]},
        patients=2,
    ),
    changed(
        "no number, other birth date",
        *(told(1, pat("1")), told(2, pat("1", born="1951-01-01"))),
        found={"": [ANN] * 2},
        patients=2,
    ),
    changed(
        "no number, other sex",
        *(told(1, pat("1")), told(2, pat("1", gender="male"))),
        found={"": [ANN] * 2},
        patients=2,
    ),
    changed(
        "no number, another source",
        told(1, pat("1")),
        msg(pat("1"), rep("r1", "Patient/1", fill("F2")), minute=2, source="urn:made-up:other"),
        found={"": [ANN] * 2},
        patients=2,
    ),
)


@pytest.mark.parametrize("case", TWO, ids=lambda case: case.name)
async def test_a_doubt_makes_two_patients(lab: Service, case: Case) -> None:
    await holds(lab, case)
    other = await lab.new_tenant(search_scope=SearchScope.ANY)
    await holds(other, case._replace(sent=case.sent[::-1]), again=False)


async def test_without_a_number_the_same_name_birth_date_and_sex_of_one_source_are_one(lab: Service) -> None:
    sent = [told(1, pat("1")), told(2, pat("77"))]
    await holds(lab, Case("no number", sent, {"": [ANN] * 2}, patients=1))


OLD: Final = {**mr("A"), "use": "old"}
RETIRED: Final = told(1, pat("1", mr("A")), "F1")
OTHERS: Final = told(2, pat("1", mr("B"), name="Ann Reed"), "F2")
MERGES: Final = {
    "lists the old number": (pat("1", mr("B"), OLD, name="Ann Reed"),),
    "the old number first": (pat("1", OLD, mr("B"), name="Ann Reed"),),
    "replaces": (
        pat("1", mr("B"), name="Ann Reed", link=[{"type": "replaces", "other": refers("Patient/2")}]),
        pat("2", mr("A"), active=False),
    ),
    "replaced-by": (
        pat("1", mr("B"), name="Ann Reed"),
        pat("2", mr("A"), active=False, link=[{"type": "replaced-by", "other": refers("Patient/1")}]),
    ),
}


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize("merge", MERGES)
async def test_a_search_by_either_number_finds_the_reports_of_both(
    lab: Service, merge: str, order: tuple[int, ...]
) -> None:
    sent = (RETIRED, OTHERS, msg(*MERGES[merge], minute=3))
    answers = [await send_one(lab, sent[n]) for n in order]
    assert answers == [200] * 3
    for asked in ("mr|A", "mr|B"):
        fillers = await fillers_of(lab, asked)
        assert fillers == ["F1", "F2"], asked
    names = [one["name"][0]["text"] for one in await all_of(lab, "Patient?_count=9")]
    assert sorted(names) == ["Ann", "Ann Reed"]  # The retired record is not overwritten.


@pytest.mark.parametrize("merge", [name for name in MERGES if name != "replaced-by"])
async def test_a_report_sent_again_under_the_survivor_moves(lab: Service, merge: str) -> None:
    survivor = msg(*MERGES[merge], rep("r1", "Patient/1", fill("F1"), code="CBC"), minute=3)
    for order in ((0, 1), (1, 0)):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        for n in order:
            assert await send_one(tenant, (RETIRED, survivor)[n]) == 200
        for asked in ("mr|A", "mr|B"):
            assert await fillers_of(tenant, asked) == ["F1"], (order, asked)


async def send_one(service: Service, message: Json) -> int:
    return (await service.request("POST", "$process-message", message)).status


async def fillers_of(service: Service, asked: str) -> list[str]:
    answer = await service.search([("patient.identifier", f"urn:made-up:{asked}")])
    assert answer.status == 200, answer.text
    return sorted(one["resource"]["identifier"][0]["value"] for one in answer.matches)


def replacing(kind: str, value: str) -> Json:
    return {"link": [{"type": kind, "other": {"identifier": mr(value)}}]}


@pytest.mark.parametrize(
    ("survivor", "retired"),
    [(replacing("replaces", "A"), {}), ({}, replacing("replaced-by", "B"))],
    ids=["replaces", "replaced-by"],
)
async def test_records_are_linked_by_an_identifier_and_stay_so_when_either_is_updated(
    lab: Service, survivor: Json, retired: Json
) -> None:
    one, other = pat("a", mr("A"), **retired), pat("b", mr("B"), **survivor)
    sent = [told(1, one), told(2, other)]
    for order in (sent, sent[::-1]):
        tenant = await lab.new_tenant(search_scope=SearchScope.ANY)
        for message in order:
            assert (await send(tenant, message)).status == 200
        assert await lines(tenant, "mr|A") == await lines(tenant, "mr|B") == [ANN, ANN]
        for patient in await all_of(tenant, "Patient?_count=50"):
            answer = await tenant.put({**patient, "gender": "unknown"})
            assert answer.status == 200, answer.text
        assert await lines(tenant, "mr|A") == await lines(tenant, "mr|B") == [ANN, ANN]


UNREADABLE: Final = pat("1", mr("A"), born="01/02/1950")


async def test_results_whose_patient_is_refused_are_refused_with_them(lab: Service) -> None:
    """Nobody would find them."""
    result = obs("k", "Patient/1", "K", "5")
    for parts in ([rep("r1", "Patient/1", fill("F"), results=["Observation/k"]), result], [result]):
        answer = await send(lab, msg(UNREADABLE, *parts, minute=1))
        assert (answer.status, "Dead-Letter" in answer.headers) == (422, True)
        assert await all_of(lab, "Observation?_count=9") == []
    assert await lines(lab, "") == []


async def test_of_several_patients_one_that_is_refused_keeps_nobody_elses_results_back(lab: Service) -> None:
    other = pat("2", mr("B"), name="Bob", born="1960-02-02")
    reports = rep("r1", "Patient/1", fill("F1")), rep("r2", "Patient/2", fill("F2"))
    answer = await send(lab, msg(UNREADABLE, other, *reports, minute=1))
    assert [one["response"]["status"][:3] for one in answer.body["entry"]].count("422") == 2
    assert await lines(lab, "") == ["CBC final of Bob"]


async def test_results_of_a_stored_patient_are_kept_whatever_is_wrong_with_news_of_them(lab: Service) -> None:
    assert (await send(lab, msg(pat("1", mr("A")), minute=1))).status == 200
    answer = await send(lab, msg(UNREADABLE, rep("r1", "Patient/1", fill("F")), minute=2))
    assert [one["response"]["status"][:3] for one in answer.body["entry"]] == ["200", "422", "201"]
    assert await lines(lab, "mr|A") == ["CBC final of Ann"]


async def test_a_report_that_names_its_patient_by_number_too_is_found_by_it(lab: Service) -> None:
    named = {"subject": {"reference": "Patient/1", "identifier": mr("A")}}
    answer = await send(lab, msg(UNREADABLE, {**rep("r1", "Patient/1", fill("F")), **named}, minute=1))
    assert answer.status == 200
    assert len(await all_of(lab, "DiagnosticReport?patient.identifier=urn:made-up:mr|A")) == 1


@pytest.mark.parametrize(
    "asked", ["Patient?name=Ann", "Patient?_id=a", "Patient?", "Group?identifier=urn:x|1"]
)
async def test_a_search_that_names_nobody_by_a_number_is_no_patient(lab: Service, asked: str) -> None:
    report = rep("r1", "Patient/1", fill("F")) | {"subject": {"reference": asked}}
    answer = await send(lab, msg(report, minute=1))
    assert (answer.status, "Dead-Letter" in answer.headers) == (422, True)
    assert await lines(lab, "") == []
