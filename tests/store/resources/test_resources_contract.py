"""Contract of any `ResourceStore`, tried on the real one."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Outcome, Stored
from store.retention.policy import Policy
from tests.store.resources.dated import MILLISECOND
from tests.support.fhir import (
    coded,
    report,
    resource,
)
from tests.support.store import (
    LAB,
    NOW,
    REPORT,
    content,
    let,
    mongo_store,
    outcomes,
    prepared,
    put,
    put_one,
    stored,
)

if TYPE_CHECKING:
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources

# --- one resource and its versions


async def test_what_was_put_is_got(store: MongoResources) -> None:
    result = await put_one(store, report())
    assert (result.outcome, result.stored.version, result.stored.last_updated) == (Outcome.CREATED, 1, NOW)
    assert await store.get(LAB, REPORT) == result.stored
    assert content(result.stored) == {
        **report(),
        "meta": {"versionId": "1", "lastUpdated": "2026-11-22T12:00:00.000Z"},
    }


async def test_what_was_never_there(store: MongoResources) -> None:
    await put(store, report())
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "r2")) is None
    assert await store.get(LAB, ResourceKey("Observation", "r1")) is None
    assert await store.get_version(LAB, REPORT, 2) is None
    assert await store.get_version(LAB, ResourceKey("Observation", "r1"), 1) is None
    assert await store.delete(LAB, ResourceKey("Observation", "r1")) is None
    assert await store.get(LAB, ResourceKey("Observation", "r1")) is None


async def test_each_version_stays_readable(store: MongoResources) -> None:
    texts = ("one", "two", "three")
    results = [await put_one(store, report(conclusion=text)) for text in texts]
    assert outcomes(results) == [Outcome.CREATED, Outcome.REPLACED, Outcome.REPLACED]
    assert [result.stored.version for result in results] == [1, 2, 3]
    for number, result in enumerate(results, start=1):
        assert await store.get_version(LAB, REPORT, number) == result.stored
        assert content(result.stored)["conclusion"] == texts[number - 1]
    assert await store.get(LAB, REPORT) == results[-1].stored
    assert await store.get_version(LAB, REPORT, 4) is None
    assert await store.get_version(LAB, REPORT, 0) is None


async def test_identical_content_makes_no_version(database: Database) -> None:
    moments = iter([NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2), NOW + timedelta(hours=3)])
    store = mongo_store(database, clock=lambda: next(moments))
    first = await put_one(store, report())
    again = await put_one(store, report())
    assert (again.outcome, again.stored) == (Outcome.UNCHANGED, first.stored)
    assert await store.get_version(LAB, REPORT, 2) is None


async def test_content_that_returns_is_a_version(store: MongoResources) -> None:
    for conclusion, version in (("one", 1), ("two", 2), ("one", 3)):
        assert (await put_one(store, report(conclusion=conclusion))).stored.version == version


async def test_deleted_gone_and_revived(store: MongoResources) -> None:
    await put(store, report())
    gone = await store.delete(LAB, REPORT)
    assert gone == Gone(REPORT, 2, NOW + MILLISECOND)
    assert await store.get(LAB, REPORT) == gone
    assert await store.get_version(LAB, REPORT, 2) == gone
    assert await store.delete(LAB, REPORT) == gone
    stored(await store.get_version(LAB, REPORT, 1))
    revived = await put_one(store, report())
    assert (revived.outcome, revived.stored.version) == (Outcome.CREATED, 3)
    assert await store.get(LAB, REPORT) == revived.stored
    assert await store.get_version(LAB, REPORT, 2) == gone
    assert await store.get_version(LAB, REPORT, 1) == Stored(
        REPORT, 1, NOW, stored(await store.get_version(LAB, REPORT, 1)).raw
    )


async def test_a_deletion_of_a_microsecond_is_read_as_it_was_answered(database: Database) -> None:
    store = mongo_store(database, clock=lambda: NOW + timedelta(microseconds=1_999))
    put_at = (await put_one(store, report())).stored.last_updated
    assert put_at == NOW + MILLISECOND == stored(await store.get(LAB, REPORT)).last_updated
    assert await store.delete(LAB, REPORT) == await store.get(LAB, REPORT)


async def test_a_deletion_by_its_source_s_time(store: MongoResources) -> None:
    """A content that is newer by the source's own time stays; the tombstone says when it was deleted."""
    early, late = "2026-05-01T00:00:00.000000Z", "2026-05-02T00:00:00.000000Z"
    await put_one(store, report(), sourced=f"{late} {early}")
    assert await store.delete(LAB, REPORT, sourced=early) is None
    assert stored(await store.get(LAB, REPORT)).version == 1
    assert await store.delete(LAB, REPORT, sourced=late) is not None
    assert isinstance(await store.get(LAB, REPORT), Gone)
    stale = await put_one(store, report(status="amended"), sourced=early)
    assert stale.outcome is Outcome.STALE
    assert isinstance(await store.get(LAB, REPORT), Gone)
    await put_one(store, report("r2"))
    key = ResourceKey("DiagnosticReport", "r2")
    assert await store.delete(LAB, key, sourced=early) is not None, "nothing says that it is newer"


