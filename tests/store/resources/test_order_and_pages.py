"""The port of resources: the order of what a search finds, and its pages."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.resources.resource_keys import ResourceKey
from store.search.criteria import Position
from tests.store.resources.dated import put_dated
from tests.support.fhir import (
    report,
)
from tests.support.store import (
    LAB,
    NOW,
    OTHER,
    asked,
    every_page,
    found,
    ids,
    mongo_store,
    put,
    stored,
)

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources


@pytest.fixture(scope="module")
async def paged(shared_database: Database) -> MongoResources:
    """To be read only, under the other tenant."""
    store = mongo_store(shared_database)
    await put_dated(store, OTHER)
    return store


SORTS = [
    "",
    "date",
    "-date",
    "issued",
    "-issued",
    "_id",
    "-_id",
    "_lastUpdated",
    "-_lastUpdated",
    "date,-issued",
    "-date,issued",
    "-date,_id",
    "issued,-date,-_lastUpdated",
]


def sorted_by(text: str, sort: str) -> str:
    return f"{text}&_sort={sort}" if sort else text


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("text", ["patient=p1", "", "patient=p1,p2", "_id=r1,r2,r5,u1"])
async def test_pages_of_any_size_are_the_whole_in_order(paged: MongoResources, text: str, sort: str) -> None:
    query = sorted_by(text, sort)
    whole = await found(paged, query, tenant=OTHER)
    assert len(whole) == len(set(whole)) == {"": 13, "patient=p1,p2": 13, "patient=p1": 12}.get(text, 4)
    for size in (1, 2, 5, len(whole) - 1, len(whole), len(whole) + 1):
        pages = await every_page(paged, query, size=size, tenant=OTHER)
        assert [id for page in pages for id in ids(page.entries)] == whole
        assert all(len(page.entries) == size for page in pages[:-1])
        assert pages[0].previous is None
        back = [pages[-1]]
        while back[-1].previous is not None:
            back.append(await paged.search(OTHER, asked(query, count=size, position=back[-1].previous)))
        assert [ids(page.entries) for page in reversed(back)] == [ids(page.entries) for page in pages]


@pytest.mark.parametrize("sort", ["date", "issued", "_id"])
async def test_down_is_up_turned_round(dated: MongoResources, sort: str) -> None:
    up, down = [await found(dated, f"patient=p1&_sort={sign}{sort}") for sign in ("", "-")]
    assert down == up[::-1]


async def test_the_newest_come_first(dated: MongoResources) -> None:
    assert await found(dated, "patient=p1") == [
        *("r8", "r7", "r6", "r5", "r4", "r3", "r2", "r1", "r0"),
        *("u2", "u1", "u0"),
    ]


async def test_a_poll_comes_in_the_order_of_arrival(database: Database) -> None:
    moments = iter([NOW + timedelta(seconds=n) for n in range(4)])
    store = mongo_store(database, clock=lambda: next(moments, NOW))
    for id, date in (("c", "2020"), ("a", "2022"), ("b", "2021")):
        await put(store, report(id, effectiveDateTime=date))
    assert await found(store, "_lastUpdated=ge2026") == ["c", "a", "b"]
    assert await found(store, "_lastUpdated=gt2026-11-22T12:00:00.000Z") == ["a", "b"]
    assert await found(store, "_lastUpdated=ge2026&patient=p1") == ["a", "b", "c"]


async def test_pages_while_others_arrive_and_go(dated: MongoResources) -> None:
    whole = await found(dated, "patient=p1")
    seen: list[str] = []
    position: Position | None = None
    number = 0
    while number == 0 or position is not None:
        page = await dated.search(LAB, asked("patient=p1", count=2, position=position))
        seen += ids(page.entries)
        await put(dated, report(f"new{number}", effectiveDateTime="2030"))
        await dated.delete(LAB, ResourceKey("DiagnosticReport", seen[0]))
        position, number = page.next, number + 1
    assert seen == whole


async def test_a_page_beside_an_entry_that_is_gone(dated: MongoResources) -> None:
    first = await dated.search(LAB, asked("patient=p1", count=2))
    await dated.delete(LAB, first.entries[-1].key)
    second = await dated.search(LAB, asked("patient=p1", count=2, position=first.next))
    assert ids(second.entries) == ["r6", "r5"]


async def test_entries_are_the_stored_bytes(dated: MongoResources) -> None:
    page = await dated.search(LAB, asked("patient=p1"))
    for entry in page.entries:
        assert entry.raw == stored(await dated.get(LAB, entry.key)).raw
