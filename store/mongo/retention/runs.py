"""Runs and their receipts: every batch, with its exact counts, is one transaction under the lease's fence.

runs        _id, kind, lease, state open|closed, started_at, as_of, position, takeovers …
run_counts  _id "run/deleted|skipped/…", run, kept, tenant, policy, type, reason, count; until the receipt
receipts    _id (running number), everything of `store.retention.receipts.Receipt`
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

from pymongo import UpdateOne

from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.driver.transaction import run as transaction
from store.mongo.indexes import RECEIPTS, RUN_COUNTS, RUNS
from store.retention.receipts import FIRST, Counted, Link, Receipt, fault
from store.retention.runs import Batch, Row, Run, RunKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.driver.transaction import OpenTransaction
    from store.mongo.retention.lease import Lease, Leases
    from store.retention.runs import Counts

_OPEN: Final = "open"
T = TypeVar("T")


class Runs:
    """Begin, batch, close; each takes effect only under the lease it is given."""

    def __init__(
        self,
        database: Database,
        leases: Leases,
        *,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        timeout_seconds: float,
    ) -> None:
        self._client = database.client
        self._leases = leases
        self._clock = clock
        self._metrics = metrics
        self._seconds = timeout_seconds
        self._runs: Collection = database[RUNS]
        self._counts: Collection = database[RUN_COUNTS]
        self._receipts: Collection = database[RECEIPTS]
        self._kept: Collection = durable(database, RECEIPTS)

    async def begin(
        self,
        lease: Lease,
        kind: RunKind,
        *,
        tenant: str = "",
        subject: str = "",
        reason: str = "",
    ) -> Run:
        """A new run; or, as it is, the one that was broken off under a lease of this name."""
        now = _milliseconds(self._clock())

        async def work(session: Session) -> Run:
            found: Mapping[str, Any] | None = await self._runs.find_one_and_update(
                {"lease": lease.name, "state": _OPEN},
                {"$inc": {"takeovers": 1}, "$set": {"fence": lease.fence}},
                return_document=True,
                session=session,
            )
            if found is not None:
                return _run(found)
            document: dict[str, Any] = {
                "_id": uuid4().hex,
                "kind": kind.value,
                "lease": lease.name,
                "state": _OPEN,
                "fence": lease.fence,
                "started_at": now,
                "as_of": now,
                "tenant": tenant,
                "subject": subject,
                "reason": reason,
                "position": None,
                "takeovers": 0,
            }
            await self._runs.insert_one(document, session=session)
            return _run(document)

        return await self._fenced(lease, work)

    async def batch(self, lease: Lease, run: Run, work: Callable[[Session], Awaitable[Batch]]) -> Batch:
        """Do the work and count it, or nothing of both. The work may be done again: it starts from what is.

        Raises LeaseLost.
        """

        async def counted(session: Session) -> Batch:
            done = await work(session)
            operations = [
                UpdateOne(
                    {"_id": "/".join((run.id, kept, *map(str, row)))},
                    {
                        "$inc": {"count": count},
                        "$setOnInsert": {"run": run.id, "kept": kept, **row._asdict()},
                    },
                    upsert=True,
                )
                for kept, counts in (("deleted", done.deleted), ("skipped", done.skipped))
                for row, count in counts.items()
                if count
            ]
            if operations:
                await self._counts.bulk_write(operations, ordered=False, session=session)
            if done.position is not None:
                moved = {"$set": {"position": done.position}}
                await self._runs.update_one({"_id": run.id}, moved, session=session)
            return done

        return await self._fenced(lease, counted)

    async def close(self, lease: Lease, run: Run, *, complete: bool = True) -> Receipt:
        """End the run with its receipt, the next of the chain; both or nothing. Raises LeaseLost."""
        ended_at = _milliseconds(self._clock())

        async def work(session: Session) -> Receipt:
            last = await self._receipts.find_one({}, sort=[("_id", -1)], session=session)
            rows = await self._counts.find({"run": run.id}, session=session).to_list(None)
            receipt = Receipt(
                number=1 if last is None else last["_id"] + 1,
                run=run.id,
                kind=run.kind,
                tenant=run.tenant,
                subject=run.subject,
                reason=run.reason,
                started_at=run.started_at,
                as_of=run.as_of,
                ended_at=ended_at,
                complete=complete,
                takeovers=run.takeovers,
                rows=_counted(rows, "deleted"),
                skipped=_counted(rows, "skipped"),
                previous=FIRST if last is None else last["hash"],
            ).sealed()
            # Of two runs that end at once one meets a duplicate key, and takes the next number.
            await self._receipts.insert_one(_document(receipt), session=session)
            closed = {"state": "closed", "ended_at": ended_at, "receipt": receipt.number}
            await self._runs.update_one({"_id": run.id}, {"$set": closed}, session=session)
            await self._counts.delete_many({"run": run.id}, session=session)
            return receipt

        return await self._fenced(lease, work)

    async def _fenced(self, lease: Lease, work: Callable[[Session], Awaitable[T]]) -> T:
        async def attempt(transaction: OpenTransaction) -> T:
            await transaction.run(lambda session: self._leases.confirm(lease, session))
            return await transaction.run(work)

        return await transaction(
            self._client, attempt, metrics=self._metrics, seconds=self._seconds, session=lease.session
        )

    async def counts(self, run: Run) -> Counts:
        """Counts of what an open run has deleted so far."""
        with guarded(self._metrics, "run_counts", seconds=self._seconds):
            rows = await self._counts.find({"run": run.id}).to_list(None)
        return {one.row: one.count for one in _counted(rows, "deleted")}

    # --- receipts

    async def receipts(self, *, tenant: str = "", newest: int | None = None) -> list[Receipt]:
        """Oldest first; of one tenant those that say something of it."""
        wanted: dict[str, Any] = {}
        if tenant:
            wanted = {"$or": [{"tenant": tenant}, {"rows.tenant": tenant}, {"skipped.tenant": tenant}]}
        with guarded(self._metrics, "receipts", seconds=self._seconds):
            found = await self._kept.find(wanted, sort=[("_id", -1)], limit=newest or 0).to_list(None)
        return [_receipt(one) for one in reversed(found)]

    async def last(self, kind: RunKind, *, complete: bool = True) -> Receipt | None:
        """The newest receipt of a run of this kind over all tenants; None: there was none."""
        wanted = {"kind": kind.value, "tenant": "", "complete": complete}
        with guarded(self._metrics, "last_receipt", seconds=self._seconds):
            found = await self._kept.find_one(wanted, sort=[("_id", -1)])
        return None if found is None else _receipt(found)

    async def verify(self) -> tuple[Link, str | None]:
        """The last link of the chain that holds, and what is wrong with the next, if anything is."""
        link = Link()
        async for receipt in self._each():
            wrong = fault(link, receipt)
            if wrong is not None:
                return link, wrong
            link = Link(receipt.number, receipt.hash)
        return link, None

    async def _each(self) -> AsyncIterator[Receipt]:
        with guarded(self._metrics, "verify_receipts", seconds=max(self._seconds, 300)):
            async for found in self._kept.find({}, sort=[("_id", 1)]):
                yield _receipt(found)


def _milliseconds(moment: datetime) -> datetime:
    """Moment cut to milliseconds, as MongoDB keeps it: what is hashed must be what is read back."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _run(document: Mapping[str, Any]) -> Run:
    return Run(
        id=document["_id"],
        kind=RunKind(document["kind"]),
        lease=document["lease"],
        started_at=document["started_at"],
        as_of=document["as_of"],
        tenant=document["tenant"],
        subject=document["subject"],
        reason=document["reason"],
        position=document["position"],
        takeovers=document["takeovers"],
    )


