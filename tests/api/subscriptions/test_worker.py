"""The worker: which subscriptions it counts for and tends, when they come and go beside it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from api.subscriptions import counting as counting_module
from api.subscriptions import worker as module
from api.subscriptions.sending.delivery import Step
from api.subscriptions.worker import Worker
from store.changes.changes import Position
from store.changes.kinds import Kind
from store.subscriptions.events import Overtaken
from store.subscriptions.records import Holder, Status
from tests.support.fhir import report
from tests.support.store import OTHER
from tests.support.subscriptions import LAB, NOW, Bench, bench, kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from store.mongo.driver.client import Database
    from store.subscriptions.events import Run
    from store.subscriptions.records import Subscription, SubscriptionStore
    from store.tenancy import Tenant


class Turns:
    """Waits of the worker for changes: each ends when the test says so."""

    def __init__(self) -> None:
        self._begun, self._go = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def wait(self, after: Mapping[Tenant, Position], *, seconds: float) -> frozenset[Tenant]:
        self._begun.release()
        await self._go.acquire()
        return frozenset(after)

    async def begun(self) -> None:
        """The worker waits."""
        await self._begun.acquire()

    async def over(self) -> None:
        """End the wait, and return in the next one."""
        self._go.release()
        await self.begun()


class Steps:
    """Deliveries that are noted and not made."""

    def __init__(self, *, busy: bool) -> None:
        self.taken: list[Subscription] = []
        self.known: list[list[str]] = []
        self.another = asyncio.Event()
        self.busy = busy
        self.store: SubscriptionStore | None = None
        """Store that all is noted in as delivered."""

    async def step(self, one: Subscription, recent: Sequence[Run] = ()) -> Step:
        last = one.progress.last if self.store is not None and one.progress.waiting else None
        if self.store is not None and last is not None:
            await self.store.acknowledged(one, last, at=NOW)
        self.taken.append(one)
        self.known.append([event.key for run in recent for event in run.occurrences])
        self.another.set()
        return Step(NOW if self.busy else None, delivered=last)

    async def knowing(self, keys: list[str]) -> None:
        """Return once a step was taken with these events remembered."""
        async with asyncio.timeout(10):
            while not self.known or self.known[-1] != keys:
                self.another.clear()
                await self.another.wait()

    async def of(self, one: Subscription) -> None:
        """Return once a step of this very subscription was taken."""
        while all(taken.created != one.created for taken in self.taken):
            self.another.clear()
            await self.another.wait()


@asynccontextmanager
async def working(
    on: Bench, monkeypatch: pytest.MonkeyPatch, *, busy: bool = False
) -> AsyncIterator[tuple[Turns, Steps]]:
    """A worker that looks for subscriptions each time that it has waited, and once more when it begins."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    turns, steps = Turns(), Steps(busy=busy)
    monkeypatch.setattr(on.changes, "wait", turns.wait)
    worker = Worker(
        on.ports, on.counting, cast("Any", steps), clock=on.clock, lease_seconds=60, linger_seconds=0
    )
    task = asyncio.ensure_future(worker.run())
    try:
        yield turns, steps
    finally:
        worker.stop()
        await task


async def numbers(on: Bench, id: str) -> list[tuple[int, str]]:
    return [(event.number, event.key) for event in await on.told_to(id)]


@pytest.mark.parametrize("anew", [False, True])
async def test_a_subscription_misses_nothing_before_it_is_noticed(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, anew: bool
) -> None:
    async with bench(database) as on:
        await on.store.create(kept("s1"))
        if anew:
            await on.store.create(kept("s2", status=Status.OFF))
        async with working(on, monkeypatch) as (turns, _):
            await turns.begun()
            await on.change(report("r1"), Kind.CREATED)
            await turns.over()
            made = kept("s2", start=await on.changes.head(LAB), version=2 if anew else 1)
            if anew:
                assert await on.store.replace(made, instead_of=1, anew=True)
            else:
                assert await on.store.create(made)
            # The worker waits, and counts this for those alone that it knows of.
            await on.change(report("r2"), Kind.CREATED)
            await on.change(report("r3"), Kind.CREATED)
            await turns.over()
            await on.change(report("r4"), Kind.CREATED)
            await turns.over()
            await turns.over()
            assert await numbers(on, "s1") == [(n, f"DiagnosticReport/r{n}") for n in range(1, 5)]
            assert await numbers(on, "s2") == [(n, f"DiagnosticReport/r{n + 1}") for n in range(1, 4)]
            two = await on.get("s2")
            assert (two.progress.last, two.progress.joined) == (3, True)


