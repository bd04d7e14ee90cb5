"""The sweep on MongoDB: its stages, its lease and its runs, tied together for whoever sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from store.errors import ServiceError
from store.mongo.retention.backlog import backlog
from store.mongo.retention.compaction import compact
from store.mongo.retention.lease import Leases
from store.mongo.retention.overdue import OverduePast, OverdueResources
from store.mongo.retention.overdue_files import OverdueFiles
from store.mongo.retention.overdue_letters import LostPieces, audits, letters
from store.mongo.retention.runs import Runs
from store.mongo.retention.still_needed import Needing
from store.retention.runs import SWEEP_LEASE, LeaseLost
from store.retention.sweep import LeasedRuns, Pace, Stopped, Sweep, no_policy, nothing_to_settle
from store.retention.sweeping import Sweeping

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database, Session
    from store.mongo.retention.lease import Lease
    from store.retention.holds import Holds
    from store.retention.metrics import RetentionMetrics
    from store.retention.receipts import Link, Receipt
    from store.retention.runs import Batch, Run, RunKind
    from store.retention.sweep import Stage, SweepPlan
    from store.retention.sweeping import Backlog, Compacted, LeaseHolder
    from store.settings import StoreSettings
    from store.tenancy import Tenant


def stages(
    database: Database,
    holds: Holds,
    *,
    clock: Callable[[], datetime],
    metrics: StoreMetrics,
    seconds: float,
) -> Sequence[Stage]:
    """Stages in their order: what goes with something else comes behind it."""
    kwargs: dict[str, Any] = {"metrics": metrics, "seconds": seconds}
    needing = Needing(database, holds, clock=clock, **kwargs)
    files = OverdueFiles(database, needing, **kwargs)
    return (
        OverdueResources(database, needing, files, clock=clock, **kwargs),
        OverduePast(database, needing, files, **kwargs),
        letters(database, needing, **kwargs),
        LostPieces(database, needing, **kwargs),
        audits(database, needing, **kwargs),
        files,
    )


@dataclass(frozen=True, slots=True)
class MongoLeasedRuns(LeasedRuns):
    """Runs under one lease, kept in one database."""

    runs: Runs
    leases: Leases
    lease: Lease
    check: Callable[[], None]

    @override
    async def begin(self, kind: RunKind, *, tenant: str) -> Run:
        self.check()
        return await self.runs.begin(self.lease, kind, tenant=tenant)

    @override
    async def batch(self, run: Run, work: Callable[[Any], Awaitable[Batch]]) -> Batch:
        self.check()  # By a clock that is wrong, what is held or expired would be another thing.
        return await self.runs.batch(self.lease, run, work)

    @override
    async def holds(self, session: Session | None = None) -> int:
        return await self.leases.holds(self.lease, session)

    @override
    async def renew(self) -> None:
        await self.leases.renew(self.lease)

    @override
    async def close(self, run: Run, *, complete: bool) -> Receipt:
        return await self.runs.close(self.lease, run, complete=complete)


class MongoSweeping(Sweeping):
    """The stages, the lease and the runs of one database."""

    def __init__(  # noqa: PLR0913 -- all but the first keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        holds: Holds,
        tenants: Callable[[], Awaitable[Sequence[Tenant]]],
        settle: Callable[[Tenant], Awaitable[bool]] = nothing_to_settle,
        policy: Callable[..., Awaitable[int]] = no_policy,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` raises ServiceError while the database, or a clock, may not be relied on."""
        self._check = check
        self._settings = settings
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._tenants = tenants
        seconds = settings.store_timeout_seconds
        self.leases = Leases(
            database,
            metrics=metrics,
            timeout_seconds=seconds,
            lease_seconds=settings.lease_seconds,
        )
        self.runs = Runs(database, self.leases, clock=clock, metrics=metrics, timeout_seconds=seconds)
        self.sweep = Sweep(
            stages(database, holds, clock=clock, metrics=metrics, seconds=seconds),
            tenants,
            clock,
            settle,
            policy,
        )

    @override
    def pace(self, *, budget: bool, stopping: Callable[[], bool] = lambda: False) -> Pace:
        seconds = self._settings.retention_budget_seconds
        return Pace(
            self._settings.retention_batch,
            self._settings.retention_rest,
            seconds if budget else None,
            stopping,
        )

    @override
    async def run(
        self,
        *,
        tenant: Tenant | None = None,
        every: timedelta | None = None,
        pace: Pace,
        metrics: RetentionMetrics,
    ) -> list[Receipt] | None:
        lease = await self.leases.take(SWEEP_LEASE, every=every)
        if lease is None:
            return None
        metrics.lease(changed=lease.changed)
        started, receipts = perf_counter(), None
        try:
            receipts = await self.sweep.run(
                MongoLeasedRuns(self.runs, self.leases, lease, self._check),
                tenant=tenant,
                pace=pace,
                report=metrics.deleted,
            )
        except LeaseLost:
            metrics.run("lost", perf_counter() - started)
            raise
        except ServiceError:
            metrics.run("failed", perf_counter() - started)
            raise
        except Stopped:
            metrics.run("stopped", perf_counter() - started)
            return None
        finally:
            await self.leases.release(lease, done=receipts is not None)
        complete = all(one.complete for one in receipts)
        metrics.run("complete" if complete else "out-of-time", perf_counter() - started)
        if complete and tenant is None:
            metrics.succeeded(receipts[-1].ended_at)
        return receipts

    @override
    async def holding(self) -> LeaseHolder | None:
        return await self.leases.holding(SWEEP_LEASE)

    @override
    async def plan(self, tenants: Iterable[Tenant] | None = None) -> SweepPlan:
        visited = await self._tenants() if tenants is None else tenants
        return await self.sweep.plan(visited, pace=self.pace(budget=False))

    @override
    async def backlog(self) -> Backlog:
        return await backlog(
            self._database,
            runs=self.runs,
            tenants=await self._tenants(),
            now=self._clock(),
            metrics=self._metrics,
            seconds=self._settings.store_timeout_seconds,
        )

    @override
    async def receipts(self, *, tenant: str = "", newest: int | None = None) -> list[Receipt]:
        return await self.runs.receipts(tenant=tenant, newest=newest)

    @override
    async def verify(self) -> tuple[Link, str | None]:
        return await self.runs.verify()

    @override
    def compact(self) -> AsyncIterator[Compacted]:
        return compact(self._database, metrics=self._metrics)
