"""Large answers on their way: in parts, as fast as they are read, and not for ever.

aiohttp hands a whole answer to the connection, which copies what the client does not take at once. Here a
part follows when the one before is gone, so that an answer is in memory once. A connection on which nothing
moves is cut by `api.server.connection`; one on which too little moves, here.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from api.http.app_keys import REQUEST_ID, SETTINGS
from api.http.routing import ROWS, Group
from ingest.http.answer_room import HELD, SMALL_BYTES, hold
from ingest.http.app_keys import PRINCIPAL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOG: Final = logging.getLogger("api.delivery")
PART_BYTES: Final = 131_072
STREAM_BYTES: Final = 5_000_000
"""Bytes in memory at a time of a document that is sent as it is read."""


def hold_whole(request: web.Request, response: web.StreamResponse) -> None:
    """Take room for what is not held yet of a large answer. Raises ServiceError when there is none."""
    more = len(_large(response)) - request.get(HELD, 0)
    if more > 0 and PRINCIPAL in request:  # What stands open is the same for all.
        row = request.app[ROWS].get(request.match_info.route)
        hold(request, more, whatever=row is not None and row.group is Group.WRITE)


async def send(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The answer, sent already when it is large."""
    body = _large(response)
    if not body or request.method == hdrs.METH_HEAD or not isinstance(response, web.Response):
        return response
    sent = web.StreamResponse(status=response.status, headers=response.headers)
    sent.content_length = len(body)
    if response.keep_alive is False:
        sent.force_close()
    response.body = None  # In memory once.
    async with in_time(request, len(body)):
        await sent.prepare(request)
        with memoryview(body) as whole:
            for start in range(0, len(whole), PART_BYTES):
                await sent.write(whole[start : start + PART_BYTES])
        await sent.write_eof()
    return sent


def _large(response: web.StreamResponse) -> bytes:
    """The body of an answer that is large and in memory; empty: it is not."""
    body = response.body if isinstance(response, web.Response) else None
    return body if isinstance(body, bytes) and len(body) > SMALL_BYTES else b""


@asynccontextmanager
async def in_time(request: web.Request, size: int) -> AsyncIterator[None]:
    """Cut the connection when so many bytes are not gone in time; a client that has gone is no failure."""
    settings = request.app[SETTINGS]
    try:
        async with asyncio.timeout(settings.answer_stall_seconds + size / settings.answer_rate_min):
            yield
    except TimeoutError:
        LOG.info("a client reads too slowly", extra={"request_id": request.get(REQUEST_ID)})
        if request.transport is not None:
            request.transport.abort()
    except ConnectionError:
        pass
