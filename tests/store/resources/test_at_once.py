"""The port of resources under many writers at once: no version is lost, none is made twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome, Stored
from tests.support.fhir import (
    ORDERS,
    identified,
    report,
)
from tests.support.store import (
    LAB,
    REPORT,
    content,
    found,
    mongo_store,
    put,
    put_one,
    stored,
)

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources

# --- many at once


async def test_fifty_at_once_to_one_id_lose_none(store: MongoResources) -> None:
    results = await asyncio.gather(*(put_one(store, report(conclusion=str(n))) for n in range(50)))
    assert sorted(result.stored.version for result in results) == list(range(1, 51))
    assert Counter(result.outcome for result in results) == {Outcome.CREATED: 1, Outcome.REPLACED: 49}
    seen = [await store.get_version(LAB, REPORT, n) for n in range(1, 51)]
    assert {content(one)["conclusion"] for one in seen} == {str(n) for n in range(50)}
    assert [stored(one).version for one in seen] == list(range(1, 51))
    moments = [stored(one).last_updated for one in seen]
    assert moments == sorted(set(moments))
    for result in results:
        assert seen[result.stored.version - 1] == result.stored


async def test_two_stores_on_one_database_racing_lose_none(database: Database) -> None:
    stores = [mongo_store(database) for _ in range(2)]
    results = await asyncio.gather(
        *(put_one(stores[n % 2], report(conclusion=str(n))) for n in range(40)),
        *(put_one(stores[n % 2], report(f"own-{n}")) for n in range(40)),
    )
    raced = results[:40]
    assert sorted(result.stored.version for result in raced) == list(range(1, 41))
    seen = [content(await stores[0].get_version(LAB, REPORT, n))["conclusion"] for n in range(1, 41)]
    assert sorted(seen, key=int) == [str(n) for n in range(40)]
    assert {result.outcome for result in results[40:]} == {Outcome.CREATED}


async def test_identical_puts_at_once_make_one_version(database: Database) -> None:
    stores = [mongo_store(database, commit_parallel=4) for _ in range(2)]
    results = await asyncio.gather(*(put_one(stores[n % 2], report()) for n in range(50)))
    assert Counter(result.outcome for result in results) == {Outcome.CREATED: 1, Outcome.UNCHANGED: 49}
    assert {result.stored for result in results} == {results[0].stored}
    assert await stores[0].get(LAB, REPORT) == results[0].stored


async def test_of_those_who_create_only_if_absent_one_does(database: Database) -> None:
    stores = [mongo_store(database, commit_parallel=4) for _ in range(2)]
    results = await asyncio.gather(
        *(put_one(stores[n % 2], report(conclusion=str(n)), only_absent=True) for n in range(50))
    )
    assert Counter(result.outcome for result in results) == {Outcome.CREATED: 1, Outcome.EXISTS: 49}


async def test_what_is_said_to_exist_can_be_read_at_once(database: Database) -> None:
    stores = [mongo_store(database, commit_parallel=4) for _ in range(2)]

    async def create(number: int, turn: int) -> None:
        wanted = report(f"r{turn}", identifier=[identified(ORDERS, str(turn))])
        store = stores[number % 2]
        result = await put_one(store, wanted, only_absent=True)
        assert result.outcome in (Outcome.CREATED, Outcome.EXISTS)
        assert isinstance(await store.get(LAB, ResourceKey("DiagnosticReport", f"r{turn}")), Stored)
        assert await found(store, f"identifier={ORDERS}|{turn}") == [f"r{turn}"]

    for turn in range(10):
        await asyncio.gather(*(create(number, turn) for number in range(20)))


async def test_deletions_and_puts_at_once_keep_every_version(store: MongoResources) -> None:
    await put(store, report())
    done = await asyncio.gather(
        *(put_one(store, report(conclusion=str(n))) for n in range(10)),
        *(store.delete(LAB, REPORT) for _ in range(10)),
    )
    assert len(done) == 20
    last = await store.get(LAB, REPORT)
    assert last is not None
    for version in range(1, last.version + 1):
        one = await store.get_version(LAB, REPORT, version)
        assert one is not None
        assert one.version == version


async def test_many_ids_at_once(store: MongoResources) -> None:
    batches = [[report(f"r{n}-{m}", f"p{n}") for m in range(20)] for n in range(20)]
    done = await asyncio.gather(*(put(store, *batch) for batch in batches))
    assert {result.outcome for results in done for result in results} == {Outcome.CREATED}
    for n in range(20):
        assert await found(store, f"patient=p{n}&_sort=_id") == sorted(f"r{n}-{m}" for m in range(20))
