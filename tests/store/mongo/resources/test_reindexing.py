"""Search sides replaced under the condition that nothing changed meanwhile, on a real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.resources import reindexing
from store.resources.pages import Outdated, OutdatedBatch, Reindexed
from store.resources.resource_keys import ResourceKey
from store.search.index import INDEX_VERSION, Indexed
from tests.support.fhir import report
from tests.support.store import LAB, OTHER, mongo_store, prepared, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources

INDEXED = Indexed({"status": ["final"]}, ("status=final",))
R1 = "lab/Production/DiagnosticReport/r1"


@pytest.fixture
def store(database: Database) -> MongoResources:
    return mongo_store(database)


async def make_old(database: Database, *ids: str, index_version: int | None = 0) -> None:
    """As an older release left them: without what is found by today."""
    wanted = {"id": {"$in": list(ids)}} if ids else {}
    await database[RESOURCES].update_many(
        wanted, {"$set": {"index_version": index_version, "index": {}, "keys": []}}
    )


def ids(batch: OutdatedBatch) -> list[str]:
    return [one.key.id for one in batch.outdated]


async def every(store: MongoResources, *, limit: int) -> list[OutdatedBatch]:
    batches = [await store.outdated(LAB, after=None, limit=limit)]
    while batches[-1].next is not None:
        batches.append(await store.outdated(LAB, after=batches[-1].next, limit=limit))
    return batches


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 100])
async def test_batches_give_out_each_outdated_resource_once(
    store: MongoResources, database: Database, limit: int
) -> None:
    await put(store, *(report(f"r{n}") for n in range(5)))
    await make_old(database, "r0", "r2", "r4")
    batches = await every(store, limit=limit)
    assert [one for batch in batches for one in ids(batch)] == ["r0", "r2", "r4"]
    assert sum(batch.examined for batch in batches) == 5
    assert max(batch.examined for batch in batches) <= limit


async def test_of_this_tenant_alone(store: MongoResources, database: Database) -> None:
    await put(store, report("ours"))
    await put(store, report("theirs"), tenant=OTHER)
    await make_old(database)
    assert [ids(batch) for batch in await every(store, limit=10)] == [["ours"]]


@pytest.mark.parametrize(
    ("index_version", "outdated"),
    [(INDEX_VERSION - 1, True), (None, True), (INDEX_VERSION, False), (INDEX_VERSION + 1, False)],
)
async def test_older_ones_alone_are_outdated(
    store: MongoResources, database: Database, index_version: int | None, outdated: bool
) -> None:
    await put(store, report("r1"))
    await make_old(database, "r1", index_version=index_version)
    assert ids(await store.outdated(LAB, after=None, limit=10)) == ["r1"] * outdated


async def test_a_document_that_names_no_index_version_is_brought_up(
    store: MongoResources, database: Database
) -> None:
    await put(store, report("r1"))
    await database[RESOURCES].update_one({"_id": R1}, {"$unset": {"index_version": 1}})
    batch = await store.outdated(LAB, after=None, limit=10)
    assert await store.reindex(LAB, [(batch.outdated[0], INDEXED)]) == Reindexed(1)
    assert (await one(database))["index_version"] == INDEX_VERSION


async def test_a_batch_is_bounded_by_its_bytes(
    store: MongoResources, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, *(report(f"r{n}", conclusion="x" * 1_000) for n in range(5)))
    await make_old(database, "r0", "r1", "r3", "r4")
    size = len((await one(database, "lab/Production/DiagnosticReport/r0"))["raw"])
    monkeypatch.setattr(reindexing, "BYTES_MAX", 2 * size)
    assert [ids(batch) for batch in await every(store, limit=10)] == [["r0", "r1"], ["r3", "r4"]]
    monkeypatch.setattr(reindexing, "BYTES_MAX", 1)
    assert [ids(batch) for batch in await every(store, limit=10)] == [["r0"], ["r1"], ["r3"], ["r4"]]


async def test_the_search_side_is_replaced_and_nothing_else(
    store: MongoResources, database: Database
) -> None:
    await put(store, report("r1"), report("r2"))
    await put(store, report("r1", status="amended"))
    untouched = await one(database), await history(database)
    await make_old(database, "r1")
    batch = await store.outdated(LAB, after=None, limit=10)
    [old] = batch.outdated
    raw = untouched[0]["raw"]
    assert old == Outdated(ResourceKey("DiagnosticReport", "r1"), 2, raw, untouched[0]["digest"], 0)
    indexed = prepared(report("r1", status="amended")).indexed
    assert await store.reindex(LAB, [(old, indexed)]) == Reindexed(1)
    assert (await one(database), await history(database)) == untouched


async def test_a_write_meanwhile_wins(store: MongoResources, database: Database) -> None:
    await put(store, report("r1"), report("r2"))
    await make_old(database)
    batch = await store.outdated(LAB, after=None, limit=10)
    await put(store, report("r1", status="amended"))
    newer = await one(database)
    assert await store.reindex(LAB, [(old, INDEXED) for old in batch.outdated]) == Reindexed(1)
    assert await one(database) == newer
    assert newer["index_version"] == INDEX_VERSION


async def test_a_deletion_meanwhile_wins(store: MongoResources, database: Database) -> None:
    await put(store, report("r1"))
    await make_old(database)
    batch = await store.outdated(LAB, after=None, limit=10)
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
    tombstone = await one(database)
    assert await store.reindex(LAB, [(batch.outdated[0], INDEXED)]) == Reindexed(0)
    assert await one(database) == tombstone
    assert tombstone["deleted"]


async def test_what_came_back_under_the_same_version_is_not_taken_for_it(
    store: MongoResources, database: Database
) -> None:
    await put(store, report("r1"))
    await make_old(database)
    batch = await store.outdated(LAB, after=None, limit=10)
    await database[RESOURCES].delete_one({"_id": R1})  # As a sweep does when it has expired.
    await put(store, report("r1", status="amended"))
    await make_old(database)
    assert await store.reindex(LAB, [(batch.outdated[0], INDEXED)]) == Reindexed(0)
    assert (await one(database))["keys"] == []


async def test_of_two_jobs_at_once_one_does_it(store: MongoResources, database: Database) -> None:
    await put(store, report("r1"))
    await make_old(database)
    first = await store.outdated(LAB, after=None, limit=10)
    second = await store.outdated(LAB, after=None, limit=10)
    assert await store.reindex(LAB, [(first.outdated[0], INDEXED)]) == Reindexed(1)
    assert await store.reindex(LAB, [(second.outdated[0], INDEXED)]) == Reindexed(0)


async def test_tombstones_are_passed_over(store: MongoResources, database: Database) -> None:
    await put(store, report("r1"), report("r2"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r1"))
    await make_old(database, "r2")
    batch = await store.outdated(LAB, after=None, limit=10)
    assert (batch.examined, ids(batch), batch.next) == (2, ["r2"], None)


async def test_what_would_not_fit_is_named_and_left(
    store: MongoResources, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(store, report("r1"), report("r2"))
    await make_old(database)
    before = await one(database)
    batch = await store.outdated(LAB, after=None, limit=10)
    huge = Indexed({"status": ["x" * 5_000]}, ())
    monkeypatch.setattr(reindexing, "DOCUMENT_BYTES_MAX", 4_000)
    done = await store.reindex(LAB, [(batch.outdated[0], huge), (batch.outdated[1], INDEXED)])
    assert done == Reindexed(1, (ResourceKey("DiagnosticReport", "r1"),))
    assert await one(database) == before


async def test_nothing_to_do(store: MongoResources) -> None:
    assert await store.outdated(LAB, after=None, limit=10) == OutdatedBatch(0, (), None)
    assert await store.reindex(LAB, []) == Reindexed(0)


async def test_a_walk_reads_no_more_than_its_batch(store: MongoResources, database: Database) -> None:
    await put(store, *(report(f"r{n}") for n in range(20)))
    await database.command("profile", 2)
    await store.outdated(LAB, after=None, limit=5)
    await database.command("profile", 0)
    found = await database["system.profile"].find({"command.aggregate": RESOURCES}).to_list(None)
    assert [(one["docsExamined"], one["planSummary"]) for one in found] == [(5, "IXSCAN { _id: 1 }")]


async def one(database: Database, id: str = R1) -> dict[str, Any]:
    found = await database[RESOURCES].find_one({"_id": id})
    assert found is not None
    return dict(found)


async def history(database: Database) -> list[dict[str, Any]]:
    return [dict(one) for one in await database[HISTORY].find(sort=[("_id", 1)]).to_list(None)]
