"""Header fields of every answer: no versions of ours, and no copies of patients' data in anybody's cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import hdrs

from api.routing import ROWS
from api.server.runner import SERVER

if TYPE_CHECKING:
    from aiohttp import web

NO_STORE: Final = "no-store"
"""https://www.rfc-editor.org/rfc/rfc9111#section-5.2.2.5"""


async def say_server(_: web.Request, response: web.StreamResponse) -> None:
    """Name the service; the `on_response_prepare` of any application."""
    response.headers[hdrs.SERVER] = SERVER


async def forbid_copies(request: web.Request, response: web.StreamResponse) -> None:
    """Keep what needs a token out of caches; the application's `on_response_prepare`."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is None or not row.open:
        response.headers.setdefault(hdrs.CACHE_CONTROL, NO_STORE)
