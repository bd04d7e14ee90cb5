"""`SubscriptionStore` on MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from store.mongo.driver.client import durable
from store.mongo.driver.gathering import Gathering
from store.mongo.driver.guard import guarded
from store.mongo.indexes import OUTBOX, SUBSCRIPTIONS
from store.mongo.subscriptions.counters import NO_COUNTERS, Acknowledged, MongoCounters
from store.mongo.subscriptions.documents import (
    MOVING,
    from_document,
    moved,
    pieces_of,
    progress_document,
    to_document,
)
from store.mongo.subscriptions.seats import seat, seat_of
from store.subscriptions.naming import names_in
from store.subscriptions.records import NONE, SubscriptionStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.rules.erased_names import ErasedNames
    from store.settings import StoreSettings
    from store.subscriptions.records import Status, Subscription
    from store.tenancy import Tenant


CALM: Final[Mapping[str, Any]] = {
    "progress.failures": 0,
    "progress.failing_since": None,
    "progress.failure": "",
    "progress.next_at": None,
    "progress.tried": 0,
}
"""Progress without failures."""
TOGETHER_MAX: Final = 100
"""Most subscriptions that are read, or noted, together."""


class MongoSubscriptions(SubscriptionStore):
    """The port's verbs on one database."""

    def __init__(
        self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics, erasures: ErasedNames
    ) -> None:
        self._erasures = erasures
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics
        self._subscriptions: Collection = durable(database, SUBSCRIPTIONS)
        self._outbox: Collection = durable(database, OUTBOX)
        self._counters = MongoCounters(database, metrics=metrics, seconds=self._seconds)
        self._reads: Gathering[str, Subscription | None] = Gathering(self._named, most=TOGETHER_MAX)
        self._looks: Gathering[Subscription, Subscription | None] = Gathering(self._moving, most=TOGETHER_MAX)
        self._notes: Gathering[Acknowledged, None] = Gathering(self._note, most=TOGETHER_MAX)

    @override
    async def create(self, subscription: Subscription) -> bool:
        await self._erasures.admit_named(subscription.tenant, names_in(subscription))
        document = {
            "_id": subscription.name,
            **to_document(subscription),
            "progress": progress_document(subscription.progress),
        }
        with guarded(self._metrics, "create_subscription", seconds=self._seconds):
            try:
                await self._subscriptions.insert_one(document)
            except DuplicateKeyError:
                return False
        return True

    @override
    async def replace(self, subscription: Subscription, *, instead_of: int, anew: bool = False) -> bool:
        await self._erasures.admit_named(subscription.tenant, names_in(subscription))
        wanted = {**_same(subscription), "version": instead_of}
        # What failed so far was a failure of what the subscription was before.
        begun: dict[str, Any] = {"progress.joined": False} if anew else {}
        with guarded(self._metrics, "replace_subscription", seconds=self._seconds):
            done = await self._subscriptions.update_one(
                wanted, {"$set": {**to_document(subscription), **CALM, **begun}}
            )
        return bool(done.matched_count)

    @override
    async def get(self, tenant: Tenant, id: str) -> Subscription | None:
        return await self._reads.ask(f"{tenant}/{id}")

    @override
    async def fresh(self, known: Subscription) -> Subscription | None:
        return await self._looks.ask(known)

    async def _moving(self, known: Sequence[Subscription]) -> list[Subscription | None]:
        some = {one.name: one for one in known}
        there = await self._moved({"_id": {"$in": sorted(some)}}, some)
        return [there.get(one.name) for one in known]

    async def _moved(
        self, wanted: Mapping[str, Any], known: Mapping[str, Subscription]
    ) -> dict[str, Subscription]:
        """Subscriptions as they are now, by name; read whole where another version is known, or none."""
        with guarded(self._metrics, "subscription", seconds=self._seconds):
            found = await self._subscriptions.find(wanted, dict.fromkeys(MOVING, 1)).to_list(None)
        same = {one["_id"]: one for one in found if _is_same(known.get(one["_id"]), one)}
        others = [one["_id"] for one in found if one["_id"] not in same]
        read = {one.name: one for one in await self._named(others) if one is not None} if others else {}
        counters = await self._counters.of({str(known[name].tenant) for name in same})
        for name, one in same.items():
            was = known[name]
            read[name] = moved(was, one, counters.get(str(was.tenant), NO_COUNTERS))
        return read

    async def _named(self, names: Sequence[str]) -> list[Subscription | None]:
        with guarded(self._metrics, "subscription", seconds=self._seconds):
            found = await self._subscriptions.find({"_id": {"$in": sorted(set(names))}}).to_list(None)
        there = {one.name: one for one in await self._read(found)}
        return [there.get(name) for name in names]

    async def _read(self, found: Sequence[Mapping[str, Any]]) -> tuple[Subscription, ...]:
        """Subscriptions of documents, with their counters, which are read behind them."""
        counters = await self._counters.of({one["tenant"] for one in found})
        return tuple(from_document(one, counters.get(one["tenant"], NO_COUNTERS)) for one in found)

    @override
    async def of_tenant(
        self, tenant: Tenant, known: Mapping[str, Subscription] = NONE
    ) -> tuple[Subscription, ...]:
        return await self._sorted({"tenant": str(tenant)}, known)

    @override
    async def every(self, known: Mapping[str, Subscription] = NONE) -> tuple[Subscription, ...]:
        return await self._sorted({}, known)

    async def _sorted(
        self, wanted: Mapping[str, Any], known: Mapping[str, Subscription]
    ) -> tuple[Subscription, ...]:
        found = await self._moved(wanted, known)
        return tuple(found[name] for name in sorted(found))

    @override
    async def are_there(self) -> bool:
        with guarded(self._metrics, "subscriptions", seconds=self._seconds):
            return await self._subscriptions.find_one({}, {"_id": 1}) is not None

    @override
    async def delete(self, tenant: Tenant, id: str) -> bool:
        name = f"{tenant}/{id}"
        with guarded(self._metrics, "delete_subscription", seconds=self._seconds):
            # The events last: who adds some to it meanwhile finds it gone, and adds none. Those of the next
            # one under its id stay.
            gone = await self._subscriptions.find_one_and_delete({"_id": name}, {"created": 1})
            if gone is not None:
                await self._outbox.delete_many(pieces_of(str(tenant), name, gone["created"]))
        if gone is not None:
            await self._counters.forget(str(tenant), [seat_of(id, gone["created"])])
        return gone is not None

    @override
    async def settle(self, subscription: Subscription, status: Status, *, reason: str = "") -> bool:
        wanted = {**_same(subscription), "version": subscription.version}
        change = {"$set": {"status": status.value, "reason": reason}}
        with guarded(self._metrics, "settle_subscription", seconds=self._seconds):
            done = await self._subscriptions.update_one(wanted, change)
        return bool(done.matched_count)

    @override
    async def pause(self, tenant: Tenant, id: str, *, paused: bool) -> bool:
        change: dict[str, Any] = {"paused": paused, "progress.next_at": None}
        if not paused:
            change |= CALM
        with guarded(self._metrics, "pause_subscription", seconds=self._seconds):
            done = await self._subscriptions.update_one({"_id": f"{tenant}/{id}"}, {"$set": change})
        return bool(done.matched_count)

    @override
    async def failed(
        self, subscription: Subscription, failure: str, *, at: datetime, next_at: datetime, tried: int = 0
    ) -> None:
        # Of a process that was frozen, and wakes up beside the one that took over, the failure is none.
        progress, owner = subscription.progress, str(subscription.tenant)
        counters = (await self._counters.of({owner})).get(owner, NO_COUNTERS)
        if counters.delivered.get(seat(subscription), progress.delivered) != progress.delivered:
            return
        there = {"version": subscription.version, "progress.failures": progress.failures}
        wanted = {**_same(subscription), **there}
        since = progress.failing_since or at
        change = {
            "$inc": {"progress.failures": 1},
            "$set": {
                "progress.failing_since": since,
                "progress.failure": failure,
                "progress.next_at": next_at,
                "progress.tried": tried,
            },
        }
        with guarded(self._metrics, "fail_subscription", seconds=self._seconds):
            await self._subscriptions.update_one(wanted, change)

    @override
    async def acknowledged(self, subscription: Subscription, number: int, *, at: datetime) -> None:
        progress = subscription.progress
        if progress.failures or progress.failure or progress.next_at is not None:
            with guarded(self._metrics, "acknowledge_subscription", seconds=self._seconds):
                # Those that another process has counted since are its own.
                failed = {**_same(subscription), "progress.failures": progress.failures}
                await self._subscriptions.update_one(failed, {"$set": CALM})
        before, owner = progress.delivered, str(subscription.tenant)
        await self._notes.ask(Acknowledged(owner, seat(subscription), before, number, at))

    async def _note(self, notes: Sequence[Acknowledged]) -> list[None]:
        await self._counters.acknowledged(notes)
        return [None] * len(notes)

    @override
    async def rewind(self, tenant: Tenant, id: str, number: int) -> bool:
        one = await self.get(tenant, id)
        if one is None or one.progress.last < number:
            return False
        await self._counters.rewind(str(tenant), seat(one), number)
        with guarded(self._metrics, "rewind_subscription", seconds=self._seconds):
            done = await self._subscriptions.update_one(_same(one), {"$set": CALM})
        return bool(done.matched_count)


def _is_same(known: Subscription | None, document: Mapping[str, Any]) -> bool:
    """Whether a document is of the version that is known."""
    return known is not None and (known.version, known.created) == (document["version"], document["created"])


def _same(subscription: Subscription) -> dict[str, Any]:
    """Filter that a subscription meets, and none that was made under its id since."""
    return {"_id": subscription.name, "created": subscription.created}
