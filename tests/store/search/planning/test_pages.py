"""Pages of a query as a find: each match once, in the order that was asked for, forwards and back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.search.criteria import Position, SearchQuery
from store.search.planning.plan import FindPlan, plan
from tests.support.filters import Document, find
from tests.support.reports import NOW, TENANT, document_of, query_of, report


def planned(query: SearchQuery) -> FindPlan:
    return plan(TENANT, query, resolved={}, now=NOW)


@pytest.mark.parametrize(
    ("pairs", "sort"),
    [
        pytest.param([], (("when.lo", -1), ("id", -1)), id="newest first"),
        pytest.param([("_lastUpdated", "gt2020")], (("updated.lo", 1), ("id", 1)), id="a poll: as they came"),
        pytest.param(
            [("_lastUpdated", "gt2020"), ("patient", "p")],
            (("when.lo", -1), ("id", -1)),
            id="a patient's, newest first",
        ),
        pytest.param([("_sort", "date")], (("when.lo", 1), ("id", 1)), id="oldest first"),
        pytest.param(
            [("_sort", "-issued,date")], (("index.issued.lo", -1), ("when.lo", 1), ("id", 1)), id="two keys"
        ),
        pytest.param([("_sort", "-_id")], (("id", -1),), id="by id"),
        pytest.param([("_sort", "_id,-date")], (("id", 1),), id="nothing is left to sort behind the id"),
        pytest.param(
            [("_sort", "date,-date")], (("when.lo", 1), ("id", 1)), id="the first of two equal keys counts"
        ),
        pytest.param([("_sort", "date,,")], (("when.lo", 1), ("id", 1)), id="empty members"),
    ],
)
def test_sort(pairs: list[tuple[str, str]], sort: tuple[tuple[str, int], ...]) -> None:
    assert planned(query_of(*pairs)).sort == sort


_DAYS: Final = [None, "2020", "2020-05", "2020-05-11", "2020-05-12"]
_DATED = st.lists(st.tuples(st.sampled_from(_DAYS), st.sampled_from(_DAYS)), max_size=9)
_SORTS = st.sampled_from(
    ["", "date", "-date", "-issued,date", "_id", "-_id", "date,-_id,issued", "issued,issued"]
)


@given(_DATED, _SORTS, st.integers(1, 4))
def test_pages_lead_through_all_matches_once_forwards_and_back(
    dated: list[tuple[str | None, str | None]], sort: str, count: int
) -> None:
    documents = [
        document_of(report(**{k: v for k, v in (("effectiveDateTime", a), ("issued", b)) if v}), id=f"r{n}")
        for n, (a, b) in enumerate(dated)
    ]
    query = query_of(("_sort", sort), ("_count", str(count)))
    everything = [one["id"] for one in find(documents, planned(replace(query, count=100)))]
    forwards = walk(documents, query, None)
    assert forwards == everything
    assert sorted(everything) == sorted(one["id"] for one in documents)
    if documents:
        last = next(one for one in documents if one["id"] == everything[-1])
        assert walk(documents, query, at(last, query, backwards=True)) == everything[-2::-1]


def walk(documents: list[Document], query: SearchQuery, position: Position | None) -> list[str]:
    """The ids on all pages, one page after the other."""
    found: list[str] = []
    backwards = position is not None and position.backwards
    while True:
        page = find(documents, planned(replace(query, position=position)))
        found += [one["id"] for one in page[: query.count]]
        if len(page) <= query.count:
            return found
        position = at(page[query.count - 1], query, backwards=backwards)


def at(document: Document, query: SearchQuery, *, backwards: bool) -> Position:
    """The position of a document in the order of a query."""
    values: list[Any] = []
    for name, _ in planned(query).sort:
        value: Any = document
        for part in name.split("."):
            value = value[part]
        values.append(value)
    return Position(tuple(values), backwards)
