"""Numbers for changes: written with their place in MongoDB's log, under the lease, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pymongo import UpdateOne

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.changes.blocks import LOG, blocks_of, by_tenant, position_in
from store.mongo.driver.transaction import run as transaction
from store.mongo.indexes import CHANGE_STATE, CHANGES, TENANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from store.changes.kinds import Kind
    from store.metrics import StoreMetrics
    from store.mongo.changes.blocks import Entry
    from store.mongo.changes.place import Place
    from store.mongo.driver.client import Database, Session
    from store.mongo.driver.transaction import OpenTransaction
    from store.mongo.retention.lease import Lease, Leases

_MOVED: Final = Issue("transient", "the place in the log has moved on; it is read again")


class Numbering:
    """Writes changes as blocks."""

    def __init__(  # noqa: PLR0913 -- all but two keyword-only
        self,
        database: Database,
        leases: Leases,
        *,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        seconds: float,
        lasting: timedelta,
    ) -> None:
        self._database = database
        self._leases = leases
        self._clock = clock
        self._metrics = metrics
        self._seconds = seconds
        self._lasting = lasting

    async def keep(
        self, lease: Lease, entries: Sequence[Entry], before: Place, place: Place, *, scanned: bool
    ) -> list[Kind]:
        """Write changes with their numbers, and the place behind them; all or nothing.

        Raises LeaseLost; ServiceError `unavailable` when the place before them is not the one that was read:
        they may have their numbers already, by a commit that was not answered.
        """
        found, now = by_tenant(entries), self._clock()

        async def work(session: Session) -> list[Kind]:
            return await self._number(found, now, session, scanned=scanned)

        async def attempt(transaction: OpenTransaction) -> list[Kind]:
            await transaction.run(lambda session: self._leases.confirm(lease, session))
            await transaction.run(lambda session: self._move(before, place, session))
            return await transaction.run(work) if found else []

        return await transaction(
            self._database.client,
            attempt,
            metrics=self._metrics,
            seconds=self._seconds,
            session=lease.session,
        )

    async def _move(self, before: Place, place: Place, session: Session) -> None:
        there = {"_id": LOG, "token": before.token, "start": before.start}
        moved = {"$set": place._asdict()}
        done = await self._database[CHANGE_STATE].update_one(there, moved, session=session)
        if not done.matched_count:
            raise ServiceError(Category.UNAVAILABLE, _MOVED)

    async def _number(
        self, found: Mapping[str, Sequence[Entry]], now: datetime, session: Session, *, scanned: bool
    ) -> list[Kind]:
        """Give numbers to the changes of each tenant that is open."""
        names, database = list(found), self._database
        closing = {"_id": {"$in": names}, "closed_at": {"$ne": None}}
        closed = {one["_id"] async for one in database[TENANTS].find(closing, {"_id": 1}, session=session)}
        cursor = database[CHANGE_STATE].find({"_id": {"$in": names}}, session=session)
        heads = {one["_id"]: one async for one in cursor}
        blocks, until = [], now + self._lasting
        for name in names:
            if name not in closed:
                behind = position_in(heads.get(name))
                blocks += blocks_of(name, found[name], behind, now=now, until=until, scanned=scanned)
        if not blocks:
            return []
        newest = {one["tenant"]: {"number": one["last"], "mark": one["mark"]} for one in blocks}
        moved = [UpdateOne({"_id": name}, {"$set": head}, upsert=True) for name, head in newest.items()]
        await database[CHANGES].insert_many(blocks, session=session)
        await database[CHANGE_STATE].bulk_write(moved, ordered=False, session=session)
        return [one.kind for name in names if name not in closed for one in found[name]]