@pytest.mark.parametrize(
    "before",
    [{"filters": ("status=partial",)}, {"holder": Holder("tests", "revoked", ("system/*.rs",), NOW)}],
)
async def test_what_comes_behind_a_put_is_matched_by_it(
    database: Database, monkeypatch: pytest.MonkeyPatch, before: dict[str, Any]
) -> None:
    """The worker waits, and knows the subscription as it was."""
    async with bench(database) as on:
        await on.store.create(kept(**before))
        async with working(on, monkeypatch) as (turns, _):
            await turns.begun()
            await turns.over()
            assert await on.store.replace(kept(version=2), instead_of=1)
            await on.change(report("r1"), Kind.CREATED)
            await turns.over()
            assert await numbers(on, "s1") == [(1, "DiagnosticReport/r1")]


async def test_one_made_under_the_id_of_one_that_went_is_tended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        first, second = kept(), kept(created=NOW + timedelta(seconds=1))
        await on.store.create(first)
        async with working(on, monkeypatch, busy=True) as (turns, steps):
            await turns.begun()
            await steps.of(first)
            tasks = {task for task in asyncio.all_tasks() if "Worker._tend" in repr(task)}
            await on.store.delete(LAB, first.id)
            await asyncio.wait(tasks)
            await on.store.create(second)
            await turns.over()
            async with asyncio.timeout(10):
                await steps.of(second)


async def test_an_end_of_what_was_begun_says_nothing_of_one_made_under_its_id_since(
    database: Database,
) -> None:
    async with bench(database) as on:
        first = kept()
        await on.store.create(first)
        first = await on.get()
        await on.store.delete(LAB, first.id)
        second = replace(first, created=NOW + timedelta(seconds=1))
        await on.store.create(second)
        assert not await on.store.settle(first, Status.OFF)
        await on.store.acknowledged(first, 5, at=NOW)
        await on.store.failed(first, "unreachable", at=NOW, next_at=NOW)
        assert await on.get() == second


async def test_a_tenant_that_left_has_no_place_in_the_feed_of_the_next_one_of_its_name(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept(created=NOW))
        async with working(on, monkeypatch) as (turns, _):
            await turns.begun()
            await on.change(report("r1"), Kind.CREATED)
            await on.change(report("r2"), Kind.CREATED)
            await turns.over()
            await on.store.delete(LAB, "s1")
            await database["outbox"].delete_many({})
            on.changes.changes.clear()
            await on.store.create(kept("other", tenant=OTHER))
            await turns.over()
            await on.store.create(kept(created=NOW + timedelta(hours=1)))
            await turns.over()
            await on.change(report("r3"), Kind.CREATED)
            await turns.over()
            await turns.over()
            assert await numbers(on, "s1") == [(1, "DiagnosticReport/r3")]
            assert (await on.get()).status is Status.ACTIVE


async def test_new_events_are_remembered_until_a_name_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        async with working(on, monkeypatch) as (turns, steps):
            await turns.begun()
            await on.change(report("r1"), Kind.CREATED)
            await turns.over()
            await steps.knowing(["DiagnosticReport/r1"])
            on.changes.tell("DiagnosticReport/r1", Kind.ERASED)
            await turns.over()
            await steps.knowing(["DiagnosticReport/r1"])
            assert [event.key for event in await on.told_to()] == ["", "DiagnosticReport/r1"]
            assert steps.known[-1] == ["DiagnosticReport/r1"], "the erasure alone"


