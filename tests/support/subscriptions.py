"""Subscriptions as clients send them, and as they are kept."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from prometheus_client import CollectorRegistry

from api.subscriptions.counting import Counting
from api.subscriptions.holders import Holders
from api.subscriptions.metrics import SubscriptionMetrics
from api.subscriptions.receivers import receivers
from api.subscriptions.sending.delivery import Delivery, Pace, Ports
from api.subscriptions.sending.disclosures import Disclosures
from api.subscriptions.sending.reading import Sources
from api.subscriptions.sending.receiver_tokens import ReceiverTokens
from api.subscriptions.sending.retries import Circuits
from api.subscriptions.standing import Standings
from ingest.http.forwarded import networks
from store.access import Grant
from store.changes.changes import Change, ChangePage, Position, PositionLost
from store.changes.kinds import Kind
from store.errors import Category, ServiceError
from store.mongo.rules.erased_names import ErasedNames
from store.mongo.subscriptions.index_sides import MongoIndexSides
from store.mongo.subscriptions.outbox import MongoOutbox
from store.mongo.subscriptions.subscriptions import MongoSubscriptions
from store.resources.resource_keys import ResourceKey
from store.search.parsing.context import SearchLimits
from store.settings import StoreSettings
from store.subscriptions.records import Channel, Content, Holder, Status, Subscription
from store.tenancy import SearchScope, Tenant, TenantSettings
from tests.support.access import MemoryAccess, MemoryClients
from tests.support.service import Clock
from tests.support.store import OTHER, metrics, mongo_store, put

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    from api.subscriptions.counting import Counted
    from api.subscriptions.sending.delivery import Step
    from store.audit.records import AuditRecord
    from store.mongo.driver.client import Database
    from store.mongo.resources.resources import MongoResources
    from store.resources.resources import ResourceStore
    from store.subscriptions.events import Delivering, Event
    from tests.support.fhir import Json

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LAB = Tenant("lab", "Production")
BASE = "https://dod.example/fhir/R4/lab/Production"
GUIDE = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
REPORTS = "urn:data-on-demand:topic:DiagnosticReport"
ENDPOINT = "https://app.example/hook"
LOOPBACK = networks("127.0.0.0/8")


def extension(name: str, **value: Any) -> Json:
    return {"url": GUIDE + name, **value}


def asked(
    *filters: str,
    topic: str = REPORTS,
    endpoint: str = ENDPOINT,
    content: str = "id-only",
    headers: tuple[str, ...] = (),
    extensions: tuple[Json, ...] = (),
    **changed: Any,
) -> Json:
    """A Subscription by the backport guide."""
    channel: Json = {
        "type": "rest-hook",
        "endpoint": endpoint,
        "payload": "application/fhir+json",
        "_payload": {"extension": [extension("backport-payload-content", valueCode=content)]},
    }
    if headers:
        channel["header"] = list(headers)
    if extensions:
        channel["extension"] = list(extensions)
    criteria = [extension("backport-filter-criteria", valueString=one) for one in filters]
    return {
        "resourceType": "Subscription",
        "meta": {"profile": [GUIDE + "backport-subscription"]},
        "status": "requested",
        "reason": "made up",
        "criteria": topic,
        **({"_criteria": {"extension": criteria}} if criteria else {}),
        "channel": channel,
        **changed,
    }


def kept(id: str = "s1", **changed: Any) -> Subscription:
    """A subscription as it is stored."""
    channel = {"endpoint": ENDPOINT, "content": Content.ID_ONLY}
    names = Channel.__slots__
    channel |= {name: changed.pop(name) for name in tuple(changed) if name in names}
    fields: dict[str, Any] = {
        "tenant": LAB,
        "id": id,
        "version": 1,
        "created": NOW,
        "updated": NOW,
        "status": Status.ACTIVE,
        "topic": REPORTS,
        "filters": (),
        "start": Position(0),
        "base": BASE,
        "resource": b'{"resourceType":"Subscription","criteria":"x","channel":{}}',
        "holder": Holder("tests", "abc", ("system/*.rs",), NOW),
        **changed,
    }
    return Subscription(channel=Channel(**channel), **fields)  # type: ignore[arg-type]


class MemoryChanges:
    """A feed that a test fills; which resources are there, the store tells."""

    def __init__(self, resources: ResourceStore) -> None:
        self._resources = resources
        self.changes: dict[Tenant, list[Change]] = {}
        self.lost = False

    def tell(
        self,
        name: str,
        kind: Kind,
        *,
        version: int = 1,
        at: datetime = NOW,
        tenant: Tenant = LAB,
        quiet: bool = False,
    ) -> None:
        """Add a change of the resource `Type/id`."""
        told = self.changes.setdefault(tenant, [])
        key = ResourceKey(*name.split("/"))
        told.append(Change(len(told) + 1, key, version, kind, at, quiet=quiet))

    async def head(self, tenant: Tenant) -> Position:
        return Position(len(self.changes.get(tenant, [])))

    async def read(self, tenant: Tenant, after: Position, *, limit: int) -> ChangePage:
        if self.lost:
            raise PositionLost
        told = self.changes.get(tenant, [])[after.number : after.number + limit]
        return ChangePage(tuple(told), Position(after.number + len(told)))

    async def wait(self, after: Mapping[Tenant, Position], *, seconds: float) -> frozenset[Tenant]:
        return frozenset(one for one, place in after.items() if place.number < len(self.changes.get(one, [])))

    async def readable(self, tenant: Tenant, keys: Collection[ResourceKey]) -> frozenset[ResourceKey]:
        return frozenset([key for key in keys if await self._resources.get(tenant, key) is not None])

    def wake(self) -> None:
        """Do nothing: nobody waits."""


class MemoryTrail:
    """Keeps records; refuses them when a test says so."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.fails = False

    def begin(self, record: AuditRecord) -> MemoryTrail:
        if self.fails:
            raise ServiceError(Category.UNAVAILABLE)
        self.records.append(record)
        return self

    async def kept(self) -> None:
        """Nothing is missing."""


