"""Reach of a caller: the clauses that its scopes add, and what they must not make slow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.auth.principal import Principal
from api.auth.scopes import rights_of
from store.search.criteria import All, Chain, SearchQuery
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse
from store.search.planning.plan import plan
from store.search.reach import Everything, narrowed

NOW = datetime(2026, 11, 29, tzinfo=UTC)
TWO_CODES = ("system/Observation.rs?code=1-1", "system/Observation.rs?code=2-2", "system/DiagnosticReport.rs")


def caller(*scopes: str) -> Principal:
    rights = rights_of(scopes)
    return Principal(
        "tests", frozenset(), rights.whole, NOW + timedelta(days=1), own=rights.own, parts=rights.parts
    )


def asked(kind: str, *pairs: tuple[str, str]) -> SearchQuery:
    return parse(kind, pairs, SearchContext(SearchLimits(), None, 0)).query


def test_whoever_reaches_everything_asks_the_same() -> None:
    query = asked("Observation", ("patient", "p1"), ("code", "1-1"))
    for reach in (Everything(), caller("system/*.cruds"), caller("system/Observation.rs")):
        assert narrowed(query, reach) is query


@pytest.mark.parametrize("code", ["1-1", "9-9"])
def test_the_patient_leads_a_search_that_is_narrowed_to_several_codes(code: str) -> None:
    """Else all observations with these codes would be read, of whichever patient."""
    query = narrowed(asked("Observation", ("patient", "p1")), caller(*TWO_CODES))
    find = plan("t", query, resolved={}, now=NOW)
    assert find.filter["keys"] == "patient=Patient/p1"
    scoped = narrowed(asked("Observation", ("patient", "p1"), ("code", code)), caller(*TWO_CODES))
    assert plan("t", scoped, resolved={}, now=NOW).filter["keys"] == f"patient=Patient/p1&code={code}"


def test_what_a_chain_looks_into_is_narrowed_but_not_what_the_asker_knows() -> None:
    reach = caller(*TWO_CODES, "system/Patient.rs?_id=p1")
    [looked] = narrowed(asked("DiagnosticReport", ("result.status", "final")), reach).clauses
    assert isinstance(looked, Chain)
    assert all(isinstance(inner, All) for target, inner in looked.inner if target == "Observation")
    known = asked("DiagnosticReport", ("patient.identifier", "urn:mrn|7"))
    assert narrowed(known, reach) == known
