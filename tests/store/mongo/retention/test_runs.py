"""Batches count exactly what they do, under the lease only; each run leaves one receipt."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.indexes import RECEIPTS, RUN_COUNTS, RUNS
from store.retention.receipts import Counted
from store.retention.runs import Batch, LeaseLost, Row, RunKind
from tests.support.runs import LEASE_SECONDS, leases_of, runs_of, taken
from tests.support.service import Clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database, Session
    from store.mongo.retention.lease import Lease
    from store.mongo.retention.runs import Runs
    from store.retention.runs import Run

THINGS = "things"
ROW = Row("lab/Production", 1, "DiagnosticReport", "retention")
KEPT = Row("lab/Production", 1, "Patient", "held")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def things(database: Database) -> Database:
    await database[THINGS].insert_many([{"_id": n} for n in range(10)])
    return database


async def delete(database: Database, ids: list[int], session: Session) -> Batch:
    done = await database[THINGS].delete_many({"_id": {"$in": ids}}, session=session)
    return Batch({ROW: done.deleted_count}, {KEPT: 1}, {"after": max(ids)})


async def sweep_some(runs: Runs, lease: Lease, run: Run, database: Database, ids: list[int]) -> Batch:
    return await runs.batch(lease, run, partial(delete, database, ids))


async def left(database: Database) -> list[int]:
    return sorted([one["_id"] async for one in database[THINGS].find({})])


class BrokenError(Exception):
    """The process ends here."""


async def test_a_run_is_counted_and_leaves_one_receipt(things: Database, clock: Clock) -> None:
    leases = leases_of(things)
    runs, lease = runs_of(things, leases, clock), await taken(leases)
    run = await runs.begin(lease, RunKind.SWEEP)
    await sweep_some(runs, lease, run, things, [0, 1, 2])
    await sweep_some(runs, lease, run, things, [2, 3])
    assert await runs.counts(run) == {ROW: 4}
    clock.move(seconds=90)
    receipt = await runs.close(lease, run)
    assert (receipt.number, receipt.rows, receipt.skipped) == (1, (Counted(ROW, 4),), (Counted(KEPT, 2),))
    assert (receipt.seconds, receipt.complete, receipt.takeovers) == (90.0, True, 0)
    assert await runs.receipts() == [receipt]
    assert (await runs.verify())[1] is None
    assert await things[RUN_COUNTS].count_documents({}) == 0
    following = await runs.begin(lease, RunKind.SWEEP)
    assert following.id != run.id


async def test_a_run_that_deleted_nothing_leaves_a_receipt(things: Database, clock: Clock) -> None:
    leases = leases_of(things)
    runs, lease = runs_of(things, leases, clock), await taken(leases)
    for number in (1, 2):
        receipt = await runs.close(lease, await runs.begin(lease, RunKind.SWEEP))
        assert (receipt.number, receipt.rows) == (number, ())
    link, wrong = await runs.verify()
    assert (link.number, wrong) == (2, None)


async def test_a_batch_that_fails_does_and_counts_nothing(things: Database, clock: Clock) -> None:
    leases = leases_of(things)
    runs, lease = runs_of(things, leases, clock), await taken(leases)
    run = await runs.begin(lease, RunKind.SWEEP)

    async def broken(session: Session) -> Batch:
        await delete(things, [1, 2], session)
        raise BrokenError

    with pytest.raises(BrokenError):
        await runs.batch(lease, run, broken)
    assert await left(things) == list(range(10))
    assert await runs.counts(run) == {}
    await sweep_some(runs, lease, run, things, [1])  # The session is good for the next one.
    assert await runs.counts(run) == {ROW: 1}


async def test_a_crash_leaves_the_run_to_the_next_holder(
    things: Database, clock: Clock, later: Callable[..., None]
) -> None:
    first, second = leases_of(things), leases_of(things)
    runs, lease = runs_of(things, first, clock), await taken(first)
    run = await runs.begin(lease, RunKind.SWEEP)
    await sweep_some(runs, lease, run, things, [0, 1, 2])
    later(seconds=LEASE_SECONDS)
    others, new = runs_of(things, second, clock), await taken(second)
    again = await others.begin(new, RunKind.SWEEP)
    assert (again.id, again.as_of, again.position) == (run.id, run.as_of, {"after": 2})
    assert again.takeovers == 1
    await sweep_some(others, new, again, things, [3])
    receipt = await others.close(new, again)
    assert (receipt.rows, receipt.takeovers) == ((Counted(ROW, 4),), 1)


async def test_who_was_frozen_and_wakes_up_can_do_nothing(
    things: Database, clock: Clock, later: Callable[..., None]
) -> None:
    first, second = leases_of(things), leases_of(things)
    runs, lease = runs_of(things, first, clock), await taken(first)
    run = await runs.begin(lease, RunKind.SWEEP)
    await sweep_some(runs, lease, run, things, [0])
    later(seconds=LEASE_SECONDS)
    others, new = runs_of(things, second, clock), await taken(second)
    again = await others.begin(new, RunKind.SWEEP)
    for act in (
        lambda: sweep_some(runs, lease, run, things, [1]),
        lambda: runs.close(lease, run),
        lambda: runs.begin(lease, RunKind.SWEEP),
    ):
        with pytest.raises(LeaseLost):
            await act()
    assert await left(things) == list(range(1, 10))
    receipt = await others.close(new, again)
    assert receipt.rows == (Counted(ROW, 1),)
    assert await things[RECEIPTS].count_documents({}) == 1


async def test_who_is_frozen_within_a_batch_has_done_nothing(
    things: Database, clock: Clock, later: Callable[..., None]
) -> None:
    """The takeover comes when everything of the batch is written but the commit."""
    first, second = leases_of(things), leases_of(things)
    runs, lease = runs_of(things, first, clock), await taken(first)
    run = await runs.begin(lease, RunKind.SWEEP)
    others = runs_of(things, second, clock)
    new: list[Lease] = []

    async def frozen(session: Session) -> Batch:
        done = await delete(things, [1, 2], session)
        later(seconds=LEASE_SECONDS * 2)
        if not new:
            new.append(await taken(second))
        return done

    with pytest.raises(LeaseLost):
        await runs.batch(lease, run, frozen)
    assert await left(things) == list(range(10))
    again = await others.begin(new[0], RunKind.SWEEP)
    await sweep_some(others, new[0], again, things, [1, 2, 3])
    receipt = await others.close(new[0], again)
    assert receipt.rows == (Counted(ROW, 3),)


async def test_runs_that_end_at_once_make_one_chain(things: Database, clock: Clock) -> None:
    leases = leases_of(things)
    runs = runs_of(things, leases, clock)

    async def one(number: int) -> int:
        lease = await taken(leases, f"erasure:{number}")
        run = await runs.begin(
            lease, RunKind.ERASURE, tenant="lab/Production", subject=f"{number:x}", reason="asked to"
        )
        receipt = await runs.close(lease, run)
        await leases.release(lease, done=True)
        return receipt.number

    assert sorted(await asyncio.gather(*map(one, range(8)))) == list(range(1, 9))
    link, wrong = await runs.verify()
    assert (link.number, wrong) == (8, None)
    assert [one.number for one in await runs.receipts(tenant="lab/Production", newest=3)] == [6, 7, 8]
    assert await runs.receipts(tenant="other/Production") == []


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        ({"rows": []}, "receipt 2 was changed"),
        ({"_id": 2}, "receipt 2 is missing"),
    ],
)
async def test_tampering_shows(things: Database, clock: Clock, tampering: dict[str, Any], said: str) -> None:
    leases = leases_of(things)
    runs, lease = runs_of(things, leases, clock), await taken(leases)
    for number in range(3):
        run = await runs.begin(lease, RunKind.SWEEP)
        await sweep_some(runs, lease, run, things, [number])
        await runs.close(lease, run)
    if "_id" in tampering:
        await things[RECEIPTS].delete_one(tampering)
    else:
        await things[RECEIPTS].update_one({"_id": 2}, {"$set": tampering})
    link, wrong = await runs.verify()
    assert link.number == 1
    assert wrong is not None
    assert said in wrong


async def test_at_most_one_run_is_open_under_a_lease(things: Database, clock: Clock) -> None:
    leases = leases_of(things)
    runs, lease = runs_of(things, leases, clock), await taken(leases)
    one, two = [await runs.begin(lease, RunKind.SWEEP) for _ in range(2)]
    assert one.id == two.id
    assert await things[RUNS].count_documents({}) == 1
