"""Handling of a query as a whole: lenient and strict, limits, and no value in what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import Category, ServiceError
from store.search.criteria import (
    SearchQuery,
    SortKey,
    Tokens,
    Total,
)
from store.search.parameters import TYPES
from store.search.parsing.context import SearchLimits
from store.search.parsing.parse import parse
from store.search.parsing.patient_scope import bounded
from tests.store.search.parsing.clauses import DR, REPORT
from tests.support.reports import attempt, context, query_of, refusal, said

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_all_issues_are_collected() -> None:
    pairs = [("date", "soon"), ("code", "|"), ("status", "final"), ("unknown", "x")]
    error = refusal(lambda: parse(DR, pairs, context(strict=True)))
    assert [issue.expression for issue in error.issues] == [("date",), ("code",), ("unknown",)]


@pytest.mark.parametrize("name", ["unknown", "unknown:not", "patient.unknown", "_sort"])
def test_what_is_unknown_is_left_out_under_lenient_handling(name: str) -> None:
    understood = parse(DR, [(name, "x"), ("code", "a")], context())
    assert understood.query.clauses == (Tokens(REPORT["code"], ("a",)),)
    assert understood.pairs == (("code", "a"),)
    [issue] = understood.ignored
    assert (issue.severity, issue.code, issue.expression) == ("information", "not-supported", (name,))


@pytest.mark.parametrize("name", ["code:in", "date:not", "patient:exact", "subject:Encounter", "_id:in"])
def test_an_unsupported_modifier_is_refused_under_lenient_handling_too(name: str) -> None:
    [issue] = refusal(lambda: parse(DR, [(name, "x")], context())).issues
    assert issue.code == "not-supported"


@pytest.mark.parametrize("name", ["_format", "_pretty"])
def test_what_does_not_concern_matching_is_silent(name: str) -> None:
    understood = parse(DR, [(name, "x")], context(strict=True))
    assert (understood.query, understood.pairs) == (SearchQuery(DR), ())


@pytest.mark.parametrize(
    ("text", "count"), [("0", 0), ("1", 1), ("1000", 1000), ("1001", 1000), ("999999999", 1000), ("007", 7)]
)
def test_count(text: str, count: int) -> None:
    assert query_of(("_count", text)).count == count


def test_count_has_a_default() -> None:
    assert query_of().count == 50


@pytest.mark.parametrize(
    ("text", "total"), [("none", Total.NONE), ("estimate", Total.BOUNDED), ("accurate", Total.ACCURATE)]
)
def test_total(text: str, total: Total) -> None:
    assert query_of(("_total", text)).total is total


def test_of_two_keys_on_one_parameter_the_first_decides() -> None:
    assert query_of(("_sort", "-date," + "date,-date," * 5_000), ("_sort", "date,_id")).sort == (
        query_of(("_sort", "-date,_id")).sort
    )


def test_sort() -> None:
    assert query_of(("_sort", "-date,_id")).sort == (
        SortKey(REPORT["date"], descending=True),
        SortKey(REPORT["_id"], descending=False),
    )


def repeated(count: int) -> Sequence[tuple[str, str]]:
    return [("code", "a")] * count


@pytest.mark.parametrize(
    ("pairs", "limits", "expected"),
    [
        pytest.param(repeated(3), SearchLimits(clauses_max=3), None, id="parameters at the limit"),
        pytest.param(
            repeated(4), SearchLimits(clauses_max=3), "at most 3 parameters", id="parameters past it"
        ),
        pytest.param([("code", "a,b,c")], SearchLimits(values_max=3), None, id="values at the limit"),
        pytest.param(
            [("code", "a,b,c,d")], SearchLimits(values_max=3), "at most 3 values", id="values past it"
        ),
        pytest.param(
            [("code", ",a,,b,c,")], SearchLimits(values_max=3), None, id="empty members do not count"
        ),
        pytest.param([("code", ",".join("a" * 300))], SearchLimits(), None, id="300 values"),
        pytest.param(
            [("code", ",".join("a" * 1_000))], SearchLimits(), "at most 300 values", id="a thousand values"
        ),
    ],
)
def test_limits(pairs: list[tuple[str, str]], limits: SearchLimits, expected: str | None) -> None:
    if expected is None:
        assert parse(DR, pairs, context(limits=limits)).query.clauses
    else:
        [issue] = refusal(lambda: parse(DR, pairs, context(limits=limits))).issues
        assert expected in issue.text
        assert issue.code == "too-costly"


def test_a_chain_follows_three_references() -> None:
    at_limit = "result.encounter.patient.gender"
    assert parse(DR, [(at_limit, "male")], context(strict=True)).query.clauses
    [issue] = refusal(
        lambda: parse(DR, [("result.encounter.patient.organization.identifier", "x")], context())
    ).issues
    assert "at most 3 references" in issue.text
    assert issue.code == "too-costly"


# --- whatever the text: a query or a ServiceError, and no value in what it says

_NAMES = st.sampled_from(
    [
        name + more
        for type in ("DiagnosticReport", "Patient")
        for name in TYPES[type].by_name
        for more in (
            "",
            ":not",
            ":missing",
            ":identifier",
            ":Patient",
            ":in",
            ".identifier",
            ".birthdate",
            ".x",
        )
    ]
    + ["_count", "_sort", "_total", "_has:Observation:patient:code", "order", "", ".", ":", "."]
)


_VALUES = st.text(alphabet="ab2019-:T+Z.|\\,$/ \n", max_size=20) | st.text(max_size=20)


_TYPES = st.sampled_from(["DiagnosticReport", "Observation", "Patient", "Provenance", "Basic"])


@given(_TYPES, st.lists(st.tuples(_NAMES | st.text(max_size=20), _VALUES), max_size=4), st.booleans())
def test_any_text_is_understood_or_refused(type: str, pairs: list[tuple[str, str]], strict: bool) -> None:
    found = attempt(lambda: parse(type, pairs, context(strict=strict)))
    if isinstance(found, ServiceError):
        assert found.category is Category.INCORRECT
        assert found.issues
    else:
        assert set(found.pairs) <= set(pairs)
        assert not (strict and found.ignored)
        named = bounded(found.query)
        assert named is None or named.of_a_patient


SENTINEL = "Zq7Sentinel"


@given(_TYPES, _NAMES, _VALUES, _VALUES, st.booleans())
def test_no_issue_repeats_a_value(type: str, name: str, before: str, after: str, strict: bool) -> None:
    pairs = [(name, before + SENTINEL + after)]
    found = attempt(lambda: parse(type, pairs, context(strict=strict)))
    if isinstance(found, ServiceError):
        assert SENTINEL not in said(found)
        assert SENTINEL not in str(found)
    else:
        assert not any(SENTINEL in issue.text for issue in found.ignored)


@pytest.mark.parametrize(
    "name", [f"{SENTINEL} Doe", f"urn:oid:1|{SENTINEL}", f"patient={SENTINEL}", f"{SENTINEL}é"]
)
def test_a_value_in_the_place_of_a_name_is_not_repeated(name: str) -> None:
    understood = parse(DR, [(name, "x")], context())
    [issue] = understood.ignored
    assert SENTINEL not in issue.text + "".join(issue.expression)
