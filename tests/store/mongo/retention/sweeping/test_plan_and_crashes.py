"""A plan says what the run does; a crash, a frozen replica and a late hold change nothing of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from store.mongo.indexes import RESOURCES
from store.mongo.retention.holds import MongoHolds
from store.retention.holds import Hold, HoldKind
from store.retention.runs import LeaseLost
from store.settings import StoreSettings
from tests.store.mongo.retention.sweeping.swept import DAY, OVER, SECOND, as_planned, by_row, fill
from tests.support.fhir import report
from tests.support.runs import LEASE_SECONDS
from tests.support.service import Clock
from tests.support.store import LAB, NOW, OTHER, metrics, put
from tests.support.sweeping import HeldIds, lines, retention_metrics, stored, sweep, sweeping_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.mongo.retention.sweeping import MongoSweeping
    from store.retention.receipts import Receipt
    from store.retention.sweep import Stage, SweepStep
    from store.tenancy import Tenant

PLANNED = [
    (days, held)
    for days in (0, 3, 9, 10)
    for held in ([], ["DiagnosticReport/r2"], ["DiagnosticReport/f2", "DiagnosticReport/r0"], ["Patient/p2"])
]


@pytest.mark.parametrize(("days", "held"), PLANNED)
async def test_a_plan_says_what_the_run_does(
    database: Database, store: MongoResources, clock: Clock, days: int, held: list[str]
) -> None:
    await fill(database, store, clock)
    await fill(database, store, clock, OTHER)
    clock.now = NOW + days * DAY + SECOND
    sweeping = sweeping_of(database, clock, holds=HeldIds(f"{LAB}/{name}" for name in held))
    before = await stored(database)
    planned = await sweeping.plan([LAB, OTHER])
    assert await stored(database) == before
    [receipt] = await sweep(sweeping)
    assert as_planned(receipt) == by_row(planned.deleted)
    assert {one.row: one.count for one in receipt.skipped} == by_row(planned.skipped)
    assert {one.month for one in planned.deleted} <= {"2026-11"}


async def test_a_plan_counts_by_month_of_receipt(
    database: Database, store: MongoResources, sweeping: MongoSweeping, clock: Clock
) -> None:
    for month in (9, 10):
        for number in range(month - 7):
            clock.now = datetime(2026, month, 3 + number, tzinfo=UTC)
            await put(store, report(f"r{month}-{number}"))
    clock.now = OVER
    planned = await sweeping.plan([LAB])
    assert {one.month: count for one, count in planned.deleted.items()} == {"2026-09": 2, "2026-10": 3}


# --- crashes


class CrashError(Exception):
    """The process ends here."""


def crashing(sweeping: MongoSweeping, *, at: int, committed: bool) -> None:
    """Let the process end at its batch of this number: within the transaction, or just after."""
    batch, seen = sweeping.runs.batch, [0]

    async def crash(lease: Any, run: Any, work: Any) -> Any:
        seen[0] += 1
        if seen[0] != at:
            return await batch(lease, run, work)
        if committed:
            await batch(lease, run, work)
            raise CrashError

        async def broken(session: Any) -> Any:
            await work(session)
            raise CrashError

        return await batch(lease, run, broken)

    sweeping.runs.batch = crash  # type: ignore[method-assign]  # this is where the process ends


@pytest.mark.parametrize("committed", [False, True], ids=["within the batch", "after it"])
async def test_a_crash_at_any_batch_changes_nothing_of_the_result(
    database: Database, store: MongoResources, clock: Clock, committed: bool
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    held = HeldIds([f"{LAB}/DiagnosticReport/r3", f"{LAB}/DiagnosticReport/s4"])
    planned = await sweeping_of(database, clock, holds=held).plan([LAB, OTHER])
    crashes = 0
    while True:
        replica = sweeping_of(database, clock, holds=held)
        crashing(replica, at=2, committed=committed)  # Each gets through one batch, and dies at its second.
        try:
            [receipt] = await sweep(replica)
        except CrashError:
            crashes += 1
        else:
            break
    assert crashes >= 5
    assert receipt.takeovers == crashes
    assert as_planned(receipt) == by_row(planned.deleted)
    assert {one.row: one.count for one in receipt.skipped} == by_row(planned.skipped)
    assert (await sweeping_of(database, clock, holds=held).plan([LAB])).deleted == {}
    assert [one.number for one in await replica.runs.receipts()] == [1]


async def test_a_frozen_replica_that_wakes_up_does_nothing_more(
    database: Database, store: MongoResources, clock: Clock, later: Callable[..., None]
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    frozen, *others = (sweeping_of(database, clock) for _ in range(3))
    planned = await frozen.plan([LAB])
    stage = frozen.sweep.stages[0]
    delete = stage.delete
    receipts: list[Receipt] = []

    async def freeze(*given: Any) -> Any:
        done = await delete(*given)
        if not receipts:
            later(seconds=2 * LEASE_SECONDS)
            receipts.extend(await sweep(others[0]))
            receipts.extend(await sweep(others[1]))
        return done

    stage.delete = freeze  # type: ignore[method-assign,assignment]  # here it stands still, its batch not committed
    with pytest.raises(LeaseLost):
        await sweep(frozen)
    assert as_planned(receipts[0]) == by_row(planned.deleted)
    assert receipts[1].rows == ()
    assert await frozen.sweep.stages[0].look(LAB, clock(), None, 1) is not None
    assert [one.number for one in await frozen.runs.receipts()] == [1, 2]
    assert (await frozen.runs.verify())[1] is None


async def test_only_one_sweeps_at_a_time(database: Database, store: MongoResources, clock: Clock) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    first, second = sweeping_of(database, clock), sweeping_of(database, clock)
    lease = await first.leases.take("sweep")
    assert lease is not None
    assert await second.run(pace=second.pace(budget=False), metrics=retention_metrics()) is None
    holding = await second.holding()
    assert holding is not None
    assert holding.holder == lease.holder


async def test_a_run_whose_time_is_up_ends_and_the_next_does_the_rest(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    await fill(database, store, clock)
    clock.now = OVER
    sweeping = sweeping_of(database, clock, retention_budget_seconds=30)
    planned = await sweeping.plan([LAB])
    batch = sweeping.runs.batch

    async def slow(*given: Any) -> Any:
        clock.move(seconds=20)
        return await batch(*given)

    sweeping.runs.batch = slow  # type: ignore[method-assign,assignment]  # each takes a while
    receipts: list[Receipt] = []
    while not receipts or not receipts[-1].complete:
        done = await sweeping.run(pace=sweeping.pace(budget=True), metrics=retention_metrics())
        assert done is not None
        receipts += done
    assert len(receipts) > 3
    total: dict[Any, int] = {}
    for receipt in receipts:
        for row, count in as_planned(receipt).items():
            total[row] = total.get(row, 0) + count
    assert total == by_row(planned.deleted)


async def test_a_hold_placed_while_a_batch_is_on_its_way_holds(
    database: Database, store: MongoResources, clock: Clock
) -> None:
    holds = MongoHolds(database, settings=StoreSettings(), metrics=metrics())
    sweeping = sweeping_of(database, clock, holds=holds)
    await put(store, *(report(f"r{number}") for number in range(5)))
    clock.now = OVER
    placed: list[str] = []

    class Late:
        """The first stage; after its second look somebody places a hold on what it found."""

        def __init__(self, stage: Stage) -> None:
            self.name, self.count, self.delete = stage.name, stage.count, stage.delete
            self._stage, self._looks = stage, 0

        async def look(self, tenant: Tenant, as_of: datetime, after: Any, limit: int) -> SweepStep:
            step = await self._stage.look(tenant, as_of, after, limit)
            self._looks += 1
            if self._looks == 2:
                subject = f"DiagnosticReport/{step.going[0]['id']}"
                hold = Hold(str(uuid4()), LAB, HoldKind.RESOURCE, subject, "a test", clock(), "tests")
                await holds.add(hold)
                placed.append(subject)
            return step

    first, *others = sweeping.sweep.stages
    sweeping.sweep = replace(sweeping.sweep, stages=(Late(first), *others))
    [receipt] = await sweep(sweeping, LAB)
    left = await database[RESOURCES].find({"tenant": str(LAB)}).to_list(None)
    assert [f"{one['type']}/{one['id']}" for one in left] == placed
    assert lines(receipt) == {("DiagnosticReport", "retention"): 4}
    assert [one.count for one in receipt.skipped] == [1]
