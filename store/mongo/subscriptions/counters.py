"""Counters: how far the subscriptions of a tenant are, in two documents for all of them.

A page of changes is one update for all that are to be told of it, and so are the answers of many receivers;
to note either in the document of each subscription took MongoDB longer than all the rest.

outbox  _id "position org/env": last {seat: number of the newest event}, beside the place in the feed; written
        under the lease, in the transaction that keeps the events
        _id "delivered org/env": tenant, delivered {seat: number}, heard {seat: moment}
A seat is the name of a subscription among the fields (`seats`). Subscriptions from before have their numbers
in `progress` until new ones are noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import OUTBOX, SUBSCRIPTIONS
from store.mongo.subscriptions.seats import of_field, seat_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.subscriptions.seats import Seat

POSITION: Final = "position "
"""Beginning of the `_id` of the numbers that were given, and of a tenant's place in the feed."""
DELIVERED: Final = "delivered "
"""Beginning of the `_id` of the numbers that receivers acknowledged."""


class Counters(NamedTuple):
    """Counters of one tenant's subscriptions, by seat."""

    last: Mapping[str, int]
    delivered: Mapping[str, int]
    heard: Mapping[str, datetime]


NO_COUNTERS: Final = Counters({}, {}, {})


class Acknowledged(NamedTuple):
    """Numbers up to which a receiver has a subscription's events: before, and now."""

    tenant: str
    seat: str
    before: int
    number: int
    at: datetime


class MongoCounters:
    """Counters on one database."""

    def __init__(self, database: Database, *, metrics: StoreMetrics, seconds: float) -> None:
        self._outbox: Collection = durable(database, OUTBOX)
        self._subscriptions: Collection = durable(database, SUBSCRIPTIONS)
        self._metrics = metrics
        self._seconds = seconds

    async def of(self, tenants: Iterable[str]) -> Mapping[str, Counters]:
        """Counters by tenant, of those that have some."""
        names = sorted({f"{begin}{tenant}" for tenant in tenants for begin in (POSITION, DELIVERED)})
        if not names:
            return {}
        shown = {"last": 1, "delivered": 1, "heard": 1}
        with guarded(self._metrics, "subscription_counters", seconds=self._seconds):
            found = await self._outbox.find({"_id": {"$in": names}}, shown).to_list(None)
        counters: dict[str, Counters] = {}
        for one in found:
            tenant = one["_id"].partition(" ")[2]
            known = counters.get(tenant, NO_COUNTERS)
            counters[tenant] = Counters(*(one.get(name, getattr(known, name)) for name in Counters._fields))
        return counters

    async def acknowledged(self, notes: Sequence[Acknowledged]) -> None:
        """Note numbers that receivers have; not past what a replay has rewound meanwhile."""
        by_tenant: dict[str, dict[str, Any]] = {}
        for note in notes:
            delivered = f"$delivered.{note.seat}"
            is_as_before = {"$eq": [{"$ifNull": [delivered, note.before]}, note.before]}
            change = by_tenant.setdefault(note.tenant, {"tenant": {"$literal": note.tenant}})
            change[f"delivered.{note.seat}"] = {"$cond": [is_as_before, note.number, delivered]}
            change[f"heard.{note.seat}"] = {"$cond": [is_as_before, note.at, f"$heard.{note.seat}"]}
        for tenant, change in by_tenant.items():
            with guarded(self._metrics, "acknowledge_subscription", seconds=self._seconds):
                of_tenant = {"_id": f"{DELIVERED}{tenant}"}
                await self._outbox.update_one(of_tenant, [{"$set": change}], upsert=True)

    async def rewind(self, tenant: str, seat: str, number: int) -> None:
        """Note that a receiver has the events up to this number alone."""
        change = {"$set": {"tenant": tenant, f"delivered.{seat}": number}}
        with guarded(self._metrics, "rewind_subscription", seconds=self._seconds):
            await self._outbox.update_one({"_id": f"{DELIVERED}{tenant}"}, change, upsert=True)

    async def forget(self, tenant: str, seats: Iterable[str]) -> None:
        """Forget the counters of subscriptions that went."""
        gone = {"$unset": {f"{name}.{seat}": "" for seat in seats for name in Counters._fields}}
        with guarded(self._metrics, "delete_subscription", seconds=self._seconds):
            names = [f"{begin}{tenant}" for begin in (POSITION, DELIVERED)]
            await self._outbox.update_many({"_id": {"$in": names}}, gone)

    async def tidy(self) -> None:
        """Forget what came behind the end of a subscription: an answer, a page that was under way."""
        with guarded(self._metrics, "subscription_counters", seconds=self._seconds):
            wanted = {"$or": [{"_id": beginning(name)} for name in (POSITION, DELIVERED)]}
            found = await self._outbox.find(wanted, {"tenant": 1}).to_list(None)
            tenants = sorted({one["tenant"] for one in found})
        counters = await self.of(tenants)
        with guarded(self._metrics, "subscriptions", seconds=self._seconds):
            shown = {"tenant": 1, "id": 1, "created": 1}
            of_these = {"tenant": {"$in": tenants}}
            there = await self._subscriptions.find(of_these, shown).to_list(None)
        seats: dict[str, set[str]] = {}
        for one in there:
            seats.setdefault(one["tenant"], set()).add(seat_of(one["id"], one["created"]))
        for tenant, own in counters.items():
            gone = {seat for counted in own for seat in counted} - seats.get(tenant, set())
            if gone:
                with guarded(self._metrics, "delete_subscription", seconds=self._seconds):
                    for went in map(of_field, gone):
                        await self._outbox.delete_many(_pieces_of(tenant, went))
                await self.forget(tenant, gone)


def _pieces_of(tenant: str, one: Seat) -> dict[str, Any]:
    """Filter of the pieces of the subscription that has a seat."""
    return {"tenant": tenant, "subscription": f"{tenant}/{one.id}", "made": one.created}


def beginning(name: str) -> dict[str, str]:
    """Condition on an `_id` that begins so; the name ends with a space."""
    return {"$gte": name, "$lt": f"{name[:-1]}!"}
