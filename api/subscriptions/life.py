"""Contexts of subscriptions, for as long as the application runs: what handlers need, and the worker."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING

from api.background.herald import HERALD
from api.http.app_keys import ACCESS, CLIENTS, PRIVACY, REGISTRY, SETTINGS, STORES
from api.subscriptions.app_keys import (
    OUTBOX,
    RECEIVER_NETWORKS,
    ROOT_SECRET,
    SOURCES,
    STANDINGS,
    SUBSCRIPTIONS,
)
from api.subscriptions.counting import Counting
from api.subscriptions.holders import Holders
from api.subscriptions.metrics import SubscriptionMetrics
from api.subscriptions.receivers import receivers
from api.subscriptions.secrets import SECRET
from api.subscriptions.sending.delivery import Delivery, Pace, Ports
from api.subscriptions.sending.disclosures import Disclosures
from api.subscriptions.sending.reading import Sources
from api.subscriptions.sending.receiver_tokens import ReceiverTokens
from api.subscriptions.sending.retries import Circuits
from api.subscriptions.standing import Standings
from api.subscriptions.worker import Worker
from ingest.http.app_keys import CLOCK, LIMITS
from ingest.http.forwarded import networks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import web

    from api.subscriptions.receivers import Receivers


async def subscriptions(app: web.Application) -> AsyncIterator[None]:
    """Fill the keys of the handlers; needs the stores."""
    stores, settings = app[STORES], app[SETTINGS]
    app[SUBSCRIPTIONS] = stores.subscribing.subscriptions
    app[OUTBOX] = stores.subscribing.outbox
    app[RECEIVER_NETWORKS] = networks(settings.subscription_networks)
    app[ROOT_SECRET] = await app[ACCESS].secret(SECRET)
    limits = replace(
        app[LIMITS],
        bytes_max=settings.subscription_bytes_max,
        count_max=max(app[LIMITS].count_max, settings.subscription_batch_max),
    )
    app[SOURCES] = Sources(stores.resources, stores.changes, stores.subscribing.sides, limits)
    seconds = settings.access_cache_seconds
    holders = Holders(app[ACCESS], app[CLIENTS], clock=app[CLOCK], seconds=seconds)
    app[STANDINGS] = Standings(holders, app[ACCESS], limits, clock=app[CLOCK], seconds=seconds)
    yield


async def telling(app: web.Application) -> AsyncIterator[None]:
    """Match and deliver, while no other process does, or have the herald do it; needs the contexts before."""
    herald = app.get(HERALD)
    if herald is not None:
        metrics = SubscriptionMetrics(app[REGISTRY])  # Little is counted here; each is there from the start.

        async def is_needed() -> bool:
            metrics.needed(needed=(there := await app[SUBSCRIPTIONS].are_there()))
            return there

        async with herald.kept(is_needed, app[STORES].leases.free):
            yield
        return
    async with receivers(app[RECEIVER_NETWORKS]) as reached:
        working = worker_of(app, reached)
        task = asyncio.ensure_future(working.run())
        yield
        working.stop()
        await task


def worker_of(app: web.Application, reached: Receivers) -> Worker:
    """The worker of an application."""
    settings, clock, subscribing = app[SETTINGS], app[CLOCK], app[STORES].subscribing
    metrics = SubscriptionMetrics(app[REGISTRY])
    ports = Ports(
        app[SUBSCRIPTIONS],
        app[OUTBOX],
        app[SOURCES],
        app[STANDINGS],
        reached,
        ReceiverTokens(reached, monotonic=monotonic),
        Circuits(),
        metrics,
        Disclosures(app[PRIVACY].audit, settings.audit, clock=clock),
    )
    counting = Counting(
        store=app[SUBSCRIPTIONS],
        outbox=app[OUTBOX],
        sides=subscribing.sides,
        sources=app[SOURCES],
        standings=app[STANDINGS],
        metrics=metrics,
        clock=clock,
        queue_max=settings.subscription_queue_max,
    )
    pace = Pace(
        settings.subscription_batch_max,
        settings.subscription_timeout_seconds,
        timedelta(hours=settings.subscription_give_up_hours),
    )
    return Worker(
        ports,
        counting,
        Delivery(ports, pace, root=app[ROOT_SECRET], clock=clock),
        clock=clock,
        lease_seconds=settings.subscription_lease_seconds,
        linger_seconds=settings.subscription_linger_seconds,
    )
