"""A query as a find: what it returns, by which index, and what its shape gives away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.search.criteria import AnyOf, Chain, Clause, SearchQuery
from store.search.parameters import TYPES, SearchType
from store.search.parsing.parse import parse
from store.search.planning import leading_clause as drivers
from store.search.planning.leading_clause import DRIVING_KEYS_MAX, drives
from store.search.planning.plan import FindPlan, plan
from tests.support.filters import matches
from tests.support.reports import NEVER, NOW, TENANT, context, document_of, query_of, report

DR = "DiagnosticReport"


def chains_of(clauses: tuple[Clause, ...]) -> list[Chain]:
    found: list[Chain] = []
    for clause in clauses:
        if isinstance(clause, Chain):
            found.append(clause)
        elif isinstance(clause, AnyOf):
            found += chains_of(clause.clauses)
    return found


def planned(query: SearchQuery, *targets: str) -> FindPlan:
    """The plan when each chain leads to these targets."""
    return plan(TENANT, query, resolved=dict.fromkeys(chains_of(query.clauses), targets), now=NOW)


# --- which index


@pytest.mark.parametrize(
    ("pairs", "hint", "shape"),
    [
        pytest.param([], "dated", f"{DR} sort -when.lo", id="all"),
        pytest.param(
            [("_lastUpdated", "gt2020")], "updated", f"{DR} filter _lastUpdated=gt sort updated.lo", id="poll"
        ),
        pytest.param([("_id", "a,b")], "_id_", f"{DR} by _id=?,… sort -when.lo", id="_id"),
        pytest.param([("patient", "p")], "keyed", f"{DR} by patient=? sort -when.lo", id="patient"),
        pytest.param(
            [("patient", "p"), ("code", "c")], "keyed", f"{DR} by patient=? & code=? sort -when.lo", id="both"
        ),
        pytest.param(
            [("subject", "Patient/p"), ("category", "c"), ("status", "s")],
            "keyed",
            f"{DR} by subject=? & category=? filter status=? sort -when.lo",
            id="category before status",
        ),
        pytest.param(
            [("patient", "p"), ("identifier", "x")],
            "keyed",
            f"{DR} by identifier=? filter patient=? sort -when.lo",
            id="an identifier finds fewest",
        ),
        pytest.param(
            [("patient.identifier", "x"), ("date", "ge2020,lt2019")],
            "keyed",
            f"{DR} by patient.(identifier=?) filter date=ge,lt sort -when.lo",
            id="chain",
        ),
        pytest.param([("category", "c")], "dated", f"{DR} filter category=? sort -when.lo", id="not keyed"),
        pytest.param([("code:not", "c")], "dated", f"{DR} filter code:not=? sort -when.lo", id="negated"),
        pytest.param([("code", "urn:l|")], "dated", f"{DR} filter code=? sort -when.lo", id="a whole system"),
        pytest.param([("_sort", "_lastUpdated")], "updated", f"{DR} sort updated.lo", id="sort"),
    ],
)
def test_hint_and_shape(pairs: list[tuple[str, str]], hint: str, shape: str) -> None:
    found = planned(query_of(*pairs), "Patient/p")
    assert (found.hint, found.shape) == (hint, shape)


@pytest.mark.parametrize(("count", "hint"), [(DRIVING_KEYS_MAX, "keyed"), (DRIVING_KEYS_MAX + 1, "dated")])
def test_a_clause_with_too_many_values_only_filters(count: int, hint: str) -> None:
    query = query_of(("code", ",".join(f"c{n}" for n in range(count))))
    found = planned(query)
    assert found.hint == hint
    assert matches(document_of(report(code={"coding": [{"code": "c7"}]})), found.filter)


def test_one_more_than_the_page_is_asked_for() -> None:
    assert [planned(query_of(("_count", text))).limit for text in ("0", "1", "1000")] == [1, 2, 1001]


def test_a_chain_that_leads_nowhere_finds_nothing() -> None:
    document = document_of(report(subject={"reference": "Patient/p"}))
    found = planned(query_of(("patient.birthdate", "2020")))
    assert not matches(document, found.filter)


# --- tenant, type, expiry


@pytest.mark.parametrize("pairs", [[], [("_id", "1")], [("patient", "p")], [("code:not", "zz")]])
def test_other_tenants_other_types_and_what_has_expired_are_never_found(pairs: list[tuple[str, str]]) -> None:
    own = document_of(report(subject={"reference": "Patient/p"}))
    foreign = document_of(report(subject={"reference": "Patient/p"}), tenant="other/Production")
    observation = document_of(report(subject={"reference": "Patient/p"}, resourceType="Observation"))
    expired = own | {"expires_at": NOW}
    about_to = own | {"expires_at": NOW + timedelta(milliseconds=1)}
    found = planned(query_of(*pairs))
    documents = [own, foreign, observation, expired, about_to]
    assert [matches(one, found.filter) for one in documents] == [True, False, False, False, True]
    assert own["expires_at"] == NEVER


# --- a driving clause finds what it would find as a filter

_REFERENCES: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"reference": "Patient/a"},
        {"reference": "Patient/b", "identifier": {"value": "M"}},
        {"reference": "Patient/a_b"},
        {"reference": "Device/a"},
        {"reference": "http://ehr.test/Patient/a"},
        {"reference": "urn:uuid:a", "type": "Patient"},
        {"reference": "urn:uuid:a", "identifier": {"system": "urn:m", "value": "M"}},
        {"reference": "#in"},
        {"identifier": {"system": "urn:m", "value": "M"}},
        {"identifier": {"system": "urn:m", "value": "M|"}, "type": "Device"},
        {"display": "made up"},
    ]
)
_CODES = st.sampled_from(
    [{}, {"code": "A"}, {"system": "urn:s", "code": "A"}, {"system": "urn:s", "code": "b|"}]
)
_INNER: Final = {"resourceType": "Patient", "id": "in", "identifier": [{"system": "urn:m", "value": "IN"}]}
_REPORTS = st.builds(
    lambda subject, order, code, category, status: report(
        contained=[_INNER],
        subject=subject,
        basedOn=[order],
        code={"coding": [code]},
        category=[{"coding": [category]}],
        status=status,
        identifier=[{"system": "urn:m", "value": "M"}],
    ),
    _REFERENCES,
    _REFERENCES,
    _CODES,
    _CODES,
    st.sampled_from(["final", "amended"]),
)
_TEXTS = [
    "a",
    "Patient/a",
    "Patient/a,Device/a",
    "Patient/a_b",
    "http://ehr.test/Patient/a",
    "urn:uuid:a",
    "M",
    "urn:m|M",
    r"urn:m|M\|",
    "urn:m|",
    "IN",
    "urn:s|A,b",
    "|A",
    r"urn:s|b\|",
    "final",
]
_PARAMETERS = [
    "subject",
    "patient",
    "subject:Patient.identifier",
    "patient.identifier",
    "subject.identifier",
    "subject:identifier",
    "patient:identifier",
    "based-on",
    "order",
    "code",
    "code:not",
    "category",
    "status",
    "identifier",
]
_PAIRS = st.lists(st.tuples(st.sampled_from(_PARAMETERS), st.sampled_from(_TEXTS)), min_size=1, max_size=3)
_NAMING = frozenset(row.name for row in TYPES[DR].parameters if row.type is SearchType.REFERENCE)
"""References, in which no `|` stands."""
_TARGETS = st.lists(st.sampled_from(["Patient/a", "Patient/a_b", "Device/a"]), unique=True)


@given(st.lists(_REPORTS, min_size=1, max_size=3), _PAIRS, _TARGETS)
def test_driving_or_filtering_is_the_same(
    reports: list[dict[str, Any]], pairs: list[tuple[str, str]], targets: list[str]
) -> None:
    fitting = [(name, text) for name, text in pairs if name not in _NAMING or "|" not in text]
    query = parse(DR, fitting, context()).query
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drivers, "DRIVING_KEYS_MAX", -1)
        filtering = planned(query, *targets)
    driving = planned(query, *targets)
    assert filtering.hint == "dated"
    assert "keys" not in filtering.filter
    for number, one in enumerate(reports):
        document = document_of(one, id=str(number))
        assert matches(document, driving.filter) is matches(document, filtering.filter)


# --- clauses in words


@pytest.mark.parametrize(
    ("name", "text", "more", "expected"),
    [
        pytest.param("category:not", "lab", {}, True, id="not: without the element"),
        pytest.param("category:not", "lab", {"category": [{"coding": [{"code": "lab"}]}]}, False, id="not"),
        pytest.param(
            "category:not",
            "lab,rad",
            {"category": [{"coding": [{"code": "x"}]}, {"coding": [{"code": "rad"}]}]},
            False,
            id="not: none of the list, in no repetition",
        ),
        pytest.param("category:missing", "true", {}, True, id="missing token"),
        pytest.param("category:missing", "false", {}, False, id="no such token"),
        pytest.param("date:missing", "true", {}, True, id="missing date"),
        pytest.param("date:missing", "false", {"effectiveDateTime": "2020"}, True, id="date is there"),
        pytest.param(
            "date:missing", "true", {"effectivePeriod": {"end": "2020"}}, False, id="open period is there"
        ),
        pytest.param("subject:missing", "true", {}, True, id="missing reference"),
        pytest.param(
            "subject:missing",
            "true",
            {"subject": {"identifier": {"value": "M"}}},
            False,
            id="logical is there",
        ),
        pytest.param(
            "subject:missing", "false", {"subject": {"reference": "Patient/a"}}, True, id="reference is there"
        ),
        pytest.param(
            "subject:identifier", "M", {"subject": {"identifier": {"value": "M"}}}, True, id=":identifier"
        ),
        pytest.param(
            "patient.identifier",
            "M",
            {"subject": {"identifier": {"value": "M"}}},
            True,
            id="D6: in the reference",
        ),
        pytest.param(
            "patient.identifier", "M", {"subject": {"reference": "Patient/there"}}, True, id="D6: resolved"
        ),
        pytest.param(
            "patient.identifier",
            "urn:m|IN",
            {"subject": {"reference": "#in"}, "contained": [_INNER]},
            True,
            id="D6: contained",
        ),
        pytest.param(
            "subject:identifier",
            "urn:m|IN",
            {"subject": {"reference": "#in"}, "contained": [_INNER]},
            False,
            id=":identifier does not look into a contained resource",
        ),
        pytest.param(
            "order", "urn:o|7", {"identifier": [{"system": "urn:o", "value": "7"}]}, True, id="D14: own"
        ),
        pytest.param(
            "order", "7", {"basedOn": [{"identifier": {"value": "7"}}]}, True, id="D14: by identifier"
        ),
        pytest.param(
            "order", "7", {"basedOn": [{"reference": "ServiceRequest/7"}]}, True, id="D14: by reference"
        ),
        pytest.param(
            "order", "8", {"basedOn": [{"reference": "ServiceRequest/7"}]}, False, id="D14: another"
        ),
        pytest.param("date", "2019,2020", {"effectiveDateTime": "2020-05"}, True, id="dates are or-ed"),
    ],
)
def test_clause(name: str, text: str, more: dict[str, Any], expected: bool) -> None:
    found = planned(query_of((name, text)), "Patient/there")
    assert matches(document_of(report(**more)), found.filter) is expected


def test_a_concept_that_is_only_a_text_is_not_missing() -> None:
    found = planned(query_of(("code:missing", "true")))
    assert not matches(document_of(report(code={"text": "made up"})), found.filter)


# --- nothing of the values is in the shape


@given(st.sampled_from(_PARAMETERS), st.text(alphabet="ab|,:", max_size=5))
def test_the_shape_holds_no_value(name: str, text: str) -> None:
    found = (
        parse(DR, [(name, f"Zq7{text}Zq7")], context(strict=False))
        if text.count("|") < (1 if name in _NAMING else 2) and "," not in text
        else None
    )
    if found is not None:
        assert "Zq7" not in planned(found.query, "Patient/Zq7").shape.replace("zq7", "Zq7")


@pytest.mark.parametrize(
    ("name", "text", "quick"),
    [
        ("patient", "p1", True),
        ("_id", "a", True),
        ("identifier", "urn:x|1", True),
        ("order", "1", True),
        ("patient.identifier", "1", True),
        ("patient.name", "made", True),
        ("identifier:not", "1", False),
        ("identifier", "urn:x|", False),
        ("patient.identifier", "urn:x|", False),
        ("patient.name:contains", "made", False),
        ("patient.birthdate", "2020", False),
        ("_has:Provenance:target:_id", "a", True),
        ("_has:Provenance:target:recorded", "2020", False),
        ("status", "final", False),
        ("date", "2020", False),
    ],
)
def test_what_would_scan_does_not_hold_up_what_an_entry_drives(name: str, text: str, quick: bool) -> None:
    assert drives(query_of((name, text))) is quick


def test_a_slow_chain_beside_a_quick_clause_is_slow() -> None:
    assert not drives(query_of(("patient", "p1"), ("performer:Practitioner.name:contains", "made")))
