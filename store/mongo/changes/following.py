"""The follower: reads MongoDB's log, writes what it finds as numbered blocks. One of all replicas, by lease.

A batch of the log, the numbers that it takes, and the place behind it are written in one transaction that
begins with the lease: a crash loses and doubles nothing, and a process that was frozen writes nothing more.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import OperationFailure, PyMongoError
from typing_extensions import override

from store.changes.changes import ChangeFollower
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.changes.blocks import LOG
from store.mongo.changes.log import WAIT_MILLISECONDS, Log, LogLost
from store.mongo.changes.numbering import Numbering
from store.mongo.changes.place import Place, begin, operation_time
from store.mongo.changes.scanning import Scan, departed, entry_of
from store.mongo.driver.circuit_breaker import LOST
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded, translate
from store.mongo.indexes import CHANGE_STATE, DEPARTURES
from store.mongo.retention.lease import Leases
from store.retention.runs import LeaseLost
from store.retrying import pause_behind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from store.changes.metrics import ChangeMetrics
    from store.metrics import StoreMetrics
    from store.mongo.changes.blocks import Entry
    from store.mongo.changes.log import LogBatch
    from store.mongo.driver.client import Database
    from store.mongo.retention.lease import Lease
    from store.settings import StoreSettings
    from store.tenancy import Tenant

LOGGER: Final = logging.getLogger("store.changes")
LEASE: Final = "changes"
LEASE_SECONDS: Final = 3.5
"""Time for which a follower that stands still keeps others from taking over: with their looks, five seconds.
"""
KEEP_SECONDS: Final = 1.0
"""Pause between two notes of the place, while nothing happens; each renews the lease."""
PACE_SECONDS: Final = 0.2
"""Time from one read to the next: what comes meanwhile shares a transaction."""
BUSY_SECONDS: Final = 0.6
"""The same while much happens: a transaction costs as much as some hundred of its changes, and what is read
together is one notification for each subscriber. Who waits for a change has it within a second.
"""
MUCH: Final = 20
"""Events of one read from which on much happens."""
BATCH: Final = 1_000
"""Most events of one batch."""
_CUT: Final = frozenset({43, 237, 11601})
"""CursorNotFound, CursorKilled, Interrupted: the stream was ended, and can be opened again."""
_CUT_OFF: Final = Issue("transient", "the database ended a stream; try again")
_HANGING: Final = Issue("timeout", "the database did not answer in time")


class MongoChangeFollower(ChangeFollower):
    """The follower of one database."""

    def __init__(  # noqa: PLR0913 -- all but one keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        tenants: Callable[[], Awaitable[Sequence[Tenant]]],
        hear: Callable[[], None] = lambda: None,
    ) -> None:
        """`hear` is called whenever this process has put something into the feed."""
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._tenants = tenants
        self._hear = hear
        self._seconds = settings.store_timeout_seconds
        self._horizon = timedelta(seconds=settings.horizon_seconds)
        self._leases = Leases(
            database,
            metrics=metrics,
            timeout_seconds=self._seconds,
            lease_seconds=LEASE_SECONDS,
        )
        self._numbering = Numbering(
            database,
            self._leases,
            clock=clock,
            metrics=metrics,
            seconds=self._seconds,
            lasting=timedelta(days=settings.changes_days),
        )
        self._scan = Scan(database, metrics=metrics, seconds=self._seconds)
        self._state = majority(database, CHANGE_STATE)
        self._departures = majority(database, DEPARTURES)

    # --- the loop

    @override
    async def follow(self, stopping: Callable[[], bool], told: ChangeMetrics) -> bool:
        lease = await self._leases.take(LEASE)
        if lease is None:
            return False
        told.following(following=True, changed=lease.changed)
        following = _Following(lease, Log(self._database), told)
        try:
            await self._follow(following, stopping)
        except LeaseLost:
            LOGGER.warning("another replica follows the log of MongoDB now")
        finally:
            told.following(following=False)
            following.close_log()
            following.threads.shutdown(wait=False)
            with suppress(ServiceError):  # It runs out by itself.
                await self._leases.release(lease, done=True)
        return True

    async def _follow(self, following: _Following, stopping: Callable[[], bool]) -> None:
        place, failures = None, count()
        while not stopping():
            try:
                if place is None:
                    place = following.before = await self._place()
                place = await self._step(following, place, stopping)
                failures = count()
            except ServiceError as error:
                # A primary that changes, or that starts again: the lease tells whether it is still ours.
                if error.category not in LOST:
                    raise
                place = None
                following.close_log()  # It would go on behind what was not kept.
                await asyncio.sleep(pause_behind(next(failures)))

    async def _step(self, following: _Following, place: Place, stopping: Callable[[], bool]) -> Place:
        """Read once, and note what was found."""
        if place.since is not None:
            return await self._scanned(following, place, stopping)
        asked, began = self._clock(), monotonic()
        try:
            batch = await self._read(following, place)
        except LogLost:
            return await self._lost(following, place)
        place = place._replace(token=batch.token, at=batch.complete(asked, limit=BATCH))
        if batch.events:
            await self._keep(following, await self._entries(batch.events), place)
            lag = self._clock() - batch.events[0]["wallTime"]
            following.told.told((), lag_seconds=lag.total_seconds())
        elif monotonic() - following.kept >= KEEP_SECONDS:
            await self._keep(following, (), place)
        if len(batch.events) < BATCH:  # Else there is more to catch up with.
            pace = BUSY_SECONDS if len(batch.events) >= MUCH else PACE_SECONDS
            await asyncio.sleep(max(0.0, began + pace - monotonic()))
        return place

    async def _read(self, following: _Following, place: Place) -> LogBatch:
        """The next batch of the log. Raises LogLost, or ServiceError when the database is away."""
        loop = asyncio.get_running_loop()
        work = partial(following.log.read, place.resume, limit=BATCH)
        reading = loop.run_in_executor(following.threads, work)
        try:
            # The deadline is not the driver's: that would be the server's wait for events.
            return await asyncio.wait_for(asyncio.shield(reading), WAIT_MILLISECONDS / 1000 + self._seconds)
        except TimeoutError:
            reading.add_done_callback(_forgotten)
            following.leave(Log(self._database))
            raise ServiceError(Category.TIMEOUT, _HANGING) from None
        except PyMongoError as error:
            if isinstance(error, OperationFailure) and error.code in _CUT:
                raise ServiceError(Category.UNAVAILABLE, _CUT_OFF) from error
            raise translate(error) from error

    async def _place(self) -> Place:
        with guarded(self._metrics, "change_place", seconds=self._seconds):
            found = await self._state.find_one({"_id": LOG})
        if found is None:
            with guarded(self._metrics, "change_begin", seconds=self._seconds):
                await begin(self._database, now=self._clock())
            return await self._place()
        return Place(found["token"], found["start"], found["at"], found["since"])

    @override
    async def behind(self) -> float:
        with guarded(self._metrics, "change_place", seconds=self._seconds):
            found = await self._state.find_one({"_id": LOG}, {"at": 1})
        return 0.0 if found is None else (self._clock() - found["at"]).total_seconds()

    # --- events

    async def _entries(self, events: Sequence[Mapping[str, Any]]) -> list[Entry]:
        """Changes that events tell, in order. What was deleted without a note was a tombstone's end, or a
        tenant's that leaves.
        """
        gone = [one["documentKey"]["_id"] for one in events if one["operationType"] == "delete"]
        notes: dict[str, Mapping[str, Any]] = {}
        if gone:
            with guarded(self._metrics, "departures", seconds=self._seconds):
                found = await self._departures.find({"_id": {"$in": gone}}).to_list(None)
            notes = {one["_id"]: one for one in found}
        entries = []
        for one in events:
            document = one.get("fullDocument")
            if document is not None:
                entries.append(entry_of(document))
            elif one.get("documentKey", {}).get("_id") in notes:
                entries.append(departed(notes[one["documentKey"]["_id"]]))
        return entries

    async def _keep(
        self, following: _Following, entries: Sequence[Entry], place: Place, *, scanned: bool = False
    ) -> None:
        """Write changes with their numbers, and the place behind them; all or nothing. Raises LeaseLost."""
        assert following.before is not None  # noqa: S101 -- read before anything is kept
        kinds = await self._numbering.keep(following.lease, entries, following.before, place, scanned=scanned)
        following.kept, following.before = monotonic(), place
        if kinds:
            self._hear()
        following.told.told(kinds, lag_seconds=None)

    # --- without the log

    async def _lost(self, following: _Following, place: Place) -> Place:
        """Begin a scan: first note where the log goes on, so that nothing can fall between the two."""
        since = place.at - self._horizon
        LOGGER.warning(
            "the log of MongoDB no longer reaches back to where the change feed was, or a restore has put"
            " other resources in the place of all: they are scanned for what changed since; versions in"
            " between are not told",
            extra={"since": since.isoformat()},
        )
        following.told.scan()
        with guarded(self._metrics, "change_begin", seconds=self._seconds):
            start = await operation_time(self._database)
        place = Place(None, start, place.at, since)
        await self._keep(following, (), place)
        return place

    async def _scanned(self, following: _Following, place: Place, stopping: Callable[[], bool]) -> Place:
        """Scan to the end; a scan that is broken off begins again."""
        assert place.since is not None  # noqa: S101 -- asked before
        number, began = 0, self._clock()
        async for entries in self._scan.entries(await self._tenants(), place.since):
            if entries or monotonic() - following.kept >= KEEP_SECONDS:  # A long look keeps the lease, too.
                await self._keep(following, entries, place, scanned=True)
            number += len(entries)
            if stopping():
                return place
        place = place._replace(since=None, at=began)
        await self._keep(following, (), place)
        LOGGER.warning("the scan for the change feed is over", extra={"count": number})
        return place


class _Following:
    """A lease of the log while it lasts, and what is held under it."""

    def __init__(self, lease: Lease, log: Log, told: ChangeMetrics) -> None:
        self.lease = lease
        self.log = log
        self.told = told
        self.threads = _thread()
        self.kept = monotonic()
        """Moment of the last note, on the monotonic clock."""
        self.before: Place | None = None
        """Place that was noted last, or read."""

    def close_log(self) -> None:
        """Let the next read open the log anew."""
        self.threads.submit(self.log.close)

    def leave(self, log: Log) -> None:
        """Leave a thread that hangs to itself, and take another log."""
        self.threads.shutdown(wait=False)
        self.log, self.threads = log, _thread()


def _forgotten(reading: asyncio.Future[LogBatch]) -> None:
    """Look at what became of a read that nobody waits for any more, so that nobody is told of it."""
    if not reading.cancelled():
        reading.exception()


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="changes")
