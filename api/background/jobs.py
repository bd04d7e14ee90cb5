"""The jobs of a process of role `all` or `jobs`, as a table; `store.retention.schedule` runs it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from api.background.file_collection import collect_tenant
from store.errors import ServiceError
from store.retention.runs import LeaseLost
from store.retention.schedule import Job, Schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from api.settings.service import Settings
    from store.retention.metrics import RetentionMetrics
    from store.stores import Stores

LOG: Final = logging.getLogger("api.jobs")
LOOK_SECONDS: Final = 30.0
"""Pause between two looks whether it is time for one of us: one read of a small document."""
MEASURE_SECONDS: Final = 60.0
JITTER_SHARE: Final = 0.2
COLLECT_LEASE: Final = "collect-files"
COLLECT_EVERY: Final = timedelta(days=1)
EARLY: Final = 0.95
"""A job is due when nearly its interval has gone by since it began, so that looks do not push it back."""


class Jobs:
    """Jobs on a timer. Each begins with a lease, or changes nothing."""

    def __init__(
        self,
        stores: Stores,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        metrics: RetentionMetrics,
    ) -> None:
        self._stores = stores
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self.schedule = Schedule(
            [
                Job(name, seconds, seconds * JITTER_SHARE, _quietly(name, work))
                for name, seconds, work, wanted in (
                    ("retention-sweep", LOOK_SECONDS, self.sweep, settings.retention_interval_minutes > 0),
                    ("retention-backlog", MEASURE_SECONDS, self.measure, True),
                    ("collect-files", 10 * LOOK_SECONDS, self.collect_files, True),
                )
                if wanted
            ]
        )

    async def sweep(self) -> None:
        """Delete what has expired, if it is time and nobody else does."""
        await self._stores.fit()  # A run is about what has expired by this process's clock.
        sweeping = self._stores.sweeping
        receipts = await sweeping.run(
            every=timedelta(minutes=self._settings.retention_interval_minutes) * EARLY,
            pace=sweeping.pace(budget=True, stopping=lambda: self.schedule.stopping),
            metrics=self._metrics,
        )
        for receipt in receipts or ():
            LOG.info("swept", extra={"count": receipt.deleted, "duration_ms": receipt.seconds * 1000})

    async def measure(self) -> None:
        """Measure the backlog of the sweep."""
        waiting = await self._stores.sweeping.backlog()
        self._metrics.backlog(count=waiting.documents, oldest_seconds=waiting.oldest_seconds)
        if waiting.succeeded_at is not None:
            self._metrics.succeeded(waiting.succeeded_at)

    async def collect_files(self) -> None:
        """Remove files that no version ever referred to, once a day."""
        await self._stores.fit()
        lease = await self._stores.leases.take(COLLECT_LEASE, every=COLLECT_EVERY * EARLY)
        if lease is None:
            return
        done = False
        try:
            for one in await self._stores.access.tenants():
                if self.schedule.stopping:
                    return
                # Two at once would do no harm, so the lease need not be asked for each file.
                await lease.renew()
                await collect_tenant(self._stores, one.tenant, now=self._clock())
            done = True
        finally:
            await lease.release(done=done)


def _quietly(name: str, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """A job that fails is tried again at its next look; the store has counted why."""

    async def tried() -> None:
        try:
            await work()
        except LeaseLost:
            LOG.warning("another replica took over a job", extra={"job": name})
        except ServiceError as error:
            LOG.warning("a job failed", extra={"job": name, "category": error.category.value})

    return tried