def _counted(rows: list[Mapping[str, Any]], kept: str) -> tuple[Counted, ...]:
    return tuple(sorted(_line(row) for row in rows if row["kept"] == kept))


def _line(row: Mapping[str, Any]) -> Counted:
    return Counted(Row(row["tenant"], row["policy"], row["type"], row["reason"]), row["count"])


def _document(receipt: Receipt) -> dict[str, Any]:
    return {
        "_id": receipt.number,
        "run": receipt.run,
        "kind": receipt.kind.value,
        "tenant": receipt.tenant,
        "subject": receipt.subject,
        "reason": receipt.reason,
        "started_at": receipt.started_at,
        "as_of": receipt.as_of,
        "ended_at": receipt.ended_at,
        "seconds": receipt.seconds,
        "complete": receipt.complete,
        "takeovers": receipt.takeovers,
        "rows": [{**one.row._asdict(), "count": one.count} for one in receipt.rows],
        "skipped": [{**one.row._asdict(), "count": one.count} for one in receipt.skipped],
        "previous": receipt.previous,
        "hash": receipt.hash,
    }


def _receipt(document: Mapping[str, Any]) -> Receipt:
    return Receipt(
        number=document["_id"],
        run=document["run"],
        kind=RunKind(document["kind"]),
        tenant=document["tenant"],
        subject=document["subject"],
        reason=document["reason"],
        started_at=document["started_at"],
        as_of=document["as_of"],
        ended_at=document["ended_at"],
        complete=document["complete"],
        takeovers=document["takeovers"],
        rows=tuple(map(_line, document["rows"])),
        skipped=tuple(map(_line, document["skipped"])),
        previous=document["previous"],
        hash=document["hash"],
    )
