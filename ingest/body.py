"""The body of a request, read once for all who look at it, and let go when it is answered.

aiohttp's own `read` keeps the body in the request, and an idle connection keeps the request: sixty-four
senders that wait for their next message would hold forty megabytes each.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import hdrs, web

from ingest.admission import ROOM
from ingest.keys import INGEST_SETTINGS

BODY: Final[web.RequestKey[bytearray]] = web.RequestKey("body")


async def body_of(request: web.Request) -> bytearray:
    """All of it, decoded. Raises 413 past the limit of the application, 408 when it is too slow."""
    if BODY not in request:
        # Most bodies are there when their request is: for those no timer is needed.
        read = _read(request) if request.content.is_eof() else _awaited(request)
        request[BODY] = await read
    return request[BODY]


async def _awaited(request: web.Request) -> bytearray:
    try:
        async with asyncio.timeout(request.app[INGEST_SETTINGS].body_seconds):
            return await _read(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body took too long to arrive") from None


async def _read(request: web.Request) -> bytearray:
    body, limit = bytearray(), request.client_max_size
    # What has a length has its room; what is compressed, or tells none, takes it as it grows.
    told = request.content_length is not None and hdrs.CONTENT_ENCODING not in request.headers
    room = None if told else request.get(ROOM)
    while chunk := await request.content.readany():
        body += chunk
        if limit and len(body) > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(body))
        if room is not None:
            room.take(len(body))
    return body


def let_go(request: web.Request) -> None:
    """Forget the body: the request has been answered, and its connection may stay open for long."""
    request.pop(BODY, None)
