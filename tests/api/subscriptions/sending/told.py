"""Subscriptions told of changes by a worker of the test, and how each stands."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.support.receiver import receiver
from tests.support.subscriptions import bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.mongo.driver.client import Database
    from store.subscriptions.records import Subscription
    from tests.support.receiver import Receiver
    from tests.support.subscriptions import Bench


@asynccontextmanager
async def told(
    database: Database, *some: Subscription, **changed: Any
) -> AsyncIterator[tuple[Bench, Receiver]]:
    """A bench with a receiver, and these subscriptions at its address."""
    async with bench(database, **changed) as on, receiver() as at:
        for one in some:
            await on.store.create(replace(one, channel=replace(one.channel, endpoint=at.url)))
        yield on, at


def status(number: int) -> Any:
    return lambda _: web.Response(status=number)
