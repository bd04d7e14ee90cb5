"""`Outbox` on MongoDB: events numbered and kept in one transaction with the place in the feed behind them.

Each transaction first updates its lease under holder and fence: a process that was frozen adds nothing.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.errors import ServiceError
from store.mongo.driver import transaction
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import OUTBOX, SUBSCRIPTIONS
from store.mongo.retention.lease import Leases
from store.mongo.subscriptions.counters import POSITION, MongoCounters, beginning
from store.mongo.subscriptions.documents import (
    documents_of,
    events_of,
    is_of,
    pieces_of,
    position_id,
    position_of,
)
from store.mongo.subscriptions.seats import seat, seat_of
from store.subscriptions.events import Delivering, Outbox, Overtaken
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.changes.changes import Position
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.driver.transaction import OpenTransaction
    from store.mongo.retention.lease import Lease
    from store.settings import StoreSettings
    from store.subscriptions.events import Addition, Event
    from store.subscriptions.records import Subscription
    from store.tenancy import Tenant

LEASE: Final = "subscriptions"
PLACE: Final = {"number": 1, "mark": 1}
OWN: Final = {"subscription": 1, "made": 1, "first": 1, "last": 1, "events": 1, "shared": 1}
"""Fields of a piece."""


class MongoOutbox(Outbox):
    """The port's verbs on one database."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._database = database
        self._seconds = settings.store_timeout_seconds
        self._keeping = timedelta(days=settings.subscription_days)
        self._clock = clock
        self._metrics = metrics
        self._leases = Leases(
            database,
            metrics=metrics,
            timeout_seconds=settings.store_timeout_seconds,
            lease_seconds=settings.subscription_lease_seconds,
        )
        self._outbox: Collection = durable(database, OUTBOX)
        self._counters = MongoCounters(database, metrics=metrics, seconds=self._seconds)

    @override
    async def take(self) -> Delivering | None:
        lease = await self._leases.take(LEASE)
        if lease is None:
            return None
        with suppress(ServiceError):  # The next one may do.
            await self.tidy()
        return _MongoDelivering(self, self._leases, lease)

    @override
    async def tidy(self) -> None:
        await self._counters.tidy()

    @override
    async def positions(self) -> Mapping[Tenant, Position]:
        with guarded(self._metrics, "outbox_positions", seconds=self._seconds):
            found = await self._outbox.find({"_id": beginning(POSITION)}, PLACE).to_list(None)
        return {
            parse_tenant(one["_id"].removeprefix(POSITION)): position_of(one)
            for one in found
            if "number" in one
        }

    @override
    async def events(self, subscription: Subscription, *, after: int, limit: int) -> tuple[Event, ...]:
        own = pieces_of(str(subscription.tenant), subscription.name, subscription.created)
        wanted = {**own, "last": {"$gt": after}}
        with guarded(self._metrics, "outbox_events", seconds=self._seconds):
            # Each document has an event at least that is wanted.
            cursor = self._outbox.find(wanted, OWN, sort=[("last", 1)], limit=limit)
            pieces: list[Mapping[str, Any]] = []
            async for one in cursor:
                pieces.append(one)
                if one["last"] - max(after, pieces[0]["first"] - 1) >= limit:
                    break
            await cursor.close()
            ids = [one["shared"] for one in pieces if "shared" in one]
            found = await self._outbox.find({"_id": {"$in": ids}}, {"events": 1}).to_list(None) if ids else []
        content = {one["_id"]: one["events"] for one in found}
        whole = ({"events": content.get(one.get("shared"), ()), **one} for one in pieces)
        return tuple(events_of(whole, after)[:limit])

    @override
    async def knowing(
        self, tenant: Tenant, some: Iterable[Subscription], keys: Iterable[str]
    ) -> Mapping[str, Mapping[str, str]]:
        wanted, asking = set(keys), {one.name: one for one in some}
        known: dict[str, dict[str, str]] = {}
        with guarded(self._metrics, "outbox_knowing", seconds=self._seconds):
            asked = {"tenant": str(tenant), "keys": {"$in": sorted(wanted)}}
            found = await self._outbox.find(asked, OWN).to_list(None)
            ids = [one["_id"] for one in found if "subscription" not in one]
            of_these = {"tenant": str(tenant), "shared": {"$in": ids}}
            sharing = await self._outbox.find(of_these, OWN, hint="sharing").to_list(None) if ids else []
        found_in = {
            one["_id"]: [(key, change) for key, change, *_ in one["events"] if key in wanted] for one in found
        }
        own = [*(one for one in found if "subscription" in one), *sharing]
        for document in sorted(own, key=lambda one: int(one["first"])):
            one = asking.get(document["subscription"])
            if one is None or not is_of(document, one.created):
                continue
            for key, change in found_in[document.get("shared", document["_id"])]:
                known.setdefault(key, {})[one.id] = change
        return known

    async def write(  # noqa: PLR0913 -- the port's, and the lease
        self,
        lease: Lease,
        tenant: Tenant,
        additions: Sequence[Addition],
        position: Position,
        forget: AbstractSet[str],
        after: Position | None,
    ) -> None:
        """Number and keep the events within a transaction under the lease."""

        async def work(opened: OpenTransaction) -> None:
            async def write(session: Session) -> None:
                await self._leases.confirm(lease, session)
                there = await self._place(tenant, session)
                if after is not None and there.get("number", 0) > after.number:
                    raise Overtaken
                await self._forget(tenant, forget, session)
                numbers = await self._count(additions, there, session)
                place = {"number": position.number, "mark": position.mark}
                await self._note(tenant, {**numbers, **place}, session)

            await opened.run(write)

        await self._in_transaction(lease, work)

    async def join(self, lease: Lease, addition: Addition) -> None:
        """Number and keep what a new subscription missed, once, within a transaction under the lease."""
        same = {"_id": addition.subscription.name, "created": addition.subscription.created}

        async def work(opened: OpenTransaction) -> None:
            async def write(session: Session) -> None:
                await self._leases.confirm(lease, session)
                joined = await self._database[SUBSCRIPTIONS].update_one(
                    {**same, "progress.joined": False}, {"$set": {"progress.joined": True}}, session=session
                )
                if not joined.matched_count:
                    raise Overtaken
                if addition.occurrences:
                    tenant = addition.subscription.tenant
                    there = await self._place(tenant, session)
                    await self._note(tenant, await self._count([addition], there, session), session)

            await opened.run(write)

        await self._in_transaction(lease, work)

    async def _in_transaction(self, lease: Lease, work: Callable[[OpenTransaction], Awaitable[None]]) -> None:
        await transaction.run(
            self._database.client, work, metrics=self._metrics, seconds=self._seconds, session=lease.session
        )

    async def _place(self, tenant: Tenant, session: Session) -> Mapping[str, Any]:
        """Place in the feed behind what was counted, with the numbers that were given; empty: none yet."""
        return await self._database[OUTBOX].find_one({"_id": position_id(tenant)}, session=session) or {}

    async def _note(self, tenant: Tenant, told: Mapping[str, Any], session: Session) -> None:
        change = {"$set": {"tenant": str(tenant), **told}}
        await self._database[OUTBOX].update_one(
            {"_id": position_id(tenant)}, change, upsert=True, session=session
        )

    async def _forget(self, tenant: Tenant, keys: AbstractSet[str], session: Session) -> None:
        if not keys:
            return
        gone = sorted(keys)
        await self._database[OUTBOX].update_many(
            {"tenant": str(tenant), "keys": {"$in": gone}},
            {"$set": {"events.$[gone].0": ""}, "$pull": {"keys": {"$in": gone}}},
            array_filters=[{"gone.0": {"$in": gone}}],
            session=session,
        )

    async def _count(
        self, additions: Sequence[Addition], place: Mapping[str, Any], session: Session
    ) -> dict[str, int]:
        """Keep the pieces. Returns the newest numbers, as fields of the place. Raises Overtaken."""
        if not additions:
            return {}
        given: Mapping[str, int] = place.get("last", {})
        there = await self._counted(additions, session)
        numbers: dict[str, int] = {}
        for one in additions:
            own = seat(one.subscription)
            known = given.get(own, there.get(own))
            if own not in there or known != one.subscription.progress.last:
                raise Overtaken
            numbers[f"last.{own}"] = known + len(one.occurrences)
        expires_at = self._clock() + self._keeping
        await self._database[OUTBOX].insert_many(
            list(documents_of(additions, expires_at)),
            ordered=False,
            session=session,
        )
        return numbers

    async def _counted(self, additions: Sequence[Addition], session: Session) -> dict[str, int]:
        """Seats of those that are there and not off, with the numbers that they have of themselves.

        Such a number, of a subscription from before, is taken out: whoever goes by it would give the next one
        a second time.
        """
        subscriptions = self._database[SUBSCRIPTIONS]
        wanted = {
            "_id": {"$in": sorted(one.subscription.name for one in additions)},
            "status": {"$ne": "off"},
        }
        shown = {"id": 1, "created": 1, "progress.last": 1}
        found = await subscriptions.find(wanted, shown, session=session).to_list(None)
        before = [one["_id"] for one in found if "last" in one["progress"]]
        if before:
            change = {"$unset": {"progress.last": ""}}
            await subscriptions.update_many({"_id": {"$in": before}}, change, session=session)
        return {seat_of(one["id"], one["created"]): one["progress"].get("last", 0) for one in found}


@dataclass(frozen=True, slots=True)
class _MongoDelivering(Delivering):
    outbox: MongoOutbox
    leases: Leases
    lease: Lease

    @override
    async def renew(self) -> None:
        await self.leases.renew(self.lease)

    @override
    async def release(self) -> None:
        await self.leases.release(self.lease, done=True)

    @override
    async def add(
        self,
        tenant: Tenant,
        additions: Sequence[Addition],
        *,
        position: Position,
        forget: AbstractSet[str],
        after: Position | None = None,
    ) -> None:
        await self.outbox.write(self.lease, tenant, additions, position, forget, after)

    @override
    async def join(self, addition: Addition) -> None:
        await self.outbox.join(self.lease, addition)
