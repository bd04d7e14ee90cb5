"""Leases: of several replicas one works. Each that takes one over has a higher fence than those before.

leases  _id (name), holder, until, fence, session, started_at, released, holds: how many were placed so far

All moments are those of the database's clock (`$$NOW`): the clocks of replicas may differ.

A holder may be frozen and wake up at any moment: `confirm`, within the transaction of a batch, lets only the
latest fence through, and a takeover meanwhile is a write conflict with that transaction.
"""

from __future__ import annotations

import os
import re
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
    from collections.abc import Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session

_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NOW: Any = "$$NOW"
"""Expression of the present; tests let it run ahead."""
_MILLISECOND: Final = timedelta(milliseconds=1)
_FAR: Final = timedelta(hours=2)
"""Time for which no setting makes a lease last: one that says so was taken before the clock was set back."""


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
        metrics: StoreMetrics,
        timeout_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._client = database.client
        self._metrics = metrics
        self._seconds = timeout_seconds
        self._lasting = timedelta(seconds=lease_seconds)
        self._leases: Collection = durable(database, LEASES)
        self._plain: Collection = database[LEASES]
        self._me = f"{_process(os.getpid())}{uuid4().hex[:8]}"

    async def take(self, name: str, *, every: timedelta | None = None) -> Lease | None:
        """The lease, when nobody holds it and, with `every`, its last work began so long ago.

        Work that was broken off is due at once. None: it is not for us, now.
        """
        session = await self._client.start_session()
        try:
            with guarded(self._metrics, "take_lease", seconds=self._seconds):
                before = await self._look(name, every)
                if before is not None and not before["free"]:
                    taken = None
                else:
                    await self._end_transaction_of(before)
                    taken = await self._take(name, before, session)
        except BaseException:
            await session.end_session()
            raise
        if taken is None:
            await session.end_session()
            return None
        changed = before is not None and not str(before["holder"]).startswith(self._me)
        return Lease(name, taken["holder"], taken["fence"], changed, session)

    async def _look(self, name: str, every: timedelta | None) -> Mapping[str, Any] | None:
        """The lease as it is; `free`: whether it may be taken now."""
        told = {"free": _is_free(every), "held": _is_held()}
        stages: list[dict[str, Any]] = [{"$match": {"_id": name}}, {"$set": told}]
        found = await self._leases.aggregate(stages).to_list(1)
        return found[0] if found else None

    async def _take(
        self, name: str, before: Mapping[str, Any] | None, session: Session
    ) -> Mapping[str, Any] | None:
        own = {
            "holder": {"$literal": f"{self._me}/{uuid4().hex[:8]}"},
            "until": self._until,
            "session": {"$literal": _id_of(session)},
            "started_at": _NOW,
            "released": False,
            "fence": {"$add": [{"$ifNull": ["$fence", 0]}, 1]},
        }
        same: dict[str, Any] = {"_id": name, "fence": {"$exists": False}}
        if before is not None:
            same = {"_id": name, "fence": before["fence"], "until": before["until"]}
        try:
            taken: Mapping[str, Any] | None = await self._leases.find_one_and_update(
                same, [{"$set": own}], upsert=before is None, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:
            return None
        return taken

    @property
    def _until(self) -> dict[str, Any]:
        """End of a lease that is taken, or renewed, now."""
        return {"$add": [_NOW, int(self._lasting / _MILLISECOND)]}

    async def _end_transaction_of(self, before: Mapping[str, Any] | None) -> None:
        """End what a frozen holder may have left open: it would keep us waiting for a minute."""
        if before is None or before["released"]:
            return
        try:
            await self._client.admin.command("killSessions", [{"id": Binary.from_uuid(before["session"])}])
        except OperationFailure:
            return  # Not allowed here: then MongoDB ends it after its own minute.

    async def confirm(self, lease: Lease, session: Session) -> None:
        """Renew the lease, as first step of a transaction: that takes effect only while the lease is ours.

        Raises LeaseLost.
        """
        done = await self._plain.update_one(lease.key, [{"$set": {"until": self._until}}], session=session)
        if not done.matched_count:
            raise LeaseLost

    async def renew(self, lease: Lease) -> None:
        """Keep it while nothing is deleted. Raises LeaseLost."""
        with guarded(self._metrics, "renew_lease", seconds=self._seconds):
            done = await self._leases.update_one(lease.key, [{"$set": {"until": self._until}}])
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

    async def free(self, pid: int) -> None:
        """End what a process of this machine holds, which is over: nobody has to wait for that.

        `DECISIONS.md#freed-leases`.
        """
        held = {"holder": {"$regex": f"^{re.escape(_process(pid))}"}}
        with guarded(self._metrics, "free_leases", seconds=self._seconds):
            await self._leases.update_many(held, {"$set": {"until": _LONG_AGO}})

    async def holding(self, name: str) -> LeaseHolder | None:
        """Process that has a lease now; None: nobody has it."""
        with guarded(self._metrics, "lease", seconds=self._seconds):
            found = await self._look(name, None)
        if found is None or not found["held"]:
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

    @override
    async def free(self, pid: int) -> None:
        await self._leases.free(pid)


def _process(pid: int) -> str:
    """Beginning of the name of a holder, by its process."""
    return f"{socket.gethostname()}:{pid}:"


def _id_of(session: Session) -> object:
    # Motor's stubs call this property a method.
    return cast("dict[str, object]", session.session_id)["id"]


def _is_held() -> dict[str, Any]:
    """Expression: whether somebody has it now."""
    far = {"$add": [_NOW, int(_FAR / _MILLISECOND)]}
    return {"$and": [{"$gt": ["$until", _NOW]}, {"$lte": ["$until", far]}]}


def _is_free(every: timedelta | None) -> dict[str, Any]:
    """Expression: whether it may be taken now, its work being due."""
    due: Any = True
    if every is not None:
        since = {"$subtract": [_NOW, int(every / _MILLISECOND)]}
        # Begun in the future: the clock was set back, and nobody knows how long ago that is.
        due = {
            "$or": [{"$not": ["$released"]}, {"$lte": ["$started_at", since]}, {"$gt": ["$started_at", _NOW]}]
        }
    return {"$and": [{"$not": [_is_held()]}, due]}
