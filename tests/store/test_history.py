"""The history of a resource and of a type, tried on the real store."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from store.fhir.instants import Interval, from_datetime, parse
from store.mongo.indexes import HISTORY, RESOURCES
from store.resources.pages import HistoryQuery
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Stored
from tests.support.fhir import patient, report
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, REPORT, content, mongo_store, put, put_one

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.resources.pages import HistoryPage

MINUTE = timedelta(minutes=1)
TYPE = "DiagnosticReport"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(database: Database, clock: Clock) -> MongoResources:
    return mongo_store(database, clock=clock)


def shown(page: HistoryPage) -> list[str]:
    """`id.version`, with `-` behind a deletion and `+` behind a creation."""
    return [
        f"{entry.version.key.id}.{entry.version.version}"
        + ("-" if isinstance(entry.version, Gone) else "+" if entry.created_by else "")
        for entry in page.entries
    ]


async def all_pages(store: MongoResources, query: HistoryQuery) -> list[str]:
    """Content of the pages of a query, one after the other."""
    found: list[str] = []
    while True:
        page = await store.history(LAB, query)
        assert len(page.entries) <= query.count
        found += shown(page)
        if page.next is None:
            return found
        query = HistoryQuery(query.type, query.id, query.count, query.since, query.at, page.next, total=False)


async def some(store: MongoResources, clock: Clock) -> None:
    """Minute by minute: a and b are made, a changes, b goes, c is made, b comes back, a goes."""
    steps = [
        put(store, report("a"), patient("p1")),
        put(store, report("b")),
        put(store, report("a", status="amended")),
        store.delete(LAB, ResourceKey(TYPE, "b")),
        put(store, report("c"), patient("p2")),
        put(store, report("b", status="amended")),
        store.delete(LAB, ResourceKey(TYPE, "a")),
    ]
    await put(store, report("a"), tenant=OTHER)
    for step in steps:
        await step
        clock.now += MINUTE


NEWEST_FIRST = ["a.3-", "b.3+", "c.1+", "b.2-", "a.2", "b.1+", "a.1+"]


async def test_a_resource_s_versions_newest_first(store: MongoResources, clock: Clock) -> None:
    await some(store, clock)
    page = await store.history(LAB, HistoryQuery(TYPE, "b"))
    assert (shown(page), page.total, page.next) == (["b.3+", "b.2-", "b.1+"], 3, None)
    newest, gone, oldest = (entry.version for entry in page.entries)
    assert newest == await store.get(LAB, ResourceKey(TYPE, "b"))
    assert gone == Gone(ResourceKey(TYPE, "b"), 2, NOW + 3 * MINUTE)
    assert content(newest)["status"] == "amended"
    assert oldest == await store.get_version(LAB, ResourceKey(TYPE, "b"), 1)


async def test_a_type_s_versions_newest_first(store: MongoResources, clock: Clock) -> None:
    await some(store, clock)
    page = await store.history(LAB, HistoryQuery(TYPE))
    assert (shown(page), page.total) == (NEWEST_FIRST, 7)
    assert shown(await store.history(LAB, HistoryQuery("Patient"))) == ["p2.1+", "p1.1+"]
    assert shown(await store.history(OTHER, HistoryQuery(TYPE))) == ["a.1+"]
    assert shown(await store.history(LAB, HistoryQuery("Observation"))) == []


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
async def test_pages_yield_each_version_once(store: MongoResources, clock: Clock, size: int) -> None:
    await some(store, clock)
    assert await all_pages(store, HistoryQuery(TYPE, count=size)) == NEWEST_FIRST
    assert (await store.history(LAB, HistoryQuery(TYPE, count=size))).total == 7
    at = Interval(from_datetime(NOW).start, from_datetime(NOW + 99 * MINUTE).end)
    assert await all_pages(store, HistoryQuery(TYPE, count=size, at=at)) == NEWEST_FIRST
    of_one = [one for one in NEWEST_FIRST if one.startswith("b")]
    assert await all_pages(store, HistoryQuery(TYPE, "b", count=size)) == of_one


async def test_pages_of_versions_of_one_moment(store: MongoResources) -> None:
    names = [f"r{n:02}" for n in range(25)]
    await put(store, *(report(name) for name in names))
    found = await all_pages(store, HistoryQuery(TYPE, count=4))
    assert found == [f"{name}.1+" for name in reversed(names)]


async def test_a_count_of_nothing_is_a_total(store: MongoResources, clock: Clock) -> None:
    await some(store, clock)
    page = await store.history(LAB, HistoryQuery(TYPE, count=0))
    assert (page.entries, page.total, page.next) == ((), 7, None)


async def test_a_total_has_a_bound(database: Database) -> None:
    store = mongo_store(database, count_max=3)
    await put(store, *(report(f"r{n}") for n in range(4)))
    assert (await store.history(LAB, HistoryQuery(TYPE, count=2))).total is None
    assert (await store.history(LAB, HistoryQuery(TYPE, count=4))).total == 4
    since = from_datetime(NOW + MINUTE).start
    assert (await store.history(LAB, HistoryQuery(TYPE, count=0, since=since))).total == 0


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(0, NEWEST_FIRST), (3, NEWEST_FIRST[:4]), (6, ["a.3-"]), (7, [])],
)
async def test_since(store: MongoResources, clock: Clock, minutes: int, expected: list[str]) -> None:
    await some(store, clock)
    since = from_datetime(NOW + minutes * MINUTE).start
    page = await store.history(LAB, HistoryQuery(TYPE, since=since))
    assert (shown(page), page.total) == (expected, len(expected))
    counted = await store.history(LAB, HistoryQuery(TYPE, since=since, count=0))
    assert counted.total == len(expected)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-22T11:59:00Z", []),
        ("2026-11-22T12:00:00Z", ["a.1+"]),
        ("2026-11-22T12:01:30Z", ["b.1+", "a.1+"]),
        ("2026-11-22T12:02:30Z", ["a.2", "b.1+"]),
        # Gone at the first moment of this minute: what was there before has ended.
        ("2026-11-22T12:03Z", ["b.2-", "a.2"]),
        # Deleted before: it was not current any more, and the deletion is not shown again.
        ("2026-11-22T12:04:30Z", ["c.1+", "a.2"]),
        ("2026-11-22T13:00:00Z", ["b.3+", "c.1+"]),
        ("2026-11-22", NEWEST_FIRST),
        ("2026", NEWEST_FIRST),
        ("2025", []),
        ("2027", ["b.3+", "c.1+"]),
    ],
)
async def test_at(store: MongoResources, clock: Clock, at: str, expected: list[str]) -> None:
    await some(store, clock)
    page = await store.history(LAB, HistoryQuery(TYPE, at=parse(at)))
    assert (shown(page), page.total) == (expected, len(expected))
    assert (await store.history(LAB, HistoryQuery(TYPE, at=parse(at), count=0))).total == len(expected)
    of_one = await store.history(LAB, HistoryQuery(TYPE, "a", at=parse(at)))
    assert shown(of_one) == [one for one in expected if one.startswith("a")]


async def test_what_a_crash_left_in_both_is_one_version(
    store: MongoResources, clock: Clock, database: Database
) -> None:
    await some(store, clock)
    current = await database[RESOURCES].find_one({"id": "c", "tenant": str(LAB)})
    assert current is not None
    await database[HISTORY].insert_one({**current, "_id": f"{current['_id']}/1"})
    page = await store.history(LAB, HistoryQuery(TYPE))
    assert (shown(page), page.total) == (NEWEST_FIRST, 7)
    assert (await store.history(LAB, HistoryQuery(TYPE, count=0))).total == 7
    assert await all_pages(store, HistoryQuery(TYPE, count=2)) == NEWEST_FIRST
    at = parse("2027")
    assert shown(await store.history(LAB, HistoryQuery(TYPE, at=at))) == ["b.3+", "c.1+"]
    assert (await store.history(LAB, HistoryQuery(TYPE, at=at, count=1))).total == 2


async def test_what_has_expired_is_not_shown(store: MongoResources, clock: Clock, database: Database) -> None:
    await some(store, clock)
    for name in (RESOURCES, HISTORY):
        await database[name].update_many({"id": "a"}, {"$set": {"expires_at": clock()}})
    page = await store.history(LAB, HistoryQuery(TYPE))
    assert (shown(page), page.total) == (["b.3+", "c.1+", "b.2-", "b.1+"], 4)
    assert (await store.history(LAB, HistoryQuery(TYPE, "a"))).entries == ()


async def test_no_version_is_missing_or_twice_while_others_write(store: MongoResources) -> None:
    await put_one(store, report())
    acknowledged = 1

    async def write() -> None:
        nonlocal acknowledged
        for n in range(40):
            acknowledged = (await put_one(store, report(conclusion=str(n)))).stored.version

    async def watch() -> None:
        while not writing.done():
            before = acknowledged
            for query in (HistoryQuery(TYPE, REPORT.id, count=100), HistoryQuery(TYPE, count=100)):
                page = await store.history(LAB, query)
                versions = [entry.version.version for entry in page.entries]
                assert versions == list(range(versions[0], 0, -1))
                assert versions[0] >= before
                assert all(isinstance(entry.version, Stored) for entry in page.entries)

    async with asyncio.TaskGroup() as both:
        writing = both.create_task(write())
        both.create_task(watch())
    assert acknowledged == 41