async def test_only_once(store: MongoResources) -> None:
    """Unlike `only_absent`: what was there once is never created again."""
    for fresh in (False, True):
        once = {"only_absent": True, "only_once": True, "fresh": fresh}
        first = await put_one(store, report(f"r{fresh}"), **once)
        assert (first.outcome, first.stored.version) == (Outcome.CREATED, 1)
        key = ResourceKey("DiagnosticReport", f"r{fresh}")
        for again in (report(f"r{fresh}"), report(f"r{fresh}", status="amended")):
            result = await put_one(store, again, **once)
            assert (result.outcome, result.stored.version) == (Outcome.EXISTS, 1)
        await store.delete(LAB, key)
        result = await put_one(store, report(f"r{fresh}"), **once)
        assert (result.outcome, result.stored.version) == (Outcome.EXISTS, 2)
        assert isinstance(await store.get(LAB, key), Gone)


async def test_only_once_of_what_has_expired(database: Database) -> None:
    now = NOW
    store = mongo_store(database, clock=lambda: now)
    await let(database, Policy(keep_days=1))
    once = {"only_absent": True, "only_once": True}
    await put_one(store, report(), **once)
    now += timedelta(days=2)
    assert await store.get(LAB, REPORT) is None
    assert (await put_one(store, report(), **once)).outcome is Outcome.EXISTS
    assert await store.get(LAB, REPORT) is None


async def test_only_absent(store: MongoResources) -> None:
    first = await put_one(store, report(), only_absent=True)
    assert first.outcome is Outcome.CREATED
    for again in (report(), report(status="amended")):
        result = await put_one(store, again, only_absent=True)
        assert (result.outcome, result.stored.version, result.stored.raw) == (Outcome.EXISTS, 1, b"")
    assert await store.get(LAB, REPORT) == first.stored
    await store.delete(LAB, REPORT)
    assert (await put_one(store, report(), only_absent=True)).outcome is Outcome.CREATED


async def test_only_version(store: MongoResources) -> None:
    async def refused(version: int) -> None:
        with pytest.raises(ServiceError) as caught:
            await put_one(store, report(status="amended"), only_version=version)
        assert caught.value.category is Category.PRECONDITION

    await refused(1)
    await put(store, report())
    await refused(2)
    assert (await put_one(store, report(), only_version=1)).outcome is Outcome.UNCHANGED
    assert (await put_one(store, report(status="amended"), only_version=1)).stored.version == 2
    await refused(1)
    await store.delete(LAB, REPORT)
    await refused(2)
    await refused(3)


async def test_a_refusal_harms_no_other_of_the_same_push(store: MongoResources) -> None:
    with pytest.raises(ServiceError):
        await store.put_many(LAB, [prepared(report("a")), prepared(report("b"), only_version=1)])
    assert isinstance(await store.get(LAB, ResourceKey("DiagnosticReport", "a")), Stored)
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "b")) is None


async def test_results_come_in_the_order_of_what_was_put(store: MongoResources) -> None:
    await put(store, report("b"))
    results = await put(store, report("c"), report("b"), report("a"), report("b", status="amended"))
    assert [result.stored.key.id for result in results] == ["c", "b", "a", "b"]
    assert outcomes(results) == [
        Outcome.CREATED,
        Outcome.UNCHANGED,
        Outcome.CREATED,
        Outcome.REPLACED,
    ]
    assert await put(store) == []


