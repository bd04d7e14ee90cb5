"""The scan: what changed while MongoDB's log rolled over is found by index, and nothing is left out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from store.mongo.changes import following as module
from store.mongo.changes.log import Log, LogBatch, LogLost
from store.mongo.changes.place import Place
from store.mongo.indexes import CHANGE_STATE, CHANGES, RESOURCES, ensure_indexes
from store.resources.resource_keys import ResourceKey
from tests.store.mongo.changes.changing import erased, report
from tests.support.changes import changes_of, follower_of, following, heard, told
from tests.support.service import Clock
from tests.support.store import LAB, NOW, mongo_store, put

if TYPE_CHECKING:
    import pytest

    from store.mongo.driver.client import Database


async def test_a_log_that_rolled_over_is_made_up_for_by_a_scan(
    begun: Database, caplog: pytest.LogCaptureFixture
) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, report("r1"), report("r2"))
    async with following(follower_of(begun)):
        await heard(changes, 2)
    await put(store, report("r1", "corrected"))
    await put(store, report("r3"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r2"))
    await erased(begun, "r3")
    nowhere = {"_data": "82" + "00" * 12}
    await begun[CHANGE_STATE].update_one({"_id": "log"}, {"$set": {"token": nowhere}})
    async with following(follower_of(begun)):
        await heard(changes, 5)
        await put(store, report("r4"))
        found = await heard(changes, 6)
    assert [one.number for one in found] == [1, 2, 3, 4, 5, 6]
    assert set(told(found)[2:5]) == {
        ("corrected", "DiagnosticReport/r1", 2),
        ("erased", "DiagnosticReport/r3", 1),
        ("deleted", "DiagnosticReport/r2", 2),
    }
    assert [one.scanned for one in found] == [False, False, True, True, True, False]
    assert "no longer reaches back" in caplog.text


async def test_a_log_that_rolls_over_before_it_was_read_to_its_end_loses_nothing(
    begun: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    today, tomorrow = datetime.now(UTC), datetime.now(UTC) + timedelta(days=1)
    store, changes = mongo_store(begun, clock=lambda: today), changes_of(begun)
    for number in range(3):
        await put(store, report(f"r{number}"))
    read, reads = Log.read, list[LogBatch]()

    def rolled_over(log: Log, place: Any, *, limit: int) -> LogBatch:
        if reads:
            monkeypatch.setattr(Log, "read", read)
            raise LogLost
        reads.append(read(log, place, limit=limit))
        return reads[0]

    monkeypatch.setattr(Log, "read", rolled_over)
    follower = follower_of(begun, lambda: tomorrow)  # It was away for a day.
    keep, places = follower._keep, list[Place]()

    async def kept(*arguments: Any, **more: Any) -> None:
        places.append(arguments[2])
        await keep(*arguments, **more)

    monkeypatch.setattr(follower, "_keep", kept)
    async with following(follower):
        found = await heard(changes, 4)
    assert places[0].at < tomorrow, "what is behind the first of them is not told yet"
    assert {one.key.id for one in found} == {"r0", "r1", "r2"}


async def test_a_long_scan_keeps_its_lease(begun: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store, changes, clock = mongo_store(begun), changes_of(begun), Clock(NOW)
    monkeypatch.setattr("store.mongo.changes.following.KEEP_SECONDS", 0)
    await begun[CHANGE_STATE].update_one({"_id": "log"}, {"$set": {"since": NOW}})
    follower = follower_of(begun, clock)
    confirm, confirmed = follower._leases.confirm, []

    async def counted(*arguments: Any) -> None:
        confirmed.append(arguments)
        await confirm(*arguments)

    monkeypatch.setattr(follower._leases, "confirm", counted)
    async with following(follower):
        await put(store, report("r1"))
        await heard(changes, 1)
    assert len(confirmed) > 20  # Renewed for each type that had nothing.


async def test_a_backup_restored_in_the_place_of_all_tells_nobody_of_it(begun: Database) -> None:
    """As `mongorestore --drop` does it: the log has what came behind the backup, and then the backup."""
    hour_ago, changes = mongo_store(begun, clock=lambda: NOW - timedelta(hours=1)), changes_of(begun)
    await put(hour_ago, report("r1"), report("r2"))
    async with following(follower_of(begun)):
        await heard(changes, 2)
    kept = {name: await begun[name].find({}).to_list(None) for name in (RESOURCES, CHANGES, CHANGE_STATE)}
    await put(mongo_store(begun), report("lost"))
    async with following(follower_of(begun)):
        await heard(changes, 3)
    for name, documents in kept.items():
        await begun[name].drop()
        await begun[name].insert_many(documents)
    await ensure_indexes(begun)
    async with following(follower_of(begun)):
        await put(mongo_store(begun), report("next"))
        found = await heard(changes, 3)
    told_of = [one.key.id for one in found]
    assert (sorted(told_of[:2]), set(told_of[2:])) == (["r1", "r2"], {"next"})