async def test_what_this_process_delivered_wakes_no_subscription(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        async with working(on, monkeypatch) as (turns, steps):
            steps.store = on.store
            await turns.begun()
            monkeypatch.setattr(module, "LOOK_SECONDS", 1_000.0)
            await on.change(report("r1"), Kind.CREATED)
            await turns.over()
            await steps.knowing(["DiagnosticReport/r1"])
            taken = len(steps.taken)
            monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
            await turns.over()
            await turns.over()
            assert len(steps.taken) == taken
            assert await on.store.rewind(LAB, "s1", 0)
            await turns.over()
            await steps.knowing(["DiagnosticReport/r1"])


async def test_one_that_was_held_back_for_less_than_a_look_goes_on(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        async with working(on, monkeypatch) as (turns, steps):
            await turns.begun()
            monkeypatch.setattr(module, "LOOK_SECONDS", 1_000.0)
            assert await on.store.pause(LAB, "s1", paused=True)
            await on.change(report("r1"), Kind.CREATED)
            await turns.over()
            await steps.knowing(["DiagnosticReport/r1"])
            assert steps.taken[-1].paused
            assert await on.store.pause(LAB, "s1", paused=False)
            monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
            await turns.over()
            async with asyncio.timeout(10):
                while steps.taken[-1].paused:
                    steps.another.clear()
                    await steps.another.wait()


async def test_what_a_receiver_answers_behind_the_end_of_its_subscription_is_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept("names-somebody"))
        await on.store.create(kept("other"))
        async with working(on, monkeypatch) as (turns, _):
            await turns.begun()
            one = await on.get("names-somebody")
            assert await on.store.delete(LAB, one.id)
            await turns.over()
            await on.store.acknowledged(one, 0, at=NOW)
            assert "names-somebody" in str(await database["outbox"].find({}).to_list(None))
            await turns.over()
            await turns.over()
            assert "names-somebody" not in str(await database["outbox"].find({}).to_list(None))


async def test_events_of_a_commit_that_was_not_answered_are_read_and_sent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept())
        page = on.counting.page

        async def unanswered(*arguments: Any) -> None:
            monkeypatch.setattr(on.counting, "page", page)
            await page(*arguments)
            raise Overtaken

        async with working(on, monkeypatch) as (turns, steps):
            await turns.begun()
            await on.change(report("r1"), Kind.CREATED)
            await turns.over()
            await steps.knowing(["DiagnosticReport/r1"])
            monkeypatch.setattr(on.counting, "page", unanswered)
            await on.change(report("r2"), Kind.CREATED)
            await turns.over()
            await steps.knowing([])
            assert await numbers(on, "s1") == [(1, "DiagnosticReport/r1"), (2, "DiagnosticReport/r2")]


async def test_changes_that_concern_nobody_cost_no_write_until_they_are_many(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench(database) as on:
        await on.store.create(kept(filters=("status=partial",)))
        own = await on.outbox.take()
        assert own is not None
        for number, noted in ((1, 1), (2, 1), (3, 1), (4, 4)):
            if number == 4:
                monkeypatch.setattr(counting_module, "FAR", 3)
            await on.change(report(f"r{number}"), Kind.CREATED)
            await on.count(delivering=own)
            assert (await on.outbox.positions())[LAB].number == noted
        await on.change(report("r5"), Kind.CREATED)
        await on.page(own, Position(4))
        await on.store.create(kept("new", start=Position(4)))
        await on.counting.join(own, await on.get("new"), Position(5))
        assert (await on.outbox.positions())[LAB].number == 5, "else it would be counted once more"
        assert await numbers(on, "new") == [(1, "DiagnosticReport/r5")]
        await own.release()


async def test_changes_that_concern_nobody_are_noted_before_the_feed_forgets_them(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept(filters=("status=partial",)))
        await on.store.create(kept("other", tenant=OTHER, filters=("status=partial",)))
        own = await on.outbox.take()
        assert own is not None

        async def noted(*tenants: Tenant) -> tuple[int, int]:
            await on.counting.note(own, tenants)
            places = await on.outbox.positions()
            return places[LAB].number, places[OTHER].number

        for number in (1, 2):
            for tenant in (LAB, OTHER):
                await on.change(report(f"r{number}"), Kind.CREATED, tenant=tenant)
                await on.count(tenant, delivering=own)
        assert await noted(LAB, OTHER) == (1, 1)
        on.clock.now += counting_module.LONG
        assert await noted(LAB) == (2, 1), "a tenant without subscriptions may have left"
        assert await noted(LAB, OTHER) == (2, 1)
        await own.release()


async def test_what_an_earlier_lease_passed_moves_no_place_back(database: Database) -> None:
    async with bench(database) as on:
        await on.store.create(kept(filters=("status=partial",)))
        own = await on.outbox.take()
        assert own is not None
        for number in (1, 2):
            await on.change(report(f"r{number}"), Kind.CREATED)
            await on.count(delivering=own)
        await own.add(LAB, (), position=Position(7), forget=frozenset())
        on.clock.now += counting_module.LONG
        await on.counting.note(own, [LAB])
        assert (await on.outbox.positions())[LAB].number == 7
        await own.release()
