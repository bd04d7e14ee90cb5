"""Header fields of every answer: no versions of ours, no copies of patients' data in anybody's cache, and
nothing for a browser to run, to frame or to pass on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from api.http.browsers import NO_STORE
from api.http.routing import ROWS
from api.server.connection import SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web

SAFE: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}
"""An answer is data: whatever stands in it, a browser shows it as the type that it has, and runs nothing."""
HSTS: Final = "max-age=31536000"
"""https://www.rfc-editor.org/rfc/rfc6797: where TLS is spoken, for a year nothing else is."""


async def say_server(_: web.Request, response: web.StreamResponse) -> None:
    """Name the service; the `on_response_prepare` of any application."""
    response.headers[hdrs.SERVER] = SERVER


async def forbid_copies(request: web.Request, response: web.StreamResponse) -> None:
    """Keep what needs a token out of caches; the application's `on_response_prepare`."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is None or not row.open:
        response.headers.setdefault(hdrs.CACHE_CONTROL, NO_STORE)


async def disarm(request: web.Request, response: web.StreamResponse) -> None:
    """Leave a browser nothing to run; the application's `on_response_prepare`."""
    headers = response.headers
    for name, value in SAFE.items():
        headers.setdefault(name, value)
    if request.secure:
        headers.setdefault("Strict-Transport-Security", HSTS)
