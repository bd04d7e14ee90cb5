"""Reads, searches and operations are refused while MongoDB is away; a search has one deadline, its token
included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aiohttp import web

from api.http.app_keys import SETTINGS, STORES
from api.http.routing import ROWS, Group
from store.mongo.driver.guard import within

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

ASKING: Final = frozenset({Group.READ, Group.SEARCH, Group.ADMIN})
"""Groups of routes whose answers are in the database, all of them."""


@web.middleware
async def while_reachable(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse at once what would only wait for a database; bound what may still wait."""
    row = request.app[ROWS].get(request.match_info.route)
    if row is not None and row.group in ASKING:
        request.app[STORES].check_read()
    if row is None or row.group is not Group.SEARCH:
        return await handler(request)  # A document may be read for as long as its client takes.
    with within(request.app[SETTINGS].search_timeout_seconds):
        return await handler(request)
