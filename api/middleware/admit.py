"""Pushes are refused while MongoDB is away, before it is asked for anything, even for the token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from api.http.routing import ROWS, Group
from ingest.http.admission import ADMISSION

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler


@web.middleware
async def admit_pushes(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let everything but a hopeless push through."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is not None and row.group is Group.WRITE:
        request.app[ADMISSION].check()
    return await handler(request)
