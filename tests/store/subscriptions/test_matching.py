"""Queries are tried on few resources, and on each that they hold for; a search says the same."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from store.search.index import index
from store.search.index_side import IndexSide, decided, fields_of
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.search.parsing.query_text import pairs_of
from store.subscriptions.matching import Dispatch
from tests.support.fhir import coded, identified, refers, report
from tests.support.subscriptions import BASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.search.criteria import Clause

QUERIES = (
    "",
    "status=final",
    "status:not=final",
    "status=final,amended",
    "patient=Patient/p1",
    "subject=Patient/p2&status=partial",
    "patient=Patient/p1,Patient/p2",
    "identifier=urn:a|7",
    "identifier=urn:a|",
    "code=http://loinc.org|58410-2&patient=p1",
    "order=ServiceRequest/o1",
    "date=ge2026",
    "patient.identifier=urn:mr|7",
    "_id=r1",
)
PATIENTS = ("p1", "p2", None)
STATUSES = ("final", "partial", "amended")
MORE: Sequence[dict[str, Any]] = (
    {},
    {"identifier": [identified("urn:a", "7")]},
    {"code": coded("other"), "basedOn": [refers("ServiceRequest/o1")]},
)
REPORTS = [
    report(f"r{number}", who, status=status, **more)
    for number, (who, status, more) in enumerate(product(PATIENTS, STATUSES, MORE))
]


def clauses_of(query: str) -> Sequence[Clause]:
    return parse(
        "DiagnosticReport", pairs_of(query), SearchContext(SearchLimits(), BASE, 0, strict=True)
    ).query.clauses


def side_of(resource: dict[str, Any]) -> IndexSide:
    made = index(resource, "DiagnosticReport", base=BASE, resource_id=resource["id"])
    return IndexSide("DiagnosticReport", resource["id"], made.fields)


def test_a_query_is_tried_on_each_resource_that_it_may_hold_for() -> None:
    queries = [clauses_of(one) for one in QUERIES]
    dispatch, tried = Dispatch(queries), 0
    for resource in REPORTS:
        side = side_of(resource)
        candidates = dispatch.candidates(side)
        may_hold = {n for n, clauses in enumerate(queries) if decided(clauses, side) is not False}
        assert may_hold <= candidates
        tried += len(candidates)
    assert tried < 0.6 * len(REPORTS) * len(QUERIES)
    gone = dispatch.candidates(None)
    assert {QUERIES[number] for number in gone} == {
        "",
        "status:not=final",
        "order=ServiceRequest/o1",
        "date=ge2026",
        "patient.identifier=urn:mr|7",
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", True),
        ("status=final", True),
        ("status=partial", False),
        ("status:not=partial", True),
        ("patient=p1&status=final", True),
        ("patient=p2&date=ge2026", False),
        ("patient=p1&date=ge2026", None),
        ("patient.identifier=urn:mr|7", None),
        ("status=partial&patient.identifier=urn:mr|7", False),
    ],
)
def test_tokens_and_references_are_decided_and_the_rest_is_asked(query: str, said: bool | None) -> None:
    assert decided(clauses_of(query), side_of(report("r1", "p1"))) is said


@pytest.mark.parametrize("query", QUERIES)
def test_the_fields_that_a_query_is_decided_by_decide_it(query: str) -> None:
    clauses = clauses_of(query)
    names = {field.removeprefix("index.") for field in fields_of(clauses)}
    for resource in REPORTS:
        side = side_of(resource)
        shown = side._replace(fields={name: side.fields[name] for name in names & side.fields.keys()})
        assert decided(clauses, shown) == decided(clauses, side)
