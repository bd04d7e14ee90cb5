"""What lives as long as the application: one context per resource, closed in reverse order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.auth.doorkeeper import Doorkeeper
from api.keys import ACCESS, DOORKEEPER, PAGE_SECRET, READINESS, REGISTRY, SETTINGS
from ingest.admission import Admission
from ingest.keys import ADMISSION, CLOCK, IDENTITY_SECRET, RESOURCES
from store.metrics import StoreMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web

    from store.mongo.stores import Stores

    OpenStores = Callable[[StoreMetrics], AbstractAsyncContextManager[Stores]]
    """Opens the database; tests open a fake."""


def stores(open_stores: OpenStores) -> Callable[[web.Application], AsyncIterator[None]]:
    """Hold the stores for as long as the app runs; refuse to start without them."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        metrics = StoreMetrics(app[REGISTRY])
        async with open_stores(metrics) as opened:
            app[ADMISSION] = Admission(
                app[SETTINGS].push_bytes_max, check=opened.check, rejected=metrics.rejected
            )
            app[RESOURCES] = opened.resources
            app[ACCESS] = opened.access
            app[PAGE_SECRET] = await opened.access.secret("page links")
            app[IDENTITY_SECRET] = await opened.access.secret("identities")
            app[READINESS].watch(opened.ping)
            yield

    return context


async def doorkeeper(app: web.Application) -> AsyncIterator[None]:
    """Remember grants and tenants for a moment; needs the stores."""
    seconds = app[SETTINGS].access_cache_seconds
    app[DOORKEEPER] = Doorkeeper(app[ACCESS], clock=app[CLOCK], seconds=seconds)
    yield
