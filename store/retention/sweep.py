"""The sweep: what has expired is deleted, stage by stage and tenant by tenant, in bounded batches.

Pure orchestration over `Stage`s and a run; `store.mongo.retention.sweeping` has the stages. The plan walks
the same way and only counts, so a plan and the run after it say the same.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from store.retention.runs import Batch, RunKind
from store.retrying import pause_behind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.retention.receipts import Receipt
    from store.retention.runs import Row, Run
    from store.tenancy import Tenant

ATTEMPTS_MAX: Final = 100
"""Holds placed during one run that make it look again; past them it ends, and the next run does the rest."""


class Found(NamedTuple):
    """Deletion, as it is counted."""

    row: Row
    month: str
    """Month of its receipt: `2026-11`."""


@dataclass(frozen=True, slots=True)
class SweepStep:
    """Findings of a look at a stage."""

    going: Sequence[Mapping[str, Any]] = ()
    """Documents to be deleted."""
    skipped: Sequence[Found] = ()
    """Expired, and kept nevertheless."""
    next: Mapping[str, Any] | None = None
    """Position of the next look; None: that was the last."""


class Deleted(NamedTuple):
    """Result of a transaction that deletes."""

    counts: Mapping[Row, int]
    more: bool = False
    """Whether the step must be done once more: there was too much for one transaction."""


class Stage(Protocol):
    """Kind of thing that expires."""

    name: str

    async def look(
        self, tenant: Tenant, as_of: datetime, after: Mapping[str, Any] | None, limit: int
    ) -> SweepStep:
        """The next documents that expired by then, sorted into those to be deleted and those that stay."""

    async def count(self, tenant: Tenant, as_of: datetime, step: SweepStep) -> Iterable[Found]:
        """Counts of what deleting this step would delete."""

    async def delete(self, tenant: Tenant, as_of: datetime, step: SweepStep, session: Any) -> Deleted:  # noqa: ANN401
        """Delete what still is as it was found, within a transaction; it may be tried several times."""


class LeasedRuns(Protocol):
    """A run under its lease: `store.mongo.retention.sweeping` ties the two together."""

    async def begin(self, kind: RunKind, *, tenant: str) -> Run:
        """A new run, or the one that was broken off."""

    async def batch(self, run: Run, work: Callable[[Any], Awaitable[Batch]]) -> Batch:
        """Do it and count it. Raises LeaseLost."""

    async def holds(self, session: Any = None) -> int:  # noqa: ANN401 -- the driver's
        """Number of holds placed so far. Within a batch none is placed until the batch has ended."""

    async def renew(self) -> None:
        """Keep the lease. Raises LeaseLost."""

    async def close(self, run: Run, *, complete: bool) -> Receipt:
        """End it with a receipt. Raises LeaseLost."""


class Stopped(Exception):  # noqa: N818 -- no error: the process ends, and the run stays open
    """Raised between two batches, when the process is to end; whoever is next goes on."""


class HoldPlaced(Exception):  # noqa: N818 -- no error: the reason to look again
    """Since a step was looked at: what it says goes may be held by now, or may stay by another policy."""

    def __init__(self, position: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.position = position
        """Position up to which everything was done."""


class Pace(NamedTuple):
    """Pace of a sweep."""

    batch: int = 100
    """Looked at in one step, and deleted in one transaction."""
    rest: float = 2.0
    """Rest after each batch, as a multiple of what it took: searches go on meanwhile."""
    budget_seconds: float | None = None
    """A run ends after so long; None: when it is through."""
    stopping: Callable[[], bool] = lambda: False
    """Whether the process is to end."""


async def nothing_to_settle(_: Tenant) -> bool:
    """Answer for a store whose policies never change."""
    return False


async def no_policy(*_: object) -> int:
    """Answer for a store without policies."""
    return 0


class _Seen(NamedTuple):
    """State in which a step was looked at: holds placed so far, version of the tenant's policy."""

    holds: int
    policy: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """Sweep: what is swept, how fast, and by which clock."""

    stages: Sequence[Stage]
    tenants: Callable[[], Awaitable[Sequence[Tenant]]]
    clock: Callable[[], datetime]
    settle: Callable[[Tenant], Awaitable[bool]] = nothing_to_settle
    """Applies a changed policy to some of what is stored; True: there is more to do."""
    policy: Callable[..., Awaitable[int]] = no_policy
    """Version of a tenant's policy. Within a batch's session none is set until the batch has ended."""
    sleep: Callable[[float], Awaitable[None]] = field(default=asyncio.sleep)

    async def run(
        self,
        runs: LeasedRuns,
        *,
        tenant: Tenant | None = None,
        pace: Pace = Pace(),  # noqa: B008 -- frozen
        report: Callable[[Mapping[Row, int]], None] = lambda _: None,
    ) -> list[Receipt]:
        """Sweep until nothing is left that has expired by now; a receipt for each run.

        What was broken off is gone on with first, and only then what was asked for. Raises LeaseLost.
        """
        wanted = "" if tenant is None else str(tenant)
        receipts: list[Receipt] = []
        while True:
            run = await runs.begin(RunKind.SWEEP, tenant=wanted)
            receipts.append(await self._finish(runs, run, pace, report))
            if run.tenant == wanted:
                return receipts

    async def _finish(
        self, runs: LeasedRuns, run: Run, pace: Pace, report: Callable[[Mapping[Row, int]], None]
    ) -> Receipt:
        ends = None if pace.budget_seconds is None else self.clock() + timedelta(seconds=pace.budget_seconds)
        for attempt in range(ATTEMPTS_MAX):
            try:
                complete = await self._go_on(runs, run, pace, report, ends)
            except HoldPlaced as placed:
                run = replace(run, position=placed.position)
                await self.sleep(pause_behind(attempt))
            else:
                return await runs.close(run, complete=complete)
        return await runs.close(run, complete=False)

    async def _go_on(
        self,
        runs: LeasedRuns,
        run: Run,
        pace: Pace,
        report: Callable[[Mapping[Row, int]], None],
        ends: datetime | None,
    ) -> bool:
        """Go on from the run's position to its end; False: there was no time. Raises HoldPlaced."""
        done, holds = run.position, await runs.holds()
        async for tenant, stage, step, position, policy in self._walk(runs, run, pace.batch):
            if pace.stopping():
                raise Stopped
            started = perf_counter()
            if step.going or step.skipped:
                try:
                    seen = _Seen(holds, policy)
                    report(await self._batch(runs, run, (tenant, stage, step, position), seen))
                except HoldPlaced:
                    raise HoldPlaced(done) from None
                done = position
            else:
                await runs.renew()
            await self.sleep((perf_counter() - started) * pace.rest)
            if ends is not None and self.clock() >= ends:
                return False
            holds = await runs.holds()
        return True

    async def _batch(
        self,
        runs: LeasedRuns,
        run: Run,
        what: tuple[Tenant, Stage, SweepStep, Mapping[str, Any]],
        seen: _Seen,
    ) -> Mapping[Row, int]:
        tenant, stage, step, position = what
        total: Counter[Row] = Counter()
        more = True
        while more:
            last: list[Deleted] = []

            async def work(session: Any, last: list[Deleted] = last) -> Batch:  # noqa: ANN401 -- the driver's
                if (await runs.holds(session), await self.policy(tenant, session)) != seen:
                    raise HoldPlaced
                done = await stage.delete(tenant, run.as_of, step, session)
                last[:] = [done]
                if done.more:
                    return Batch(done.counts)
                return Batch(done.counts, Counter(one.row for one in step.skipped), position)

            total.update((await runs.batch(run, work)).deleted)
            more = last[0].more
        return total

    async def _walk(
        self, runs: LeasedRuns, run: Run, limit: int
    ) -> AsyncIterator[tuple[Tenant, Stage, SweepStep, Mapping[str, Any], int]]:
        """Steps of a run, from its position on, each with tenant, stage, place and version of the policy."""
        position: Mapping[str, Any] | None = run.position
        for tenant in sorted(await self.tenants(), key=str):
            if run.tenant not in ("", str(tenant)) or (position and str(tenant) < position["tenant"]):
                continue
            if position is not None and str(tenant) > position["tenant"]:
                position = None
            policy = await self.policy(tenant)
            while await self.settle(tenant):
                await runs.renew()
            async for stage, step, here in steps(self.stages, tenant, run.as_of, position, limit):
                yield tenant, stage, step, here, policy

    async def plan(self, tenants: Iterable[Tenant], *, pace: Pace = Pace()) -> SweepPlan:  # noqa: B008 -- frozen
        """Plan of a run that began now: what it would delete, and what it would pass over."""
        as_of = self.clock()
        plan = SweepPlan(as_of, Counter(), Counter())
        for tenant in sorted(tenants, key=str):
            while await self.settle(tenant):
                pass  # It deletes nothing, and is what a run would begin with.
            async for stage, step, _ in steps(self.stages, tenant, as_of, None, pace.batch):
                plan.deleted.update(await stage.count(tenant, as_of, step))
                plan.skipped.update(step.skipped)
        return plan


async def steps(
    stages: Sequence[Stage],
    tenant: Tenant,
    as_of: datetime,
    position: Mapping[str, Any] | None,
    limit: int,
) -> AsyncIterator[tuple[Stage, SweepStep, Mapping[str, Any]]]:
    """All steps of a tenant from a position on, each with the position behind it."""
    names = [stage.name for stage in stages]
    first = names.index(position["stage"]) if position is not None and position["stage"] in names else 0
    for number, stage in enumerate(stages[first:]):
        resumed = position is not None and number == 0
        if resumed and position is not None and position["over"]:
            continue
        after = position["after"] if resumed and position is not None else None
        while True:
            step = await stage.look(tenant, as_of, after, limit)
            here = {"tenant": str(tenant), "stage": stage.name, "after": step.next, "over": step.next is None}
            if step.going or step.skipped or step.next is not None:
                yield stage, step, here
            after = step.next
            if after is None:
                break


class SweepPlan(NamedTuple):
    """Counts of what would be deleted, and of what passed over, as of a moment."""

    as_of: datetime
    deleted: Counter[Found]
    skipped: Counter[Found]
