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
        request[BODY] = _arrived(request) if request.content.is_eof() else await _awaited(request)
    return request[BODY]


def _arrived(request: web.Request) -> bytearray:
    """Most bodies are there when their request is: nothing is waited for."""
    body = bytearray(request.content.read_nowait())
    _bound(request, body)
    return body


async def _awaited(request: web.Request) -> bytearray:
    try:
        async with asyncio.timeout(request.app[INGEST_SETTINGS].body_seconds):
            return await _read(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body took too long to arrive") from None


async def _read(request: web.Request) -> bytearray:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        _bound(request, body)
    return body


def _bound(request: web.Request, body: bytearray) -> None:
    """Refuse what is too much for one, or for all together."""
    limit, size = request.client_max_size, len(body)
    if limit and size > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)
    room = request.get(ROOM)
    # What has a length has its room; what is compressed, or tells none, takes it as it grows.
    if room is not None and (request.content_length is None or hdrs.CONTENT_ENCODING in request.headers):
        room.take(size)


def let_go(request: web.Request) -> None:
    """Forget the body: the request has been answered, and its connection may stay open for long."""
    request.pop(BODY, None)
