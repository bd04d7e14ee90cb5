"""The sweep on MongoDB: its stages, its lease and its runs, tied together for whoever sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

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
from store.retention.sweep import Pace, Stopped, Sweep, nothing_to_settle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database, Session
    from store.mongo.retention.backlog import Waiting
    from store.mongo.retention.compaction import Compacted
    from store.mongo.retention.lease import Holding, Lease
    from store.retention.holds import Holds
    from store.retention.metrics import RetentionMetrics
    from store.retention.receipts import Receipt
    from store.retention.runs import Batch, Kind, Run
    from store.retention.sweep import Plan, Stage
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
    """In their order: what goes with something else comes behind it."""
    kwargs: dict[str, Any] = {"metrics": metrics, "seconds": seconds}
    needing = Needing(database, holds, clock=clock, **kwargs)
    files = OverdueFiles(database, needing, **kwargs)
    return (
        OverdueResources(database, needing, files, **kwargs),
        OverduePast(database, needing, files, **kwargs),
        letters(database, needing, **kwargs),
        LostPieces(database, needing, **kwargs),
        audits(database, needing, **kwargs),
        files,
    )


@dataclass(frozen=True, slots=True)
class Ledger:
    """The port: runs under one lease."""

    runs: Runs
    leases: Leases
    lease: Lease

    async def begin(self, kind: Kind, *, tenant: str) -> Run:
        """See the port."""
        return await self.runs.begin(self.lease, kind, tenant=tenant)

    async def batch(self, run: Run, work: Callable[[Any], Awaitable[Batch]]) -> Batch:
        """See the port."""
        return await self.runs.batch(self.lease, run, work)

    async def holds(self, session: Session | None = None) -> int:
        """See the port."""
        return await self.leases.holds(self.lease, session)

    async def renew(self) -> None:
        """See the port."""
        await self.leases.renew(self.lease)

    async def close(self, run: Run, *, complete: bool) -> Receipt:
        """See the port."""
        return await self.runs.close(self.lease, run, complete=complete)


class Sweeping:
    """What the scheduler and the command line call."""

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
    ) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._tenants = tenants
        seconds = settings.store_timeout_seconds
        self.leases = Leases(
            database,
            clock=clock,
            metrics=metrics,
            timeout_seconds=seconds,
            lease_seconds=settings.lease_seconds,
        )
        self.runs = Runs(database, self.leases, clock=clock, metrics=metrics, timeout_seconds=seconds)
        self.sweep = Sweep(
            stages(database, holds, clock=clock, metrics=metrics, seconds=seconds), tenants, clock, settle
        )

    def pace(self, *, budget: bool, stopping: Callable[[], bool] = lambda: False) -> Pace:
        """As the settings say; by hand there is no budget."""
        seconds = self._settings.retention_budget_seconds
        return Pace(
            self._settings.retention_batch,
            self._settings.retention_rest,
            seconds if budget else None,
            stopping,
        )

    async def run(
        self,
        *,
        tenant: Tenant | None = None,
        every: timedelta | None = None,
        pace: Pace,
        metrics: RetentionMetrics,
    ) -> list[Receipt] | None:
        """Sweep, if the lease is to be had and, with `every`, it is time; None: it is not for us, or we end.

        Raises LeaseLost when somebody took over: they go on with it.
        """
        lease = await self.leases.take(SWEEP_LEASE, every=every)
        if lease is None:
            return None
        metrics.lease(changed=lease.changed)
        started, receipts = perf_counter(), None
        try:
            receipts = await self.sweep.run(
                Ledger(self.runs, self.leases, lease), tenant=tenant, pace=pace, report=metrics.deleted
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

    async def holding(self) -> Holding | None:
        """Who is sweeping now."""
        return await self.leases.holding(SWEEP_LEASE)

    async def plan(self, tenants: Iterable[Tenant]) -> Plan:
        """What a run would delete now, and what it would pass over."""
        return await self.sweep.plan(tenants, pace=self.pace(budget=False))

    async def backlog(self) -> Waiting:
        """How much waits for the sweep."""
        return await backlog(
            self._database,
            runs=self.runs,
            tenants=await self._tenants(),
            now=self._clock(),
            metrics=self._metrics,
            seconds=self._settings.store_timeout_seconds,
        )

    def compact(self) -> AsyncIterator[Compacted]:
        """Give disk back, collection by collection."""
        return compact(self._database, metrics=self._metrics)
