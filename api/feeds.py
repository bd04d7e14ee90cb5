"""Ways in for HL7 v2: the declared sources, and the MLLP ports for as long as the application runs."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.http.app_keys import DEAD_LETTERS, DOORKEEPER, REFUSAL_METRICS, REGISTRY, SETTINGS, STORES
from api.server.tls import Files, reloading
from ingest.access import Access, Visit
from ingest.feeds.desk import Desk
from ingest.feeds.handler import FEED_METRICS, FEEDS, OPERATION, PATH, path_of
from ingest.feeds.kept import ER7
from ingest.feeds.metrics import FeedMetrics
from ingest.feeds.sources import Feeds, ListeningPort, Source, load_feeds, load_source_profile
from ingest.http.app_keys import (
    ATTACHMENTS,
    AUDIT,
    CLOCK,
    IDENTITY_SECRET,
    INGEST_METRICS,
    LIMITS,
    RESOURCES,
    WORKSHOP,
    base_under,
)
from ingest.http.outcome import STATUS
from ingest.http.workshop import Job
from ingest.mllp.listener import Limits, Listener
from ingest.mllp.room import ConnectionRoom
from ingest.unique import unique_id
from ingest.writes.push_context import PushContext
from store.dead_letters import Refused
from store.errors import Category, ServiceError, StartupError
from store.fhir.issues import Issue
from store.search.reach import Everything
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from collections.abc import Set as AbstractSet

    from api.settings.service import Settings
    from ingest.feeds.receive import Keeper
    from ingest.mllp.listener import Peer
    from store.tenancy import Tenant, TenantSettings

LOG: Final = logging.getLogger("api.feeds")
PORTS: Final[web.AppKey[dict[str, int]]] = web.AppKey("ports")
"""Ports that were really taken, by the name of the listener."""
MLLP: Final = "mllp"
"""Name of the port and of the source of `--mllp-port`; and of the credential in dead letters."""
_EVERYTHING: Final[Mapping[str, frozenset[str]]] = {"*": frozenset("cruds")}
_LOCAL: Final = "http://localhost"


class FeedCaller(Everything):
    """The caller that a source is: whoever reaches its port may push for its tenant."""

    token_id = MLLP
    scopes = _EVERYTHING
    is_admin = False
    own: AbstractSet[str] = frozenset()

    def __init__(self, source: Source) -> None:
        self.client = source.name


def declared_feeds(settings: Settings) -> Feeds:
    """The sources and ports in the file that the settings name. Raises StartupError."""
    return Feeds() if settings.mllp_sources is None else load_feeds(settings.mllp_sources)


def known_sources(settings: Settings) -> Feeds:
    """The sources that the settings declare, in a process that listens nowhere. Raises StartupError."""
    declared = declared_feeds(settings)
    if settings.mllp_tenant is None:
        return replace(declared, ports=())
    profile = load_source_profile(settings.mllp_profile)
    single = Source(MLLP, _tenant(settings.mllp_tenant), profile)
    return replace(declared, sources=(*declared.sources, single), ports=())


def feeds_of(settings: Settings) -> Feeds:
    """The sources and ports that the settings declare. Raises StartupError."""
    declared, sources = declared_feeds(settings), known_sources(settings).sources
    if not sources and settings.mllp_port is not None:
        raise StartupError(
            "`--mllp-port` needs the tenant whose messages come in there: `--mllp-tenant ORG/ENV` or"
            " DOD_MLLP_TENANT; several sources are declared in a file, DOD_MLLP_SOURCES."
        )
    if settings.mllp_port is None:
        return Feeds(sources, declared.ports, declared.destinations)
    port = ListeningPort(MLLP, settings.mllp_host, settings.mllp_port, sources)
    return Feeds(sources, (*declared.ports, port), declared.destinations)


def _tenant(text: str) -> Tenant:
    try:
        return parse_tenant(text)
    except ValueError as error:
        raise StartupError(f"DOD_MLLP_TENANT: {error}.") from None


async def feeds(app: web.Application) -> AsyncIterator[None]:
    """Listen for MLLP where the settings say so; needs the stores."""
    settings = app[SETTINGS]
    desk = Desk(
        _context_for(app),
        _keeper(app),
        metrics=app[FEED_METRICS],
        clock=app[CLOCK],
        patience_seconds=settings.mllp_patience_seconds,
        settings=settings,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(desk.close, settings.shutdown_seconds)
        room = ConnectionRoom(settings.mllp_bytes_max, settings.mllp_message_bytes_max)
        for port in app[FEEDS].ports:
            await _warn_of_tenants(app, port)
            listener = Listener(
                port.name,
                desk.answering(port),
                _admits(port),
                limits=_limits(settings),
                room=room,
                metrics=app[FEED_METRICS],
            )
            app[PORTS][port.name] = await _listen(stack, settings, listener, port)
            stack.push_async_callback(listener.close, settings.shutdown_seconds)
        stack.callback(desk.end)
        yield


def _admits(port: ListeningPort) -> Callable[[Peer], bool]:
    return lambda peer: port.admits(peer.address, peer.names)


async def _listen(stack: AsyncExitStack, settings: Settings, listener: Listener, port: ListeningPort) -> int:
    """Start a listener; gives the port that was really taken. Raises StartupError."""
    if port.port == 0 and settings.workers != 1:
        raise StartupError("MLLP port 0 would be another one for each worker: name a port, or `--workers 1`.")
    context = None
    if port.certificate is not None:
        files = Files(port.certificate, port.key or port.certificate, port.client_ca)
        context = await stack.enter_async_context(reloading(files, seconds=settings.tls_reload_seconds))
    try:
        taken = await listener.start(port.host, port.port, context, shared=settings.workers != 1)
    except OSError as error:
        why = error.strerror or type(error).__name__
        text = f"MLLP port {port.port} of {port.host} cannot be listened on: {why}"
        raise StartupError(f"{text}; `--mllp-port 0` takes any that is free.") from None
    LOG.info("listening for MLLP", extra={"listener": port.name, "address": f"{port.host}:{taken}"})
    return taken


async def _warn_of_tenants(app: web.Application, port: ListeningPort) -> None:
    """Say early which tenant is missing: its messages wait unanswered until it is made."""
    for tenant in sorted({str(one.tenant) for one in port.sources}):
        if await app[DOORKEEPER].tenant(parse_tenant(tenant)) is None:
            LOG.warning(
                "a source's tenant was never created: `dod tenant create`",
                extra={"listener": port.name, "tenant": tenant},
            )


def _limits(settings: Settings) -> Limits:
    return Limits(
        message_bytes=settings.mllp_message_bytes_max,
        connections=settings.mllp_connections_max,
        idle_seconds=settings.mllp_idle_seconds,
        stall_seconds=settings.mllp_stall_seconds,
        message_seconds=settings.mllp_message_seconds,
    )


def _origin(app: web.Application) -> str:
    return app[SETTINGS].base_url or _LOCAL


def _context_for(app: web.Application) -> Callable[[Source, str], Awaitable[PushContext]]:
    """The push that the messages of a source are."""

    async def context_for(source: Source, address: str) -> PushContext:
        # While MongoDB is away, nothing is tried that would only wait for it.
        app[STORES].check()
        tenant = await app[DOORKEEPER].tenant(source.tenant)
        if tenant is None:
            raise ServiceError(
                Category.NOT_FOUND, Issue("not-found", "the source's tenant was never created")
            )
        return context_of(app, source, tenant, address)

    return context_for


def context_of(app: web.Application, source: Source, whose: TenantSettings, address: str) -> PushContext:
    """Context for the pushes of a source: the caller, and where to."""
    settings, caller, trail = app[SETTINGS], FeedCaller(source), app.get(AUDIT)
    access = None
    if trail is not None and settings.audit != "off":
        visit = Visit(whose.tenant, app[CLOCK](), OPERATION, unique_id(), address)
        access = Access(trail, visit, lambda: caller, required=False, resource=PATH)
    return PushContext(
        store=app[RESOURCES],
        attachments=app[ATTACHMENTS],
        tenant=whose.tenant,
        caller=caller,
        base=base_under(_origin(app), str(whose.tenant)),
        secret=app[IDENTITY_SECRET],
        clock=app[CLOCK],
        settings=settings,
        limits=app[LIMITS],
        metrics=app[INGEST_METRICS],
        strict=(whose.handling or settings.validation) == "strict",
        stable_sources=whose.stable_sources,
        audit=trail,
        access=access,
        beside=Job(app[WORKSHOP], str(whose.tenant)),
    )


def _keeper(app: web.Application) -> Keeper:
    """Keeps a refused message durably before its sender is told: it will not be sent again."""

    async def keep(message: bytes, source: Source, error: ServiceError) -> str | None:
        refused = Refused(
            operation=OPERATION,
            method=hdrs.METH_POST,
            path=path_of(source),
            headers={hdrs.CONTENT_TYPE: ER7},
            origin=_origin(app),
            client=source.name,
            token_id=MLLP,
            scopes=_EVERYTHING,
            status=STATUS[error.category],
            issues=error.issues,
            body=message,
            at=app[CLOCK](),
        )
        try:
            letter = await app[DEAD_LETTERS].keep(source.tenant, refused)
        except ServiceError as failed:
            app[REFUSAL_METRICS].lost(failed.category.value)
            if failed.category is Category.GONE:  # Of somebody who was erased nothing is kept.
                return None
            raise
        app[REFUSAL_METRICS].kept(refused.issues[0].code)
        return letter

    return keep


def prepare(app: web.Application) -> None:
    """Put what the feeds need into the application, before it starts. Raises StartupError."""
    app[FEEDS] = feeds_of(app[SETTINGS])
    app[FEED_METRICS] = FeedMetrics(app[REGISTRY])
    app[PORTS] = {}
