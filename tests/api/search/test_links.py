"""The links of a searchset."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.search.links import links
from api.search.page_token import PageState, unseal
from store.resources.pages import Page
from store.search.criteria import Position
from store.search.parsing.query_text import pairs_of
from tests.support.reports import BASE

SECRET = b"k" * 32
TENANT = "lab/Production"
AFTER, BEFORE = Position((1, "a")), Position((2, "b"), backwards=True)
START = PageState("DiagnosticReport", (("patient.identifier", "urn:m|Zq7"),), 1, 1_000, total=7)
ROOT = f"{BASE}/DiagnosticReport"


def links_of(state: PageState, page: Page) -> dict[str, str]:
    found = list(links(state, page, base=BASE, tenant=TENANT, secret=SECRET))
    assert len({one.relation for one in found}) == len(found)
    return {one.relation: one.url for one in found}


def state_of(url: str) -> PageState:
    root, _, token = url.partition("?_page=")
    assert root == ROOT
    return unseal(token, tenant=TENANT, secret=SECRET, now_seconds=1)


@pytest.mark.parametrize(
    ("position", "next_", "previous", "relations"),
    [
        pytest.param(None, None, None, ["self"], id="the only page"),
        pytest.param(None, AFTER, None, ["self", "first", "next"], id="the first page"),
        pytest.param(AFTER, AFTER, BEFORE, ["self", "first", "previous", "next"], id="a page between"),
        pytest.param(AFTER, None, BEFORE, ["self", "first", "previous"], id="the last page"),
        pytest.param(AFTER, None, None, ["self", "first"], id="everything else has gone meanwhile"),
    ],
)
def test_relations(
    position: Position | None, next_: Position | None, previous: Position | None, relations: list[str]
) -> None:
    state = PageState(START.type, START.pairs, START.now, START.until, position, START.total)
    found = links_of(state, Page((), 7, next_, previous))
    assert list(found) == relations
    for relation, wanted in (("first", None), ("next", next_), ("previous", previous)):
        if relation in found:
            assert state_of(found[relation]) == PageState(
                START.type, START.pairs, START.now, START.until, wanted, START.total
            )
            assert "Zq7" not in found[relation]
    if position is not None:
        assert state_of(found["self"]) == state


@pytest.mark.parametrize(
    ("pairs", "url"),
    [
        pytest.param((), ROOT, id="nothing asked"),
        pytest.param(
            (("code", "a|b,c"), ("code", "d")), f"{ROOT}?code=a|b,c&code=d", id="as it is written by hand"
        ),
        pytest.param(
            (("date", "ge2020-01-01T00:00:00+02:00"),),
            f"{ROOT}?date=ge2020-01-01T00:00:00%2B02:00",
            id="plus",
        ),
        pytest.param((("code", "a&b=c#d"),), f"{ROOT}?code=a%26b%3Dc%23d", id="what separates is escaped"),
        pytest.param((("code", r"a\,b"),), f"{ROOT}?code=a%5C,b", id="backslash"),
    ],
)
def test_self_is_the_search_as_a_get(pairs: tuple[tuple[str, str], ...], url: str) -> None:
    state = PageState("DiagnosticReport", pairs, 1, 1_000)
    assert links_of(state, Page((), 0)) == {"self": url}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(_TEXT, _TEXT), max_size=3).map(tuple))
def test_following_self_asks_the_same(pairs: tuple[tuple[str, str], ...]) -> None:
    found = links_of(PageState("DiagnosticReport", pairs, 1, 1_000), Page((), 0))["self"]
    assert found.isascii()
    assert pairs_of(urlsplit(found).query) == list(pairs)
