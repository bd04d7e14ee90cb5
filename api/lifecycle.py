"""Contexts that live as long as the application: one per resource, closed in reverse order."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from api.auth.access_check import AccessCheck
from api.auth.access_tokens import SECRET, signing_key
from api.auth.doorkeeper import Doorkeeper
from api.auth.external import ExternalIssuer, IssuerSettings, keys_of_issuer
from api.auth.key_sets import KeySets
from api.background.following import Following
from api.background.herald import HERALD
from api.background.jobs import Jobs
from api.background.purges import Purges
from api.http.app_keys import (
    ACCESS,
    CHANGE_METRICS,
    CHANGES,
    CLIENTS,
    DEAD_LETTERS,
    DOORKEEPER,
    KEY_SETS,
    PAGE_SECRET,
    POLICIES,
    PRIVACY,
    PURGES,
    READINESS,
    REFUSAL_METRICS,
    REGISTRY,
    RETENTION_METRICS,
    SETTINGS,
    STORES,
    TOKEN_KEY,
    TRACES,
)
from api.http.listeners import LISTENERS, Listeners
from api.server.loop_lag import LoopMetrics, watched
from api.server.traces import closed_at_end
from ingest.http.admission import ADMISSION, Admission, shares_of
from ingest.http.app_keys import ATTACHMENTS, AUDIT, CLOCK, IDENTITY_SECRET, RESOURCES, WORKSHOP
from ingest.http.forwarded import networks
from ingest.http.letter_keeper import REFUSALS, Refusals
from ingest.http.workshop import Workshop
from store.errors import ServiceError
from store.metrics import StoreMetrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from aiohttp import web

    from store.stores import Stores

    OpenStores = Callable[[StoreMetrics], AbstractAsyncContextManager[Stores]]
    """Opens the database; tests open a fake."""


LOG: Final = logging.getLogger("api.lifecycle")


async def loop_lag(app: web.Application) -> AsyncIterator[None]:
    """Look how late the event loop is."""
    async with watched(LoopMetrics(app[REGISTRY])):
        yield


async def traces(app: web.Application) -> AsyncIterator[None]:
    """Cleanup context that sends what is left of the traces at the end."""
    async with closed_at_end(app[TRACES]):
        yield


def stores(open_stores: OpenStores) -> Callable[[web.Application], AsyncIterator[None]]:
    """Hold the stores for as long as the app runs; refuse to start without them."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        metrics = StoreMetrics(app[REGISTRY])
        async with open_stores(metrics) as opened:
            settings = app[SETTINGS]
            app[ADMISSION] = Admission(
                shares_of(settings),
                check=opened.check,
                rejected=metrics.rejected,
                rate=settings.push_client_rate,
            )
            workshop = Workshop(seconds=settings.prepare_seconds, wait_seconds=settings.body_seconds)
            app[WORKSHOP] = workshop
            app[STORES] = opened
            app[RESOURCES] = opened.resources
            app[CHANGES] = opened.changes
            app[LISTENERS] = Listeners(settings.shares(settings.changes_listeners_max), app[CHANGE_METRICS])
            app[ACCESS] = opened.access
            app[CLIENTS] = opened.clients
            app[DEAD_LETTERS] = opened.dead_letters
            app[ATTACHMENTS] = opened.attachments
            app[PRIVACY] = opened.privacy
            app[AUDIT] = opened.privacy.audit
            app[POLICIES] = opened.policies
            app[PAGE_SECRET] = await opened.access.secret("page links")
            app[IDENTITY_SECRET] = await opened.access.secret("identities")
            app[READINESS].watch(opened.ping)
            yield
            workshop.close()

    return context


async def doorkeeper(app: web.Application) -> AsyncIterator[None]:
    """Remember grants and tenants for a moment; needs the stores."""
    settings, clock = app[SETTINGS], app[CLOCK]
    seconds, allowed = settings.access_cache_seconds, networks(settings.jwks_networks)
    app[KEY_SETS] = KeySets(allowed=allowed)
    app[TOKEN_KEY] = signing_key(await app[ACCESS].secret(SECRET))
    issuer = None
    if settings.issuer and settings.issuer_audience and settings.issuer_jwks_url:
        told = IssuerSettings(
            settings.issuer,
            settings.issuer_audience,
            settings.issuer_jwks_url,
            settings.assertion_leeway_seconds,
        )
        issuer = ExternalIssuer(told, keys=KeySets(allowed=allowed, read=keys_of_issuer), clock=clock)
    tokens = AccessCheck(app[CLIENTS], key=app[TOKEN_KEY], clock=clock, seconds=seconds, external=issuer)
    check = app[STORES].check_read
    app[DOORKEEPER] = Doorkeeper(app[ACCESS], clock=clock, seconds=seconds, tokens=tokens, check=check)
    yield


OPEN_LETTERS_SECONDS: Final = 30.0
"""Pause between two counts of the open dead letters; what is scraped is at most so old."""
OPEN_LETTERS_MAX: Final = 100_000
"""Counted no further: by then somebody should have looked."""


async def dead_letters(app: web.Application) -> AsyncIterator[None]:
    """Keep refused pushes, and count those that wait for somebody; needs the stores."""
    app[REFUSALS] = Refusals(app[DEAD_LETTERS], app[REFUSAL_METRICS])
    counting = asyncio.ensure_future(_count_open(app))
    try:
        yield
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting
        await app[REFUSALS].drain()


async def _count_open(app: web.Application) -> None:
    while True:
        await asyncio.sleep(OPEN_LETTERS_SECONDS)
        try:
            app[REFUSAL_METRICS].open(await app[DEAD_LETTERS].count_open(limit=OPEN_LETTERS_MAX))
        except ServiceError:
            pass  # The guard has counted it; the next time will do.
        except Exception:
            LOG.exception("the open dead letters could not be counted; it is tried again")


async def purges(app: web.Application) -> AsyncIterator[None]:
    """Hold erasures for as long as the application runs; needs the stores."""
    if app[PRIVACY] is None:
        yield
        return
    app[PURGES] = Purges(app[PRIVACY].erasing, metrics=app[RETENTION_METRICS])
    yield
    await app[PURGES].stop()


def _is_away(app: web.Application) -> bool:
    """Whether the database is away."""
    try:
        app[STORES].check_read()
    except ServiceError:
        return True
    return False


async def jobs(app: web.Application) -> AsyncIterator[None]:
    """Do what is done on a timer; needs the stores."""
    work = Jobs(app[STORES], app[SETTINGS], clock=app[CLOCK], metrics=app[RETENTION_METRICS])
    work.schedule.start()
    try:
        yield
    finally:
        await work.schedule.stop(is_away=partial(_is_away, app))


async def end_listening(app: web.Application) -> None:
    """Let all who listen to changes go: the process ends. An `on_shutdown` of the application."""
    app[LISTENERS].ending = True
    app[CHANGES].wake()


def following(*, follows: bool) -> Callable[[web.Application], AsyncIterator[None]]:
    """Look how far the change feed is behind; a process that `follows` reads MongoDB's log for it, when no
    other one does, nor the herald. Needs the stores.
    """

    async def context(app: web.Application) -> AsyncIterator[None]:
        seconds = app[SETTINGS].changes_look_seconds if follows else 0.0
        herald = app.get(HERALD)
        away = herald.is_there if herald is not None else lambda: False
        work = Following(app[STORES].follower, app[CHANGE_METRICS], seconds=seconds, away=away)
        work.start()
        try:
            yield
        finally:
            await work.stop(is_away=partial(_is_away, app))

    return context
