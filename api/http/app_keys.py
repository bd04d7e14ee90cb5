"""Keys of what handlers take out of the application and the request: typed keys, no strings, no globals.

`api.lifecycle` fills the application's keys, the middlewares fill the request's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from joserfc.jwk import OctKey
    from prometheus_client import CollectorRegistry

    from api.auth.doorkeeper import Doorkeeper
    from api.auth.key_sets import KeySets
    from api.background.purges import Purges
    from api.limits.limiter import Limiter
    from api.metrics import ApiMetrics
    from api.readiness import Readiness
    from api.server.traces import Traces
    from api.settings.service import Settings
    from ingest.metrics import RefusalMetrics
    from store.access import AccessStore
    from store.changes.changes import Changes
    from store.changes.metrics import ChangeMetrics
    from store.clients import ClientStore
    from store.dead_letters import DeadLetters
    from store.fair import Gate
    from store.retention.metrics import RetentionMetrics
    from store.retention.policy import PolicyStore
    from store.stores import Privacy, Stores

# The application's.
SETTINGS: Final[web.AppKey[Settings]] = web.AppKey("settings")
REGISTRY: Final[web.AppKey[CollectorRegistry]] = web.AppKey("registry")
"""All metrics of this application; one per application, so that two can live in one test run."""
METRICS: Final[web.AppKey[ApiMetrics]] = web.AppKey("metrics")
READINESS: Final[web.AppKey[Readiness]] = web.AppKey("readiness")
TRACES: Final[web.AppKey[Traces]] = web.AppKey("traces")
"""The tracer; only where one is wanted."""
ACCESS: Final[web.AppKey[AccessStore]] = web.AppKey("access")
"""The port itself: for secrets and commands. Requests ask the doorkeeper, which remembers."""
CLIENTS: Final[web.AppKey[ClientStore]] = web.AppKey("clients")
"""Registered clients: for the token endpoint. Requests ask the doorkeeper, which remembers."""
KEY_SETS: Final[web.AppKey[KeySets]] = web.AppKey("key_sets")
"""Keys that clients publish."""
TOKEN_KEY: Final[web.AppKey[OctKey]] = web.AppKey("token_key")
"""Shared by all replicas: access tokens are signed with it."""
LIMITER: Final[web.AppKey[Limiter]] = web.AppKey("limiter")
"""Counts of requests, by client and by address."""
DOORKEEPER: Final[web.AppKey[Doorkeeper]] = web.AppKey("doorkeeper")
DEAD_LETTERS: Final[web.AppKey[DeadLetters]] = web.AppKey("dead_letters")
POLICIES: Final[web.AppKey[PolicyStore]] = web.AppKey("policies")
RETENTION_METRICS: Final[web.AppKey[RetentionMetrics]] = web.AppKey("retention_metrics")
STORES: Final[web.AppKey[Stores]] = web.AppKey("stores")
"""All of them, for the jobs; handlers take their port."""
REFUSAL_METRICS: Final[web.AppKey[RefusalMetrics]] = web.AppKey("refusal_metrics")
PRIVACY: Final[web.AppKey[Privacy]] = web.AppKey("privacy")
"""Holds, the record of what officers did, erasures."""
PURGES: Final[web.AppKey[Purges]] = web.AppKey("purges")
"""Erasures under way behind requests."""

CHANGES: Final[web.AppKey[Changes]] = web.AppKey("changes")
CHANGE_METRICS: Final[web.AppKey[ChangeMetrics]] = web.AppKey("change_metrics")

SCANS: Final[web.AppKey[Gate]] = web.AppKey("scans")
"""Places for histories that look at every version of a type."""
PAGE_SECRET: Final[web.AppKey[bytes]] = web.AppKey("page_secret")
"""Shared by all replicas: page links are sealed with it."""

# The request's. Who asks and whose data are `ingest.http.app_keys`.
REQUEST_ID: Final[web.RequestKey[str]] = web.RequestKey("request_id")
TRACE_ID: Final[web.RequestKey[str]] = web.RequestKey("trace_id")
"""Id of its trace; only of requests that are traced."""
TRACE_PARENT: Final[web.RequestKey[str]] = web.RequestKey("trace_parent")
"""Span of the request, as `traceparent` names it to another process; only of requests that are traced."""
