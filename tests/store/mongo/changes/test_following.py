"""The follower: every change once, in order, numbers without a gap, whoever follows and whatever breaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import CollectorRegistry

from store.changes.changes import START, Position, PositionLost
from store.changes.metrics import ChangeMetrics
from store.errors import Category, ServiceError
from store.mongo.changes import following as module
from store.mongo.changes.place import Place
from store.mongo.changes.scanning import entry_of
from store.mongo.indexes import CHANGE_STATE, CHANGES
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Deletion
from tests.store.mongo.changes.changing import erased, report
from tests.support.changes import changes_of, follower_of, following, heard, told
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, REPORT, mongo_store, prepared, put
from tests.support.sweeping import sweep, sweeping_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database


async def test_each_kind_is_told_once_and_in_order(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, report(status="registered"))
    await put(store, report(status="registered"))  # Identical: no version, no change.
    for status in ("final", "corrected", "cancelled", "entered-in-error"):
        await put(store, report(status=status))
    await store.delete(LAB, REPORT)
    await store.delete(LAB, REPORT)
    await put(store, report(status="amended"))
    await put(store, {"resourceType": "Patient", "id": "p1"}, tenant=OTHER)
    async with following(follower_of(begun)):
        found = await heard(changes, 7)
        [other] = await heard(changes, 1, tenant=OTHER)
    assert told(found) == [
        (kind, "DiagnosticReport/r1", number)
        for number, kind in enumerate(
            ("created", "updated", "corrected", "cancelled", "entered-in-error", "deleted", "created"), 1
        )
    ]
    assert [one.number for one in found] == list(range(1, 8))
    assert (other.number, other.key) == (1, ResourceKey("Patient", "p1"))
    assert not any(one.scanned for one in found)
    current = await store.get(LAB, REPORT)
    assert current is not None
    assert found[-1].at == current.last_updated


async def test_what_was_stored_quietly_says_so_from_the_log_and_from_a_scan(begun: Database) -> None:
    quiet, changes = mongo_store(begun, subscription_notify=False), changes_of(begun)
    await put(quiet, report("r1"), report("r2"))
    await put(mongo_store(begun), report("r2", conclusion="more"))
    async with following(follower_of(begun)):
        found = await heard(changes, 3)
    assert [(one.key.id, one.version, one.quiet) for one in found] == [
        ("r1", 1, True),
        ("r2", 1, True),
        ("r2", 2, False),
    ]
    stored = await begun["resources"].find(sort=[("id", 1)]).to_list(None)
    assert [entry_of(one).quiet for one in stored] == [True, False]


async def test_a_change_of_what_is_known_about_a_version_is_none(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, report())
    await begun["resources"].update_many({}, {"$set": {"held_at": NOW}})
    await put(store, report("r2"))
    async with following(follower_of(begun)):
        found = await heard(changes, 2)
    assert told(found) == [("created", "DiagnosticReport/r1", 1), ("created", "DiagnosticReport/r2", 1)]


async def test_a_transaction_is_told_whole(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, report())

    async def work(within: Any) -> None:
        await within.write_many(LAB, [prepared(report("r2")), Deletion(REPORT)])

    await store.atomically(work)
    async with following(follower_of(begun)):
        found = await heard(changes, 3)
    assert sorted(told(found)[1:]) == [("created", "DiagnosticReport/r2", 1), ("deleted", str(REPORT), 2)]


async def test_where_there_is_more_the_follower_does_not_rest(
    begun: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 1)
    monkeypatch.setattr(module, "PACE_SECONDS", 3_600)
    store, changes = mongo_store(begun), changes_of(begun)
    for number in range(3):
        await put(store, report(f"r{number}"))
    task = asyncio.create_task(follower_of(begun).follow(lambda: False, ChangeMetrics(CollectorRegistry())))
    try:
        found = await heard(changes, 3)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [one.key.id for one in found] == ["r0", "r1", "r2"]


async def test_one_follows_and_the_next_goes_on_where_it_was(begun: Database) -> None:
    store, changes, clock = mongo_store(begun), changes_of(begun), Clock(NOW)
    async with following(follower_of(begun, clock)):
        await put(store, report("r1"))
        await heard(changes, 1)
        async with following(follower_of(begun, clock)) as second:
            assert await second is False
    await put(store, report("r2"))
    async with following(follower_of(begun, clock)):
        found = await heard(changes, 2)
    assert [one.number for one in found] == [1, 2]


async def test_a_frozen_follower_writes_nothing_more(begun: Database, later: Callable[..., None]) -> None:
    store, changes, clock = mongo_store(begun), changes_of(begun), Clock(NOW)
    first = follower_of(begun, clock)
    async with following(first) as task:
        await put(store, report("r1"))
        await heard(changes, 1)
        later(seconds=60)
        async with following(follower_of(begun, clock)):
            for number in range(2, 12):
                await put(store, report(f"r{number}"))
            found = await heard(changes, 11)
            await asyncio.wait([task], timeout=30)
            assert task.done()
    assert [one.number for one in found] == list(range(1, 12))
    assert len({one.key for one in found}) == 11


async def test_a_crash_between_batches_loses_and_doubles_nothing(
    begun: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    follower, crashed = follower_of(begun), asyncio.Event()
    number = follower._numbering._number

    async def failing(*arguments: Any, **more: Any) -> Any:
        await number(*arguments, **more)
        crashed.set()
        raise RuntimeError("made up")

    await put(store, report("r1"))
    async with following(follower):
        await heard(changes, 1)
    monkeypatch.setattr(follower._numbering, "_number", failing)
    await put(store, report("r2"), report("r3"))
    with pytest.raises(RuntimeError):
        await follower.follow(crashed.is_set, ChangeMetrics(CollectorRegistry()))
    assert await begun[CHANGES].count_documents({}) == 1
    async with following(follower_of(begun)):
        found = await heard(changes, 3)
    assert [one.number for one in found] == [1, 2, 3]
    assert len({one.key for one in found}) == 3


async def test_the_database_away_for_a_moment_loses_and_doubles_nothing(
    begun: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, changes, follower = mongo_store(begun), changes_of(begun), follower_of(begun)
    keep, failures = follower._keep, [True, True]

    async def failing(*arguments: Any, **more: Any) -> None:
        if arguments[1] and failures:
            failures.pop()
            raise ServiceError(Category.UNAVAILABLE)
        await keep(*arguments, **more)

    monkeypatch.setattr(follower, "_keep", failing)
    async with following(follower):
        for number in range(1, 6):
            await put(store, report(f"r{number}"))
        found = await heard(changes, 5)
    assert not failures
    assert [one.number for one in found] == [1, 2, 3, 4, 5]
    assert [one.key.id for one in found] == ["r1", "r2", "r3", "r4", "r5"]


async def test_a_place_that_is_known_too_late_numbers_nothing_twice(
    begun: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    follower = follower_of(begun)
    earlier = [await follower._place()]
    await put(store, report("r1"), report("r2"))
    async with following(follower):
        await heard(changes, 2)
    place = follower._place

    async def late() -> Place:
        # A commit without an answer, on a primary whose majority is behind: reads do not show it yet.
        return earlier.pop() if earlier else await place()

    monkeypatch.setattr(follower, "_place", late)
    async with following(follower):
        await put(store, report("r3"))
        found = await heard(changes, 3)
    assert not earlier
    assert [(one.number, one.key.id) for one in found] == [(1, "r1"), (2, "r2"), (3, "r3")]


async def test_positions_that_cannot_be_gone_on_from(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    assert await changes.head(LAB) == START
    async with following(follower_of(begun)):
        for number in range(4):
            await put(store, report(f"r{number}"))
            await heard(changes, number + 1)
    head = await changes.head(LAB)
    page = await changes.read(LAB, START, limit=2)
    assert [one.number for one in page.changes] == [1, 2]
    page = await changes.read(LAB, page.position, limit=1_000)
    assert [one.number for one in page.changes] == [3, 4]
    assert page.position == head
    assert await changes.read(LAB, head, limit=1) == page.__class__((), head)
    for position in (Position(head.number + 1), Position(head.number, head.mark % 1_000 + 1), Position(2, 1)):
        with pytest.raises(PositionLost):
            await changes.read(LAB, position, limit=10)
    await begun[CHANGES].delete_many({"last": {"$lte": 2}})
    for position in (START, Position(1)):
        with pytest.raises(PositionLost):
            await changes.read(LAB, position, limit=10)
    assert [one.number for one in (await changes.read(LAB, Position(2), limit=10)).changes] == [3, 4]
    await begun[CHANGES].delete_many({})
    with pytest.raises(PositionLost):
        await changes.read(LAB, Position(3), limit=10)
    assert (await changes.read(LAB, head, limit=10)).changes == ()


async def test_what_is_gone_for_good_is_not_readable(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, report("r1"), report("r2"), report("r3"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r2"))
    await begun["resources"].update_one({"id": "r3"}, {"$set": {"expires_at": NOW}})
    keys = {ResourceKey("DiagnosticReport", name) for name in ("r1", "r2", "r3", "never")}
    assert await changes.readable(LAB, keys) == {REPORT, ResourceKey("DiagnosticReport", "r2")}
    assert await changes.readable(OTHER, keys) == frozenset()


async def test_many_changes_of_one_moment_share_documents(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, *(report(f"r{number}") for number in range(600)))
    async with following(follower_of(begun)):
        found = await heard(changes, 600)
    assert [one.number for one in found] == list(range(1, 601))
    assert await begun[CHANGES].count_documents({}) < 10


async def test_a_tenant_that_was_closed_hears_of_nothing_more(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, report("r1"))
    await put(store, report("r1"), tenant=OTHER)
    await begun["tenants"].insert_one({"_id": str(LAB), "closed_at": NOW})
    async with following(follower_of(begun)):
        await heard(changes, 1, tenant=OTHER)
    assert await changes.head(LAB) == START


async def test_what_expired_is_told_when_it_is_swept(begun: Database) -> None:
    clock = Clock(NOW)
    store, changes = mongo_store(begun), changes_of(begun, clock)
    await put(store, report("r1"), report("r2"))
    await store.delete(LAB, ResourceKey("DiagnosticReport", "r2"))
    await begun["resources"].update_many({}, {"$set": {"expires_at": NOW}})
    await sweep(sweeping_of(begun, clock))
    async with following(follower_of(begun, clock)):
        found = await heard(changes, 4)
    # The tombstone of what was deleted goes without a word.
    assert told(found)[2:] == [("deleted", "DiagnosticReport/r2", 2), ("expired", "DiagnosticReport/r1", 1)]


async def test_each_query_has_an_index(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    async with following(follower_of(begun)):
        await put(store, report("r1"))
        await heard(changes, 1)
    await begun.command({"profile": 2})
    await put(store, report("r2"))
    await erased(begun, "r1")
    async with following(follower_of(begun)):
        found = await heard(changes, 3)
        await changes.readable(LAB, {one.key for one in found})
    nowhere = {"_data": "82" + "00" * 12}
    await begun[CHANGE_STATE].update_one({"_id": "log"}, {"$set": {"token": nowhere}})
    async with following(follower_of(begun)):
        await heard(changes, 5)
    await begun.command({"profile": 0})
    seen = await begun["system.profile"].find({"planSummary": {"$exists": True}}).to_list(None)
    # A change stream reads the log itself.
    queries = [one for one in seen if "$changeStream" not in str(one) and "system.profile" not in one["ns"]]
    assert [one for one in queries if "COLLSCAN" in one["planSummary"]] == []
    assert {one["ns"].partition(".")[2] for one in seen} >= {CHANGES, CHANGE_STATE, "departures", "resources"}


async def test_a_page_ends_within_a_block_and_goes_on_there(begun: Database) -> None:
    store, changes = mongo_store(begun), changes_of(begun)
    await put(store, *(report(f"r{number}") for number in range(30)))
    async with following(follower_of(begun)):
        await heard(changes, 30)
    position, numbers = START, list[int]()
    while page := (await changes.read(LAB, position, limit=7)).changes:
        numbers += [one.number for one in page]
        position = page[-1].position
    assert numbers == list(range(1, 31))
