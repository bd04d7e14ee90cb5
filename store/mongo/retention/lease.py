"""Leases: of several replicas one works. Each that takes one over has a higher fence than those before.

leases  _id (name), holder, until, fence, session, started_at, released, holds: how many were placed so far

A holder may be frozen and wake up at any moment: `confirm`, within the transaction of a batch, lets only the
latest fence through, and a takeover meanwhile is a write conflict with that transaction.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import uuid4

from bson import Binary
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure
from typing_extensions import override

from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import LEASES
from store.retention.runs import LeaseLost
from store.retention.sweeping import JobLease, JobLeases, LeaseHolder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lease:
    """Right of this process to work, until somebody takes over."""

    name: str
    holder: str
    fence: int
    changed: bool
    """Whether another process held it before."""
    session: Session
    """Session of all transactions under this lease: who takes over ends the one that may be under way."""

    @property
    def key(self) -> dict[str, Any]:
        """Filter that its document matches while the lease holds."""
        return {"_id": self.name, "holder": self.holder, "fence": self.fence}


class Leases:
    """Leases by name, for one process."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        timeout_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._client = database.client
        self._clock = clock
        self._metrics = metrics
        self._seconds = timeout_seconds
        self._lasting = timedelta(seconds=lease_seconds)
        self._leases: Collection = durable(database, LEASES)
        self._plain: Collection = database[LEASES]
        self._me = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"

    async def take(self, name: str, *, every: timedelta | None = None) -> Lease | None:
        """The lease, when nobody holds it and, with `every`, its last work began so long ago.

        Work that was broken off is due at once. None: it is not for us, now.
        """
        now = self._clock()
        session = await self._client.start_session()
        try:
            with guarded(self._metrics, "take_lease", seconds=self._seconds):
                before = await self._leases.find_one({"_id": name})
                if before is not None and not _free(before, now, every):
                    taken = None
                else:
                    await self._end_transaction_of(before)
                    taken = await self._take(name, before, session, now)
        except BaseException:
            await session.end_session()
            raise
        if taken is None:
            await session.end_session()
            return None
        changed = before is not None and not str(before["holder"]).startswith(self._me)
        return Lease(name, taken["holder"], taken["fence"], changed, session)

    async def _take(
        self, name: str, before: Mapping[str, Any] | None, session: Session, now: datetime
    ) -> Mapping[str, Any] | None:
        own = {
            "holder": f"{self._me}/{uuid4().hex[:8]}",
            "until": now + self._lasting,
            "session": _id_of(session),
            "started_at": now,
            "released": False,
        }
        if before is None:
            try:
                await self._leases.insert_one({"_id": name, "fence": 1, **own})
            except DuplicateKeyError:
                return None
            return {"fence": 1, **own}
        same = {"_id": name, "fence": before["fence"], "until": before["until"]}
        change = {"$set": own, "$inc": {"fence": 1}}
        taken: Mapping[str, Any] | None = await self._leases.find_one_and_update(
            same, change, return_document=ReturnDocument.AFTER
        )
        return taken

    async def _end_transaction_of(self, before: Mapping[str, Any] | None) -> None:
        """End what a frozen holder may have left open: it would keep us waiting for a minute."""
        if before is None or before["released"]:
            return
        try:
            await self._client.admin.command("killSessions", [{"id": Binary.from_uuid(before["session"])}])
        except OperationFailure:
            return  # Not allowed here: then MongoDB ends it after its own minute.

    async def confirm(self, lease: Lease, session: Session) -> None:
        """First step of a transaction: it takes effect only if the lease is still ours. Renews it, too."""
        until = {"$set": {"until": self._clock() + self._lasting}}
        done = await self._plain.update_one(lease.key, until, session=session)
        if not done.matched_count:
            raise LeaseLost

    async def renew(self, lease: Lease) -> None:
        """Keep it while nothing is deleted. Raises LeaseLost."""
        with guarded(self._metrics, "renew_lease", seconds=self._seconds):
            until = {"$set": {"until": self._clock() + self._lasting}}
            done = await self._leases.update_one(lease.key, until)
        if not done.matched_count:
            raise LeaseLost

    async def holds(self, lease: Lease, session: Session | None = None) -> int:
        """Number of holds placed so far (`store.mongo.retention.holds`), as this session's batch sees it.

        Who places one writes to this document, which a batch has written to first: it waits for the batch.
        """
        if session is not None:
            found = await self._plain.find_one({"_id": lease.name}, {"holds": 1}, session=session)
        else:
            with guarded(self._metrics, "lease_holds", seconds=self._seconds):
                found = await self._leases.find_one({"_id": lease.name}, {"holds": 1})
        return int(found.get("holds", 0)) if found else 0

    async def release(self, lease: Lease, *, done: bool) -> None:
        """Give it back; work that is not done is for anybody to go on with, at once."""
        try:
            with guarded(self._metrics, "release_lease", seconds=self._seconds):
                free = {"$set": {"until": _LONG_AGO, "released": done}}
                await self._leases.update_one(lease.key, free)
        finally:
            await lease.session.end_session()

    async def holding(self, name: str) -> LeaseHolder | None:
        """Process that has a lease now; None: nobody has it."""
        with guarded(self._metrics, "lease", seconds=self._seconds):
            found = await self._leases.find_one({"_id": name})
        if found is None or found["until"] <= self._clock():
            return None
        return LeaseHolder(found["holder"], found["until"])


@dataclass(frozen=True, slots=True)
class _MongoJobLease(JobLease):
    leases: Leases
    lease: Lease

    @override
    async def renew(self) -> None:
        await self.leases.renew(self.lease)

    @override
    async def release(self, *, done: bool) -> None:
        await self.leases.release(self.lease, done=done)


class MongoJobLeases(JobLeases):
    """Leases of jobs other than the sweep, by its rules."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases

    @override
    async def take(self, name: str, *, every: timedelta) -> JobLease | None:
        lease = await self._leases.take(name, every=every)
        return None if lease is None else _MongoJobLease(self._leases, lease)


def _id_of(session: Session) -> object:
    # Motor's stubs call this property a method.
    return cast("dict[str, object]", session.session_id)["id"]


def _free(before: Mapping[str, Any], now: datetime, every: timedelta | None) -> bool:
    if before["until"] > now:
        return False
    broken_off = not before["released"]
    return broken_off or every is None or bool(before["started_at"] <= now - every)
