"""Preliminary requests of browsers and tools: `OPTIONS`, and whether other origins may ask (CORS).

No token is needed for either, and nothing of a tenant is told. https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.http.app_keys import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

_SENT: Final = (
    "Authorization, Content-Type, Content-Encoding, Accept, Prefer, If-Match, If-None-Match, If-None-Exist,"
    " If-Modified-Since, Idempotency-Key, Range, X-Request-Id"
)
"""Headers that a page may send."""
_READ: Final = (
    "ETag, Location, Last-Modified, Retry-After, Content-Range, X-Request-Id, Dod-Tolerances, Dead-Letter,"
    " Idempotent-Replayed, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy,"
    " X-RateLimit-Limit"
)
"""Headers that a page may read beside those that all may."""
_KEPT_SECONDS: Final = "600"


async def options(request: web.Request) -> web.StreamResponse:
    """OPTIONS of any path that is served: its methods, and to a page's question what it may send."""
    allowed = set[str]()
    for resource in request.app.router.resources():
        _, methods = await resource.resolve(request)
        allowed |= methods
    listed = ", ".join(sorted(allowed))
    return web.Response(status=204, headers={hdrs.ALLOW: listed, **_preflight(request, listed)})


def _preflight(request: web.Request, methods: str) -> Mapping[str, str]:
    asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if not asked or not _may(request):
        return {}
    return {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: methods,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _SENT,
        hdrs.ACCESS_CONTROL_MAX_AGE: _KEPT_SECONDS,
    }


async def allow_pages(request: web.Request, response: web.StreamResponse) -> None:
    """Say which origin may read the answer; the application's `on_response_prepare`."""
    if not request.app[SETTINGS].cors_origins:
        return
    named = response.headers.get(hdrs.VARY)
    response.headers[hdrs.VARY] = f"{named}, {hdrs.ORIGIN}" if named else hdrs.ORIGIN
    if _may(request):
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _READ


def _may(request: web.Request) -> bool:
    """Whether the page that asks is let. Tokens are sent by the page itself, never in cookies."""
    origins, origin = request.app[SETTINGS].cors_origins, request.headers.get(hdrs.ORIGIN)
    return origin is not None and bool({origin, "*"} & {*origins.replace(" ", "").split(",")})
