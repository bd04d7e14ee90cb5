"""The ports of whoever sweeps, on a timer or by hand, and of jobs that only one replica does at a time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from datetime import timedelta

    from store.retention.metrics import RetentionMetrics
    from store.retention.receipts import Link, Receipt
    from store.retention.sweep import Pace, SweepPlan
    from store.tenancy import Tenant


class LeaseHolder(NamedTuple):
    """Process that has a lease."""

    holder: str
    until: datetime


class Backlog(NamedTuple):
    """Documents that wait for the sweep at one moment."""

    documents: int
    """Count, up to a bound for each collection."""
    oldest_seconds: float
    succeeded_at: datetime | None
    """End of the last complete run."""


class Compacted(NamedTuple):
    """Sizes of a collection with its indexes, on the member that was asked."""

    collection: str
    before: int
    after: int
    """Bytes on disk."""


class Sweeping(Protocol):
    """The sweep as the scheduler and the command line call it."""

    def pace(self, *, budget: bool, stopping: Callable[[], bool] = lambda: False) -> Pace:
        """Pace of a run, as the settings say; by hand there is no budget."""

    async def run(
        self,
        *,
        tenant: Tenant | None = None,
        every: timedelta | None = None,
        pace: Pace,
        metrics: RetentionMetrics,
    ) -> list[Receipt] | None:
        """Sweep, if the lease is free and, with `every`, it is time. None: it is not for us, or we end.

        Raises LeaseLost when another process took over: it goes on with the run.
        """

    async def holding(self) -> LeaseHolder | None:
        """Process that is sweeping now; None: no process is."""

    async def plan(self, tenants: Iterable[Tenant] | None = None) -> SweepPlan:
        """Counts that a run would delete now, and that it would pass over; None: of all that it visits."""

    async def backlog(self) -> Backlog:
        """Documents that wait for the sweep."""

    async def receipts(self, *, tenant: str = "", newest: int | None = None) -> Sequence[Receipt]:
        """Receipts, oldest first; with a tenant those that say something of it."""

    async def verify(self) -> tuple[Link, str | None]:
        """Last link of the chain of receipts that holds, and what is wrong with the next, if anything is."""

    def compact(self) -> AsyncIterator[Compacted]:
        """Give disk back, collection by collection."""


class JobLease(Protocol):
    """Right of this process to do a job, until another one takes over."""

    async def renew(self) -> None:
        """Keep the lease. Raises LeaseLost."""

    async def release(self, *, done: bool) -> None:
        """Give the lease back; a job that is not done is for anybody to go on with, at once."""


class JobLeases(Protocol):
    """Leases by name: of all replicas one does the job."""

    async def take(self, name: str, *, every: timedelta) -> JobLease | None:
        """Lease of a job; None: another process has it, or the job was begun less than this long ago."""

    async def free(self, pid: int) -> None:
        """Let others have at once what a process of this machine held, which ended without giving it back."""
