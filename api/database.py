"""Choice of the MongoDB of this process: that of `DOD_MONGODB_URI`, or the embedded one."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry

from api.app import utc_now
from store.metrics import StoreMetrics
from store.mongo.embedded import embedded
from store.mongo.embedded.cache_size import memory, quarter
from store.mongo.stores import opened

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable

    from api.settings.service import Settings
    from store.stores import Stores


@dataclass(frozen=True, slots=True)
class Database:
    """Address of the database, and the moment when it goes away by itself."""

    uri: str
    exited: asyncio.Future[int] | None = None
    """Done when the embedded mongod ended; None: somebody else looks after it."""
    obituary: Callable[[], str] = lambda: "The embedded MongoDB ended by itself."
    """Reason why it ended."""


@asynccontextmanager
async def database(settings: Settings, *, role: Literal["serve", "command"]) -> AsyncIterator[Database]:
    """The database, running. Commands share the embedded one with a `dod serve` that runs already."""
    if settings.mongodb_uri is not None:
        yield Database(settings.mongodb_uri.get_secret_value())
        return
    cache = settings.mongod_cache_gigabytes or quarter(memory())
    async with embedded(settings.data_dir, role=role, binary=settings.mongod, cache_gigabytes=cache) as child:
        yield Database(child.uri, child.exited, child.obituary)


@asynccontextmanager
async def command_stores(settings: Settings) -> AsyncIterator[Stores]:
    """The stores, for a command that ends by itself."""
    async with database(settings, role="command") as mongodb, stores_at(mongodb.uri, settings) as stores:
        yield stores


@asynccontextmanager
async def stores_at(uri: str, settings: Settings) -> AsyncIterator[Stores]:
    """The stores of a database that somebody else looks after, for a command."""
    metrics = StoreMetrics(CollectorRegistry())
    # Within a pod a command has the user of its role: `DECISIONS.md#commands-by-role`.
    async with opened(settings, uri=uri, clock=utc_now, metrics=metrics, role=settings.role) as stores:
        yield stores
