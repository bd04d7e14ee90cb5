"""The changes of a tenant's resources, in order and durable: a port for readers, one for the process that
follows MongoDB's log.

commit ─▶ MongoDB's change stream ─▶ follower (a process, by lease) ─▶ blocks of numbered changes ─▶ readers

A change is an id and what became of it; nothing else of a resource is in it. Each tenant's changes have
numbers without a gap. A reader goes on from the position behind the last change that it has dealt with, on
any replica. `docs/changes.md` says what is promised.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from store.changes.kinds import GOING, Kind
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from store.changes.metrics import ChangeMetrics
    from store.tenancy import Tenant


class Change(NamedTuple):
    """Change of one resource."""

    number: int
    """Number among the changes of its tenant, from 1 on, without a gap."""
    key: ResourceKey
    version: int
    """Version that became current; of what was erased or expired the last one."""
    kind: Kind
    at: datetime
    """Moment of the version (`meta.lastUpdated`), or of the deletion."""
    mark: int = 0
    """Mark of its block."""
    scanned: bool = False
    """Whether a scan found it, because MongoDB's log no longer reached back far enough: it may have been told
    before, and versions between that one and this may not."""
    quiet: bool = False
    """Whether it was stored quietly, as by a backfill: subscribers who did not know of it are not told."""

    @property
    def position(self) -> Position:
        """Position behind this change."""
        return Position(self.number, self.mark)


class Position(NamedTuple):
    """Place behind a change, from which reading goes on. `positions` writes it as a token."""

    number: int
    """Number of the change; 0: before the first."""
    mark: int = 0
    """Random number of the block that has the change: another history of the same tenant, as a restored
    backup brings it back, has another one. 0: not known, and not compared."""


START: Final = Position(0)
"""Position before the first change."""


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes behind a position, in order, and the position behind the last of them."""

    changes: tuple[Change, ...]
    position: Position


class PositionLost(Exception):  # noqa: N818 -- no error of ours: the reader has to begin anew
    """Raised for a position that cannot be gone on from: what follows it is no longer kept, or it belongs to
    another history of the tenant. The reader reads all that is current, then goes on from `head`.
    """


class Changes(Protocol):
    """The changes of tenants, for whoever wants to hear of them."""

    async def head(self, tenant: Tenant) -> Position:
        """Position behind the newest change."""

    async def read(self, tenant: Tenant, after: Position, *, limit: int) -> ChangePage:
        """Changes behind a position, the oldest first; none, and the same position, when there are none yet.

        They are as they happened: `readable` says which of them still may be told. Raises PositionLost.
        """

    async def wait(self, after: Mapping[Tenant, Position], *, seconds: float) -> frozenset[Tenant]:
        """Tenants that have changes behind their positions; waits for the first of them, at most so long.

        Cheap for many waiters: a process asks the database once for all of them.
        """

    def wake(self) -> None:
        """Let all who wait go, with nothing: the process ends."""

    async def readable(self, tenant: Tenant, keys: Collection[ResourceKey]) -> frozenset[ResourceKey]:
        """Keys whose resources are there now: neither expired, erased nor unknown. Deleted ones are there,
        for their history is.

        Of all others only changes of `GOING` kinds may be told: nothing of an erased patient leaves the house
        once its erasure is durable, however late somebody reads.
        """


def may_be_told(change: Change, readable: Collection[ResourceKey]) -> bool:
    """Whether a change may be told, by the keys that are readable now (`Changes.readable`)."""
    return change.kind in GOING or change.key in readable


class ChangeFollower(Protocol):
    """The process that follows MongoDB's log and numbers what it finds: one of all replicas, by lease."""

    async def follow(self, stopping: Callable[[], bool], told: ChangeMetrics) -> bool:
        """Follow the log, if no other process does, until `stopping` or until another took over.

        False, at once, when another process follows it. Raises ServiceError when the database is away: call
        again.
        """

    async def behind(self) -> float:
        """Seconds since the moment up to which the feed is complete, whoever follows the log."""
