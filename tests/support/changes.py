"""Followers of the log and readers of changes, as replicas have them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from store.changes.changes import START
from store.changes.metrics import ChangeMetrics
from store.mongo.changes.following import MongoChangeFollower
from store.mongo.changes.reading import MongoChanges
from store.settings import StoreSettings
from tests.support.store import LAB, NOW, metrics
from tests.support.sweeping import both

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from store.changes.changes import Change, ChangeFollower, Position
    from store.mongo.driver.client import Database
    from store.tenancy import Tenant


def changes_of(database: Database, clock: Callable[[], datetime] = lambda: NOW) -> MongoChanges:
    chosen = StoreSettings(mongodb_database=database.name)
    return MongoChanges(database, settings=chosen, clock=clock, metrics=metrics())


def follower_of(
    database: Database, clock: Callable[[], datetime] = lambda: NOW, **settings: Any
) -> MongoChangeFollower:
    """Follower of a replica of its own."""
    chosen = StoreSettings(mongodb_database=database.name, **settings)
    return MongoChangeFollower(database, settings=chosen, clock=clock, metrics=metrics(), tenants=both)


@asynccontextmanager
async def following(
    follower: ChangeFollower, told: ChangeMetrics | None = None
) -> AsyncIterator[asyncio.Task[bool]]:
    """A follower at work; on the way out it stops as a process does."""
    stopping = asyncio.Event()
    chosen = told or ChangeMetrics(CollectorRegistry())
    task = asyncio.create_task(follower.follow(stopping.is_set, chosen))
    try:
        yield task
    finally:
        stopping.set()
        await asyncio.wait([task])
    await task


async def heard(
    changes: MongoChanges, count: int, *, tenant: Tenant = LAB, after: Position = START
) -> list[Change]:
    """The next changes, as soon as there are so many."""
    found: list[Change] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            await changes.wait({tenant: after}, seconds=30)
            page = await changes.read(tenant, after, limit=1_000)
            found += page.changes
            after = page.position
    return found


def told(changes: list[Change]) -> list[tuple[str, str, int]]:
    return [(one.kind.value, str(one.key), one.version) for one in changes]
