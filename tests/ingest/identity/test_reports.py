"""Identity of reports, by the table of docs/identity.md: each row in both orders of arrival."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline.identity.decisions import Candidate, Choice, Finding
from ingest.pipeline.identity.facts import PLAIN, Facts, facts_of, from_stored
from ingest.pipeline.identity.likeness import alike_in_code, report_name
from ingest.pipeline.identity.reports.choosing import _ranked, _score, _Shelf, _siblings, choose_reports
from ingest.pipeline.identity.reports.incoming import Incoming
from ingest.pipeline.identity.reports.sameness import share_number
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from random import Random

CBC, CMP = "58410-2", "24323-8"
EARLY, LATE = "2026-01-01T10:00:00.000000Z", "2026-01-01T11:00:00.000000Z"
UUID, OTHER_UUID = "7c0a3b1e-0000-4000-8000-000000000001", "7c0a3b1e-0000-4000-8000-000000000002"


def report(  # what is known of one
    number: str = "F1",
    *,
    code: str = CBC,
    kind: str = "FILL",
    patient: str = "a",
    own: str = "r1",
    when: str = "",
    status: str = "final",
    specimen: str = "",
    apart: bool = False,
    more: tuple[tuple[str, str], ...] = (),
) -> Facts:
    numbers = [(kind, number), *more] if number else list(more)
    resource: dict[str, Any] = {
        "resourceType": "DiagnosticReport",
        "id": own,
        "status": status,
        "identifier": [
            {"system": f"urn:{k}", "value": v, **({"type": {"coding": [{"code": k}]}} if k else {})}
            for k, v in numbers
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{patient}"},
        **({"effectiveDateTime": when} if when else {}),
    }
    facts = facts_of(resource, PLAIN._replace(source="source urn:lab"))
    return facts._replace(specimens=(specimen,) if specimen else (), apart=apart)


def candidates(*stored: Facts, sourced: str = EARLY) -> list[Candidate]:
    return [
        Candidate(ResourceKey("DiagnosticReport", f"s{n}"), from_stored(one.stored()), sourced)
        for n, one in enumerate(stored)
    ]


def choose(
    *pushed: Facts, stored: tuple[Facts, ...] = (), late: bool = False, kin: frozenset[str] = frozenset()
) -> list[Choice]:
    incoming = [Incoming(one, EARLY if late else LATE, kin | {one.patient}) for one in pushed]
    return choose_reports(
        incoming, candidates(*stored, sourced=LATE if late else EARLY), lambda n: f"new {n}"
    )


GENERAL, LOCAL = ("http://loinc.org", "11502-2"), "urn:lab:codes"


def coded(*codes: tuple[str, str], text: str = "") -> Facts:
    told: dict[str, Any] = {"coding": [{"system": system, "code": code} for system, code in codes]}
    told["text"] = text
    return facts_of({"resourceType": "DiagnosticReport", "code": told}, PLAIN)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        pytest.param(coded(GENERAL), coded(GENERAL), True, id="one code"),
        pytest.param(coded(GENERAL), coded(GENERAL, (LOCAL, "CBC")), True, id="a code more"),
        pytest.param(
            coded(GENERAL, (LOCAL, "CBC")),
            coded(GENERAL, (LOCAL, "CMP")),
            False,
            id="a general code, two panels",
        ),
        pytest.param(
            coded(GENERAL, ("http://loinc.org", CBC)),
            coded(("http://loinc.org", CMP), GENERAL),
            False,
            id="of one system",
        ),
        pytest.param(
            coded(GENERAL, (LOCAL, "CBC")), coded(GENERAL, ("urn:ours", "C1")), True, id="of two systems"
        ),
        pytest.param(
            coded((LOCAL, "CBC"), text="Blood"),
            coded(("urn:ours", "C1"), text="blood"),
            True,
            id="by their text",
        ),
        pytest.param(
            coded((LOCAL, "CBC"), text="Blood"),
            coded((LOCAL, "CMP"), text="Blood"),
            False,
            id="text of two codes",
        ),
    ],
)
def test_codes_that_say_the_same(one: Facts, other: Facts, alike: bool) -> None:
    assert (alike_in_code(one, other), alike_in_code(other, one)) == (alike, alike)


@pytest.mark.parametrize(
    ("older", "newer", "same"),
    [
        pytest.param(report(), report(status="corrected"), True, id="one number and code"),
        pytest.param(report(own=UUID), report(own=OTHER_UUID), True, id="new UUIDs for each message"),
        pytest.param(report(own="x"), report(own="y"), False, id="nothing but other ids"),
        pytest.param(
            report(own="x", when="2026"), report(own="y", when="2026"), True, id="one time, other ids"
        ),
        pytest.param(
            report(own="report-58410-2", when="2026-01-01T08:00Z"),
            report(own="report-58410-2", when="2026-01-01T09:00Z"),
            False,
            id="another time of an id that may come again",
        ),
        pytest.param(report(), report(code=CMP), False, id="another code"),
        pytest.param(report(), report(code=CMP, status="corrected"), True, id="a corrected code of one id"),
        pytest.param(
            report(own="x"), report(own="y", code=CMP, status="corrected"), False, id="of another id"
        ),
        pytest.param(
            report(kind="ACSN"),
            report(kind="ACSN", code=CMP, status="corrected"),
            False,
            id="r1 of an accession",
        ),
        pytest.param(
            report(kind="ACSN", own=UUID),
            report(kind="ACSN", own=UUID, code=CMP, status="amended"),
            True,
            id="a telling id of an accession",
        ),
        pytest.param(report(), report(patient="b"), False, id="another patient"),
        pytest.param(report(), report(patient="b", status="corrected"), True, id="a mix-up mended"),
        pytest.param(report(), report(patient="b", status="entered-in-error"), True, id="or taken back"),
        pytest.param(
            report(kind="PLAC"), report(kind="PLAC", patient="b", status="corrected"), False, id="of an order"
        ),
        pytest.param(
            report(), report(patient="b", code=CMP, status="corrected"), False, id="both patient and code"
        ),
        pytest.param(
            report("1", kind=""),
            report("1", kind="", patient="b", status="corrected"),
            False,
            id="a number that may count the reports of a patient",
        ),
        pytest.param(
            report("R-2026-17", kind=""),
            report("R-2026-17", kind="", patient="b", status="corrected"),
            True,
            id="a telling number without a type",
        ),
        pytest.param(
            report(when="2026-01-01T08:00Z"), report(when="2026-01-01T09:00Z"), False, id="another time"
        ),
        pytest.param(
            report(when="2026-01-01T08:00Z", own=UUID),
            report(when="2026-01-01T09:00Z", own=UUID),
            True,
            id="a corrected time of a telling id",
        ),
        pytest.param(report(when="2026-01-01"), report(when="2026-01-01T09:00Z"), True, id="a finer time"),
        pytest.param(report(), report(when="2026-01-01T09:00Z"), True, id="a time that was not known"),
        pytest.param(report(specimen="#s1"), report(specimen="#s2"), False, id="another specimen's number"),
        pytest.param(report(specimen="=arm"), report(specimen="=leg"), False, id="another specimen"),
        pytest.param(
            report(specimen="=arm"), report(specimen="=leg", status="corrected"), True, id="a corrected one"
        ),
        pytest.param(report(specimen="#s1"), report(specimen="=leg"), True, id="specimens told in two ways"),
        pytest.param(
            report(more=(("ACSN", "A"),)),
            report("F2", more=(("ACSN", "A"),)),
            False,
            id="two of an accession",
        ),
        pytest.param(report(more=(("PLAC", "P1"),)), report(more=(("PLAC", "P2"),)), True, id="ordered anew"),
        pytest.param(report(""), report(""), True, id="no number, one id of the source"),
        pytest.param(report("", own="x"), report("", own="y"), False, id="no number, another id"),
        pytest.param(
            report("", when="2026-01-01"), report("", when="2026-01-02"), False, id="no number, another day"
        ),
        pytest.param(report(""), report("", patient="b"), False, id="no number, another patient"),
        pytest.param(report(""), report(), False, id="a number that was not known"),
    ],
)
def test_two_versions(older: Facts, newer: Facts, same: bool) -> None:
    [in_order] = choose(newer, stored=(older,))
    [late] = choose(older, stored=(newer,), late=True)
    assert (in_order.id == "s0", late.id == "s0") == (same, same)


def test_a_report_that_moves_says_from_whom() -> None:
    [found] = choose(report(patient="b", status="corrected"), stored=(report(),))
    assert (found.moved_from, found.findings) == ("Patient/a", (Finding.REPORT_MOVED,))
    [late] = choose(report(), stored=(report(patient="b", status="corrected"),), late=True)
    assert (late.moved_from, late.findings) == ("", (Finding.REPORT_MENDED,))


def test_a_report_of_a_merged_patient_moves_with_any_status() -> None:
    [found] = choose(report(patient="b"), stored=(report(),), kin=frozenset({"Patient/a"}))
    assert found.id == "s0"


def test_a_doubt_is_told_and_another_panel_is_none() -> None:
    assert choose(report(patient="b"), stored=(report(),))[0].findings == (Finding.REPORT_DOUBTED,)
    assert choose(report(code=CMP), stored=(report(),))[0].findings == ()


def test_panels_of_one_accession_each_find_their_own_whatever_their_order_and_ids() -> None:
    stored = (report(kind="ACSN", own="r1"), report(kind="ACSN", own="r2", code=CMP))
    pushed = (report(kind="ACSN", own="r1", code=CMP, status="corrected"), report(kind="ACSN", own="r2"))
    assert [one.id for one in choose(*pushed, stored=stored)] == ["s1", "s0"]
    assert [one.id for one in choose(pushed[0], stored=stored)] == ["s1"]


def test_a_tolerance_test_is_as_many_reports_as_times_and_each_finds_its_own() -> None:
    times = ("2026-01-01T08:00Z", "2026-01-01T09:00Z", "2026-01-01T10:00Z")
    stored = tuple(report(when=one) for one in times)
    assert len({one.id for one in choose(*stored)}) == 3
    for n, one in enumerate(times):
        assert choose(report(when=one, status="corrected"), stored=stored)[0].id == f"s{n}"
    assert choose(report(when="2026-01-01T11:00Z"), stored=stored)[0].findings == (Finding.REPORT_DOUBTED,)


def test_sets_told_apart_by_id_alone_are_found_again_by_id() -> None:
    stored = (report(own="x", apart=True), report(own="y", apart=True))
    assert len({one.id for one in choose(*stored)}) == 2
    assert choose(report(own="y"), stored=stored)[0].id == "s1"
    assert choose(report(own="z"), stored=stored)[0].findings == (Finding.REPORT_DOUBTED,)
    again = choose(report(own="v", apart=True), report(own="w", apart=True), stored=stored)
    assert {one.id for one in again}.isdisjoint({"s0", "s1"})


def test_of_several_records_of_one_report_the_newest_stays() -> None:
    both = [
        *candidates(report(patient="a"), sourced=EARLY),
        Candidate(ResourceKey("DiagnosticReport", "moved"), report(patient="b", status="corrected"), LATE),
    ]
    [found] = choose_reports([Incoming(report(patient="a"), EARLY, mine=frozenset({"s0"}))], both, str)
    assert (found.id, [one.key.id for one in found.united]) == ("moved", ["s0"])
    assert Finding.REPORT_UNITED in found.findings


def test_names_of_what_is_told_apart_differ() -> None:
    told = [
        report(),
        report("F2"),
        report(code=CMP),
        report(patient="b"),
        report(when="2026"),
        report(specimen="#s"),
        report(apart=True),
    ]
    assert len({report_name(one) for one in told}) == len(told)
    assert report_name(report(own="x")) == report_name(report(own="y", status="corrected"))


def test_a_new_id_is_never_that_of_another() -> None:
    name = f"new {report_name(report())}"
    there = [Candidate(ResourceKey("DiagnosticReport", name), report(code=CMP), EARLY)]
    [found] = choose_reports([Incoming(report(), LATE)], there, lambda n: f"new {n}")
    assert found.id == f"{name} again 2"


def test_reports_are_looked_for_among_those_that_may_share_a_number_and_none_is_missed() -> None:
    told = [
        report(number, own=own, kind=kind, more=more)
        for number in ("", "F1", "F2")
        for own in ("", "r1", "r2")
        for kind in ("FILL", "PLAC")
        for more in ((), (("ACSN", "A1"),), (("FILL", "F2"),))
    ]
    shelf = _Shelf(told)
    for one in told:
        assert shelf.under(one) == [n for n, other in enumerate(told) if share_number(one, other)]


def test_hundreds_of_reports_of_one_number_are_told_apart_by_their_codes() -> None:
    """Each with each of each took minutes."""
    chosen = choose(*(report(code=f"{n}-1", own=f"r{n}") for n in range(400)))
    assert len({one.id for one in chosen}) == 400


def _taken_plainly(
    incoming: list[Incoming], likely: dict[int, list[Candidate]]
) -> list[tuple[int, Candidate]]:
    """The pairs that are not in doubt, by their definition: each row is compared with each."""
    rows = [(_score(incoming[n], one), n, one) for n, found in likely.items() for one in found]
    return [
        (number, one)
        for score, number, one in rows
        if sum(s == score and n == number and _siblings(c, one) for s, n, c in rows)
        < max(sum(s == score and c.key == one.key for s, _, c in rows), 1)
    ]


@given(st.randoms(use_true_random=False))
def test_pairs_in_doubt_are_those_of_the_definition(random: Random) -> None:
    def some() -> Facts:
        return report(
            own=f"r{random.randrange(3)}", code=random.choice([CBC, CMP]), apart=random.random() < 0.5
        )

    incoming = [Incoming(some(), LATE) for _ in range(random.randint(1, 5))]
    stored = candidates(*(some() for _ in range(random.randint(1, 5))))
    likely = {n: [one for one in stored if random.random() < 0.8] for n in range(len(incoming))}
    taken = sorted(_ranked(incoming, likely), key=lambda row: (row[0], row[1].key.id))
    plainly = sorted(_taken_plainly(incoming, likely), key=lambda row: (row[0], row[1].key.id))
    assert taken == plainly


def test_hundreds_of_reports_of_one_number_and_id_cost_a_comparison_for_each_two_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def counting(one: Facts, other: Facts) -> bool:
        nonlocal compared
        compared += 1
        return alike_in_code(one, other)

    monkeypatch.setattr("ingest.pipeline.identity.reports.choosing.alike_in_code", counting)
    chosen = choose(*(report(when=f"20{n:02}") for n in range(80)))
    assert len({one.id for one in chosen}) == 80
    assert compared <= 80 * 80


def test_equal_reports_that_are_new_get_an_id_each_for_a_derivation_each() -> None:
    derived: list[str] = []

    def derive(name: str) -> str:
        derived.append(name)
        return name

    chosen = choose_reports([Incoming(report(), LATE) for _ in range(50)], [], derive)
    assert len({one.id for one in chosen}) == 50 == len(derived)
