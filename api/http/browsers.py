"""Preliminary requests of browsers and tools: `OPTIONS`, and whether other origins may ask (CORS).

No token is needed for either, and nothing of a tenant is told but to a page of an origin that it allows: that
it does. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.http.app_keys import DOORKEEPER, SETTINGS
from ingest.http.app_keys import TENANT
from store.tenancy import ANY_ORIGIN, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

_SENT: Final = (
    "Authorization, Content-Type, Content-Encoding, Accept, Prefer, If-Match, If-None-Match, If-None-Exist,"
    " If-Modified-Since, Idempotency-Key, Range, If-Range, Last-Event-ID, X-Request-Id"
)
"""Headers that a page may send."""
_READ: Final = (
    "ETag, Location, Last-Modified, Retry-After, Content-Range, Content-Disposition, X-Request-Id,"
    " Dod-Tolerances, Dead-Letter, Idempotent-Replayed, RateLimit-Limit, RateLimit-Remaining,"
    " RateLimit-Reset, RateLimit-Policy, X-RateLimit-Limit"
)
"""Headers that a page may read beside those that all may."""
_KEPT_SECONDS: Final = "600"
NO_STORE: Final = "no-store"
"""https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.5"""


async def options(request: web.Request) -> web.StreamResponse:
    """OPTIONS of any path that is served: its methods, and to a page's question what it may send."""
    allowed = set[str]()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        allowed |= methods
    listed = ", ".join(sorted(allowed))
    return web.Response(status=204, headers={hdrs.ALLOW: listed, **await _preflight(request, listed)})


async def _preflight(request: web.Request, methods: str) -> Mapping[str, str]:
    asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if not asked or not _may(request, await _origins(request)):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: methods,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _SENT,
        hdrs.ACCESS_CONTROL_MAX_AGE: _KEPT_SECONDS,
    }


async def allow_pages(request: web.Request, response: web.StreamResponse) -> None:
    """Say which origin may read the answer; the application's `on_response_prepare`.

    What a cache may keep, as `/metadata`, says that it depends on the origin though no page asks this time.
    """
    if TENANT not in request and hdrs.ORIGIN not in request.headers and _is_kept_by_nobody(response):
        return
    origins = await _origins(request)
    if not origins:
        return
    named = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{named}, {hdrs.ORIGIN}" if named else hdrs.ORIGIN
    if _may(request, origins):
        origin = ANY_ORIGIN if ANY_ORIGIN in origins else request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _READ


def _is_kept_by_nobody(response: web.StreamResponse) -> bool:
    return response.headers.get(hdrs.CACHE_CONTROL) == NO_STORE


async def _origins(request: web.Request) -> AbstractSet[str]:
    """The origins that a path allows: those of its tenant, else those of the deployment."""
    own = request[TENANT].cors_origins if TENANT in request else await _of_tenant(request)
    return own or request.app[SETTINGS].pages


async def _of_tenant(request: web.Request) -> AbstractSet[str]:
    """The origins of the tenant of a request that has entered none."""
    match = request.match_info
    try:
        tenant = parse_tenant(f"{match['organization']}/{match['environment']}")
    except (KeyError, ValueError):  # Of no tenant.
        return frozenset()
    return await request.app[DOORKEEPER].origins(tenant)


def _may(request: web.Request, origins: AbstractSet[str]) -> bool:
    """Whether the page that asks is let. Tokens are sent by the page itself, never in cookies."""
    origin = request.headers.get(hdrs.ORIGIN)
    return origin is not None and not origins.isdisjoint((origin, ANY_ORIGIN))