@dataclass(slots=True)
class Bench:
    """Counting and delivery on a real MongoDB, with a clock, a feed and a receiver that a test moves."""

    database: Database
    resources: MongoResources
    changes: MemoryChanges
    store: MongoSubscriptions
    outbox: MongoOutbox
    counting: Counting
    delivery: Delivery
    ports: Ports
    clock: Clock
    access: MemoryAccess
    clients: MemoryClients
    registry: CollectorRegistry
    trail: MemoryTrail
    positions: dict[Tenant, Position] = field(default_factory=dict)

    async def count(self, tenant: Tenant = LAB, *, delivering: Delivering | None = None) -> None:
        """Count all changes that there are, as the worker does."""
        own = delivering or await self.outbox.take()
        assert own is not None
        try:
            while True:
                after = self.positions.get(tenant, Position(0))
                self.positions[tenant] = (await self.page(own, after, tenant=tenant)).position
                if self.positions[tenant] == after:
                    break
        finally:
            if delivering is None:
                await own.release()

    async def page(self, delivering: Delivering, after: Position, *, tenant: Tenant = LAB) -> Counted:
        """Count a page of changes for all that count."""

        async def some() -> list[Subscription]:
            return [one for one in await self.store.of_tenant(tenant) if one.counts]

        return await self.counting.page(delivering, tenant, some, after)

    async def step(self, id: str = "s1", tenant: Tenant = LAB) -> Step:
        one = await self.get(id, tenant)
        return await self.delivery.step(one)

    async def get(self, id: str = "s1", tenant: Tenant = LAB) -> Subscription:
        found = await self.store.get(tenant, id)
        assert found is not None
        return found

    async def told_to(self, id: str = "s1") -> list[Event]:
        """All events that were counted for a subscription."""
        return list(await self.outbox.events(await self.get(id), after=0, limit=1_000))

    async def settle(self, id: str = "s1") -> None:
        """Take steps while they are due at once."""
        while True:
            step = await self.step(id)
            if step.at is None or step.at > self.clock.now:
                return

    async def change(self, resource: Json, kind: Kind, *, tenant: Tenant = LAB, quiet: bool = False) -> None:
        """Store a resource, and tell the feed."""
        [done] = await put(self.resources, resource, tenant=tenant)
        name = f"{resource['resourceType']}/{resource['id']}"
        version = done.stored.version
        self.changes.tell(name, kind, version=version, at=self.clock.now, tenant=tenant, quiet=quiet)


ROOT = b"r" * 32


@asynccontextmanager
async def bench(database: Database, **changed: Any) -> AsyncIterator[Bench]:
    """A bench; `changed` are settings."""
    clock = Clock(NOW)
    settings = StoreSettings(mongodb_database=database.name, subscription_lease_seconds=6)
    resources = mongo_store(database, clock=clock)
    changes = MemoryChanges(resources)
    erasures = ErasedNames(database, settings=settings, clock=clock, metrics=metrics())
    store = MongoSubscriptions(database, settings=settings, metrics=metrics(), erasures=erasures)
    outbox = MongoOutbox(database, settings=settings, clock=clock, metrics=metrics())
    sides = MongoIndexSides(database, settings=settings, clock=clock, metrics=metrics())
    access, clients, registry = MemoryAccess(), MemoryClients(), CollectorRegistry()
    access.kept["abc"] = Grant("abc", "tests", (LAB, OTHER), ("system/*.rs",), NOW, NOW + timedelta(days=30))
    holders = Holders(access, clients, clock=clock, seconds=0)
    limits = SearchLimits(bytes_max=changed.pop("bytes_max", 2_000_000))
    sources = Sources(resources, changes, sides, limits)
    for tenant in (LAB, OTHER):
        access.settings[tenant] = TenantSettings(tenant, SearchScope.ANY)
    standings = Standings(holders, access, limits, clock=clock, seconds=0)
    counted = SubscriptionMetrics(registry)
    async with receivers(LOOPBACK) as reached:
        tokens = ReceiverTokens(reached, monotonic=lambda: clock().timestamp())
        trail = MemoryTrail()
        disclosures: Any = Disclosures(cast("Any", trail), "required", clock=clock)
        ports = Ports(store, outbox, sources, standings, reached, tokens, Circuits(), counted, disclosures)
        counting = Counting(
            store=store,
            outbox=outbox,
            sides=sides,
            sources=sources,
            standings=standings,
            metrics=counted,
            clock=clock,
            queue_max=changed.pop("queue_max", 1_000),
        )
        pace = Pace(
            changed.pop("batch_max", 100),
            changed.pop("timeout_seconds", 5.0),
            timedelta(hours=changed.pop("give_up_hours", 24)),
        )
        assert not changed
        yield Bench(
            database,
            resources,
            changes,
            store,
            outbox,
            counting,
            Delivery(ports, pace, root=ROOT, clock=clock),
            ports,
            clock,
            access,
            clients,
            registry,
            trail,
        )
        await resources.drain()
