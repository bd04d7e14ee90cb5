"""Replicas that sweep one database, and what is in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from store.mongo.retention.sweeping import MongoSweeping
from store.retention.holds import NoHolds
from store.retention.metrics import RetentionMetrics
from store.settings import StoreSettings
from tests.support.store import LAB, OTHER, metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.mongo.driver.client import Database
    from store.retention.holds import Holds
    from store.retention.receipts import Receipt
    from store.tenancy import Tenant

NO_HOLDS = NoHolds()
COLLECTIONS = (
    "resources",
    "history",
    "dead_letters",
    "dead_letter_bodies",
    "audit",
    "forgotten_files",
    "attachments.files",
    "attachments.chunks",
)


class HeldIds:
    """Holds on documents by `_id`, and on whole tenants."""

    def __init__(self, ids: Iterable[str] = (), tenants: Iterable[Tenant] = ()) -> None:
        self.ids = set(ids)
        self.tenants = set(tenants)

    async def held(
        self, tenant: Tenant, documents: Sequence[Mapping[str, Any]], now: datetime
    ) -> frozenset[str]:
        return frozenset(one["_id"] for one in documents if one["_id"] in self.ids)

    async def whole_tenant(self, tenant: Tenant, now: datetime) -> bool:
        return tenant in self.tenants

    async def placed(self, session: Any = None) -> int:
        return 0


async def at_once(_: float) -> None:
    """Rest no longer than that."""


async def both() -> Sequence[Tenant]:
    return (LAB, OTHER)


def sweeping_of(
    database: Database, clock: Callable[[], datetime], *, holds: Holds = NO_HOLDS, **settings: Any
) -> MongoSweeping:
    """Sweeping of a replica of its own."""
    chosen = StoreSettings(mongodb_database=database.name, **{"retention_batch": 3, **settings})
    made = MongoSweeping(database, settings=chosen, clock=clock, metrics=metrics(), holds=holds, tenants=both)
    made.sweep = replace(made.sweep, sleep=at_once)
    return made


def retention_metrics() -> RetentionMetrics:
    return RetentionMetrics(CollectorRegistry())


async def sweep(sweeping: MongoSweeping, tenant: Tenant | None = None) -> list[Receipt]:
    """A whole run, by hand."""
    receipts = await sweeping.run(
        tenant=tenant, pace=sweeping.pace(budget=False), metrics=retention_metrics()
    )
    assert receipts is not None
    return receipts


def lines(receipt: Receipt) -> dict[tuple[str, str], int]:
    """(type, reason) → deleted, of all tenants and policies."""
    counts: dict[tuple[str, str], int] = {}
    for one in receipt.rows:
        key = (one.row.type, one.row.reason)
        counts[key] = counts.get(key, 0) + one.count
    return counts


async def stored(database: Database, *collections: str) -> dict[str, list[str]]:
    """The ids of all that is there."""
    names = collections or COLLECTIONS
    return {
        name: sorted([str(one["_id"]) async for one in database[name].find({}, {"_id": 1})]) for name in names
    }