async def test_each_is_put_on_its_own(database: Database) -> None:
    store = mongo_store(database, resource_bytes_max=1_000)
    await put(store, report("there"))
    sent = [
        prepared(report("new")),
        prepared(report("large", conclusion="x" * 1_000)),
        prepared(report("there", status="amended"), only_version=2),
        prepared(report("there", status="amended"), only_version=1),
        prepared(report("there"), only_absent=True),
    ]
    done = await store.put_each(LAB, sent)
    told = [one.category if isinstance(one, ServiceError) else one.outcome for one in done]
    assert told == [
        Outcome.CREATED,
        Category.TOO_LARGE,
        Category.PRECONDITION,
        Outcome.REPLACED,
        Outcome.EXISTS,
    ]
    assert await store.put_each(LAB, []) == []


async def test_a_full_queue_refuses_each_of_those_put_together(database: Database) -> None:
    store = mongo_store(database, commit_queue_max=1)
    first = asyncio.ensure_future(put(store, report("r1")))
    second = asyncio.ensure_future(put(store, report("r2")))
    await asyncio.sleep(0)
    done = await store.put_each(LAB, [prepared(report("r3")), prepared(report("r4"))])
    assert [one.category for one in done if isinstance(one, ServiceError)] == [Category.UNAVAILABLE] * 2
    assert outcomes([*await first, *await second]) == [Outcome.CREATED] * 2
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "r3")) is None


async def test_an_id_taken_for_new_is_looked_up_when_it_is_there_after_all(store: MongoResources) -> None:
    await put(store, report("r1"))
    known = await put_one(store, report("r1", status="amended"), fresh=True, only_absent=True)
    assert (known.outcome, known.stored.version) == (Outcome.EXISTS, 1)
    same = await put_one(store, report("r1"), fresh=True)
    assert (same.outcome, same.stored.version) == (Outcome.UNCHANGED, 1)
    other = await put_one(store, report("r1", status="amended"), fresh=True)
    assert (other.outcome, other.stored.version) == (Outcome.REPLACED, 2)
    await store.delete(LAB, REPORT)
    again = await put_one(store, report("r1"), fresh=True)
    assert (again.outcome, again.stored.version) == (Outcome.CREATED, 4)


async def test_an_oversized_resource_is_refused_and_stores_nothing(database: Database) -> None:
    store = mongo_store(database, resource_bytes_max=1_000)
    frame = prepared(report("r1", conclusion="x")).body
    fitting = 1 + 1_000 - len(frame.head) - len(frame.tail)
    assert outcomes(await put(store, report("r0", conclusion="x" * fitting))) == [Outcome.CREATED]
    with pytest.raises(ServiceError) as caught:
        await put(store, report("small"), report("r1", conclusion="x" * (fitting + 1)))
    assert caught.value.category is Category.TOO_LARGE
    assert await store.get(LAB, REPORT) is None
    assert await store.get(LAB, ResourceKey("DiagnosticReport", "small")) is None


async def test_what_its_index_makes_too_large_is_refused_alone(store: MongoResources) -> None:
    endless = report("endless", code=coded("y" * 4_000_000))
    long = resource("Observation", "long", status="final", code=coded("1-8"), valueString="x " * 2_000_000)
    both = asyncio.gather(put(store, report("small"), long), put(store, endless), return_exceptions=True)
    stored, refused = await both
    assert outcomes(stored) == [Outcome.CREATED, Outcome.CREATED]  # type: ignore[arg-type]  # no exception
    assert isinstance(refused, ServiceError)
    assert refused.category is Category.TOO_LARGE


@pytest.mark.parametrize(
    "moments",
    [
        [NOW] * 4,
        [NOW, NOW - timedelta(hours=1), NOW - timedelta(hours=2), NOW],
        [
            NOW,
            NOW + timedelta(microseconds=1),
            NOW + timedelta(microseconds=2),
            NOW + timedelta(microseconds=999),
        ],
        [NOW, NOW + timedelta(hours=1), NOW, NOW + timedelta(hours=1)],
    ],
    ids=["stands still", "goes back", "too fine", "jumps"],
)
async def test_last_updated_strictly_increases_whatever_the_clock_says(
    database: Database, moments: list[datetime]
) -> None:
    ticks = iter(moments)
    store = mongo_store(database, clock=lambda: next(ticks))
    seen = [(await put_one(store, report(conclusion=str(n)))).stored.last_updated for n in range(4)]
    assert all(later - earlier >= MILLISECOND for earlier, later in pairwise(seen))
