"""Reindexing: entries of an older release are brought up to date, on a real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingest.reindex import Job, ReindexCounts, reindex
from store.mongo.indexes import HISTORY, RESOURCES
from store.resources.pages import Outdated, Reindexed
from store.resources.resource_keys import ResourceKey
from store.search.index import Indexed
from store.tenancy import Tenant
from tests.support.fhir import LOINC, MRN, coded, identified, patient, refers, report, resource
from tests.support.store import BASE, LAB, OTHER, found, mongo_store, put, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources

SEARCHES = (
    ("DiagnosticReport", "patient=p1&date=ge2026", ["r2", "r1"]),
    ("DiagnosticReport", f"code={LOINC}|58410-2", ["r1", "r3"]),
    ("DiagnosticReport", f"patient.identifier={MRN}|7", ["r2", "r1"]),
    ("DiagnosticReport", "result=Observation/o1", ["r1"]),
    ("Patient", "family=made", ["p1"]),
    ("Observation", "value-quantity=gt1", ["o1"]),
)
CHART = (
    patient("p1", identified(MRN, "7"), name=[{"family": "Made-Up"}]),
    resource(
        "Observation", "o1", status="final", code=coded("1"), valueQuantity={"value": 1.50, "unit": "g"}
    ),
    report("r1", effectiveDateTime="2026-01-01", result=[refers("Observation/o1")]),
    report("r2", effectiveDateTime="2026-01-02", code=coded("1"), subject=refers(f"{BASE}/Patient/p1")),
    report("r3", "p2"),
)


class Told:
    """Listener of the job's progress."""

    def __init__(self, store: MongoResources, **changed: Any) -> None:
        self.failures: list[tuple[str, str]] = []
        self.tallies: list[ReindexCounts] = []
        self.job = Job(
            **{
                "store": store,
                "base": BASE,
                "batch": 2,
                "dry_run": False,
                "failed": lambda _, key, why: self.failures.append((str(key), why)),
                "progress": lambda _, tally: self.tallies.append(tally),
                **changed,
            }
        )


@pytest.fixture
async def store(database: Database) -> MongoResources:
    filled = mongo_store(database)
    await put(filled, *CHART)
    return filled


async def make_old(database: Database, **also: Any) -> None:
    wanted = {"type": {"$exists": True}, **also}
    nothing = {"index_version": 0, "index": {}, "keys": [], "when": {"lo": 0, "hi": 0}}
    await database[RESOURCES].update_many(wanted, {"$set": nothing})


async def documents(database: Database, collection: str = RESOURCES) -> list[dict[str, Any]]:
    return [dict(one) for one in await database[collection].find(sort=[("_id", 1)]).to_list(None)]


async def answers(store: MongoResources) -> list[list[str]]:
    return [sorted(await found(store, text, type=type)) for type, text, _ in SEARCHES]


ALL = [sorted(ids) for _, _, ids in SEARCHES]


async def test_not_found_before_and_found_after_as_if_pushed_today(
    store: MongoResources, database: Database
) -> None:
    pushed = await documents(database)
    assert await answers(store) == ALL
    await make_old(database)
    assert await answers(store) == [[] for _ in SEARCHES]
    told = Told(store)
    assert await reindex(told.job, LAB) == ReindexCounts(5, 5, 5, 0)
    assert await answers(store) == ALL
    assert await documents(database) == pushed
    assert told.failures == []
    assert [tally.examined for tally in told.tallies] == [2, 4, 5]
    assert await reindex(told.job, LAB) == ReindexCounts(5, 0, 0, 0)


async def test_a_dry_run_counts_and_writes_nothing(store: MongoResources, database: Database) -> None:
    await make_old(database)
    old = await documents(database)
    assert await reindex(Told(store, dry_run=True).job, LAB) == ReindexCounts(5, 5, 5, 0)
    assert await documents(database) == old


async def test_history_tombstones_and_other_tenants_are_left_alone(
    store: MongoResources, database: Database
) -> None:
    await put(store, report("r3", "p2", status="amended"))
    await put(store, report("gone"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "gone"))
    await put(store, report("theirs"), tenant=OTHER)
    await make_old(database)
    await database[HISTORY].update_many({}, {"$set": {"index_version": 0}})
    kept = await documents(database, HISTORY)
    others = {"$or": [{"deleted": True}, {"tenant": str(OTHER)}]}
    aside = await database[RESOURCES].find(others).to_list(None)
    assert len(aside) == 2
    assert await reindex(Told(store).job, LAB) == ReindexCounts(6, 5, 5, 0)
    assert await documents(database, HISTORY) == kept
    assert await database[RESOURCES].find(others).to_list(None) == aside


async def test_what_can_no_longer_be_indexed_is_named_and_kept(
    store: MongoResources, database: Database
) -> None:
    await make_old(database)
    name = "lab/Production/DiagnosticReport/r1"
    broken = b'{"resourceType":"DiagnosticReport","id":"r1","effectiveDateTime":"MADE-UP"}'
    await database[RESOURCES].update_one({"_id": name}, {"$set": {"raw": broken}})
    await database[RESOURCES].update_one({"id": "o1"}, {"$set": {"raw": b"{"}})
    before = await database[RESOURCES].find_one({"_id": name})
    told = Told(store)
    assert await reindex(told.job, LAB) == ReindexCounts(5, 5, 3, 2)
    assert [key for key, _ in told.failures] == ["DiagnosticReport/r1", "Observation/o1"]
    assert "DiagnosticReport.effectiveDateTime" in told.failures[0][1]
    assert "MADE-UP" not in str(told.failures)
    assert await database[RESOURCES].find_one({"_id": name}) == before
    assert stored(await store.get(LAB, ResourceKey("DiagnosticReport", "r1"))).raw == broken


async def test_a_push_meanwhile_wins(
    store: MongoResources, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_old(database)
    replace = store.reindex

    async def interrupted(tenant: Tenant, indexed: Sequence[tuple[Outdated, Indexed]]) -> Reindexed:
        await put(store, report("r1", "p9", effectiveDateTime="2026-01-01"))
        return await replace(tenant, indexed)

    monkeypatch.setattr(store, "reindex", interrupted)
    tally = await reindex(Told(store, batch=100).job, LAB)
    assert (tally, tally.moved) == (ReindexCounts(5, 5, 4, 0), 1)
    assert await found(store, "patient=p9") == ["r1"]
    assert await found(store, "patient=p1") == ["r2"]
    assert stored(await store.get(LAB, ResourceKey("DiagnosticReport", "r1"))).version == 2


async def test_stopped_in_the_middle_it_goes_on_where_it_was(
    store: MongoResources, database: Database
) -> None:
    await make_old(database)

    class StoppedError(Exception):
        pass

    def stop(_: Tenant, tally: ReindexCounts) -> None:
        if tally.examined >= 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        await reindex(Told(store, progress=stop).job, LAB)
    assert await reindex(Told(store).job, LAB) == ReindexCounts(5, 1, 1, 0)
    assert await answers(store) == ALL


async def test_without_the_base_our_own_absolute_references_are_not_guessed(
    store: MongoResources, database: Database
) -> None:
    await make_old(database)
    told = Told(store, base=None)
    assert await reindex(told.job, LAB) == ReindexCounts(5, 5, 4, 1)
    assert [key for key, _ in told.failures] == ["DiagnosticReport/r2"]
    assert "base URL" in told.failures[0][1]
    assert await found(store, "patient=p1") == ["r1"]
    assert await reindex(Told(store).job, LAB) == ReindexCounts(5, 1, 1, 0)
    assert await found(store, "patient=p1") == ["r2", "r1"]
