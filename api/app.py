"""The composition root: settings, routes and stores become an application. Callable twice in one run."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Final

from aiohttp import web

from api import feeds, lifecycle
from api.http.app_keys import (
    CHANGE_METRICS,
    LIMITER,
    METRICS,
    READINESS,
    REFUSAL_METRICS,
    REGISTRY,
    RETENTION_METRICS,
    SCANS,
    SETTINGS,
    TRACES,
)
from api.http.browsers import allow_pages
from api.http.routing import counted, install
from api.limits.limiter import Limiter
from api.metrics import ApiMetrics, new_registry
from api.middleware.admit import admit_pushes
from api.middleware.answer_headers import disarm, forbid_copies, say_server
from api.middleware.audit import audit
from api.middleware.authenticate import authenticate, refuse_closed
from api.middleware.compress import compress
from api.middleware.deliver import hold_answers, send_in_parts
from api.middleware.errors import errors
from api.middleware.observe import observe
from api.middleware.reachable import while_reachable
from api.middleware.request_id import echo_request_id
from api.middleware.throttle import throttle_addresses, throttle_clients
from api.middleware.trace import trace
from api.readiness import Readiness
from api.search.handlers import search_entry
from api.search.subset import cut_as_asked
from api.server.traces import Traces
from api.subscriptions import life
from ingest.http.answer_room import ANSWER_ROOM, AnswerRoom
from ingest.http.app_keys import (
    BASE_URL,
    CLOCK,
    CUT,
    INGEST_METRICS,
    INGEST_SETTINGS,
    LIMITS,
    READS,
    SEARCH,
    STILL_OPEN,
    TRUSTED_PROXIES,
)
from ingest.http.forwarded import networks
from ingest.http.letter_keeper import say_letter
from ingest.metrics import IngestMetrics, RefusalMetrics
from store.changes.metrics import ChangeMetrics
from store.fair import Gate
from store.retention.metrics import RetentionMetrics
from store.search.parsing.context import SearchLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aiohttp.typedefs import Middleware

    from api.http.routing import Route
    from api.lifecycle import OpenStores
    from api.settings.service import Settings


_AROUND: Final[Sequence[Middleware]] = (
    observe,
    send_in_parts,
    compress,
    audit,
    errors,
    hold_answers,
    admit_pushes,
    while_reachable,
    throttle_addresses,
    authenticate,
    throttle_clients,
)
"""Middlewares, the outermost first."""
_AROUND_TAKEN: Final[Sequence[Middleware]] = (send_in_parts, audit, errors, hold_answers)
"""Middlewares of the annex."""


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def limits_of(settings: Settings) -> SearchLimits:
    """Bounds of a search, from the settings."""
    return SearchLimits(
        count_default=settings.page_size_default,
        count_max=settings.page_size_max,
        bytes_max=settings.page_bytes_max,
        clauses_max=settings.clauses_max,
        values_max=settings.values_max,
    )


def _scans(settings: Settings) -> Gate:
    """Places for histories that look at every version: a quarter of those for reads.

    A client has as few as slow searches beside others.
    """
    places = settings.shares(max(settings.reads_max // 4, 1))
    return Gate(
        places=places._replace(client=min(places.client, settings.search_slow_beside_max)),
        waiting=settings.shares(settings.search_queue_max),
        seconds=settings.search_timeout_seconds,
    )


class Duty(Enum):
    """Work beside requests, which one process of a service has."""

    TIMER = "timer"
    """Jobs on a timer."""
    TELL = "tell"
    """The change feed, and telling subscribers of changes."""


ALL_DUTIES: Final = frozenset(Duty)
NO_DUTIES: Final[frozenset[Duty]] = frozenset()


def create_app(  # noqa: PLR0913 -- all but one keyword-only
    settings: Settings,
    *,
    routes: Iterable[Route],
    open_stores: OpenStores,
    clock: Callable[[], datetime] = utc_now,
    duties: frozenset[Duty] = ALL_DUTIES,
    taken: Middleware | None = None,
) -> web.Application:
    """The FHIR application. `api.health.create_admin_app` makes the admin one beside it.

    Of several processes of one service, one has each duty. The annex is an application whose requests are
    `taken` from another one, which has done all that concerns their senders.
    """
    app = web.Application(
        middlewares=[
            *([trace] if settings.otlp_endpoint else []),
            *(_AROUND if taken is None else (taken, *_AROUND_TAKEN)),
        ],
        client_max_size=settings.body_bytes_max,
    )
    app[SETTINGS] = settings
    app[CLOCK] = clock
    table = tuple(routes)
    _observe(app, settings, table)
    app[READINESS] = Readiness()
    app[LIMITER] = Limiter(settings.rates, at_once=settings.client_requests_max, monotonic=time.monotonic)
    app[BASE_URL] = settings.base_url
    app[TRUSTED_PROXIES] = networks(settings.trusted_proxies)
    app[INGEST_SETTINGS] = settings
    app[STILL_OPEN] = refuse_closed
    app[LIMITS] = limits_of(settings)
    app[SEARCH] = search_entry
    app[CUT] = cut_as_asked
    app[ANSWER_ROOM] = AnswerRoom(settings.shares(settings.answers_bytes_max))
    app[READS] = Gate(
        places=settings.shares(settings.reads_max),
        waiting=settings.shares(settings.search_queue_max),
        seconds=settings.search_timeout_seconds,
    )
    app[SCANS] = _scans(settings)
    feeds.prepare(app)
    install(app, table, role=settings.role)
    app.on_response_prepare.append(say_letter)
    app.on_shutdown.append(lifecycle.end_listening)
    app.cleanup_ctx.extend(
        [
            lifecycle.stores(open_stores),
            lifecycle.doorkeeper,
            lifecycle.dead_letters,
            lifecycle.purges,
            life.subscriptions,
        ]
    )
    if taken is None:
        _serve_clients(app, duties)
    return app


def _serve_clients(app: web.Application, duties: frozenset[Duty]) -> None:
    """Say on answers what clients are told, and do what is done beside their requests."""
    settings = app[SETTINGS]
    app.on_response_prepare.extend([say_server, forbid_copies, disarm, echo_request_id, allow_pages])
    app.cleanup_ctx.append(lifecycle.loop_lag)
    if settings.role in ("all", "ingest"):
        app.cleanup_ctx.append(feeds.feeds)
    own = duties if settings.role in ("all", "jobs") else NO_DUTIES
    if Duty.TELL in own and settings.changes_look_seconds:
        app.cleanup_ctx.append(life.telling)
    app.cleanup_ctx.append(lifecycle.following(follows=Duty.TELL in own))
    if Duty.TIMER in own:
        app.cleanup_ctx.append(lifecycle.jobs)


def _observe(app: web.Application, settings: Settings, table: Sequence[Route]) -> None:
    """Put the metrics into the application, and the tracer if one is wanted."""
    registry = app[REGISTRY] = new_registry()
    app[METRICS] = ApiMetrics(registry, routes=counted(table, role=settings.role), sources=settings.sources)
    app[INGEST_METRICS] = IngestMetrics(registry)
    app[REFUSAL_METRICS] = RefusalMetrics(registry)
    app[RETENTION_METRICS] = RetentionMetrics(registry)
    app[CHANGE_METRICS] = ChangeMetrics(registry)
    if settings.otlp_endpoint is not None:
        app[TRACES] = Traces(settings.otlp_endpoint, share=settings.trace_share)
        app.cleanup_ctx.append(lifecycle.traces)
