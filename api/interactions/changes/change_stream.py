"""`$changes` as Server-Sent Events: one event for each change, its id the position behind it.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import hdrs, web

from api.http.app_keys import REQUEST_ID, SETTINGS
from api.http.headers import listed
from api.http.listeners import LISTENERS
from api.interactions.changes.listening import render
from ingest.http.app_keys import AUDITED
from ingest.http.outcome import issues_of, outcome
from store.changes.positions import token_of
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from api.interactions.changes.listening import Ear, Heard
    from store.changes.changes import Change, Position

LOG: Final = logging.getLogger("api.changes")
MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_SECONDS: Final = 15.0
"""Longest silence: a comment keeps proxies from ending a stream, and the token is looked at though nothing is
told."""
RETRY_MILLISECONDS: Final = 1_000
"""Pause after which a client comes again when the stream ended."""
_COMMENT: Final = b":\n\n"


def wants_stream(request: web.Request) -> bool:
    """Whether a client asks for events."""
    return MEDIA_TYPE in (listed(request, hdrs.ACCEPT) or "")


async def stream(
    request: web.Request,
    ear: Ear,
) -> web.StreamResponse:
    """Tell of changes until the client goes, its time is up, or the process ends."""
    began = ear.position
    heard = await ear.next()  # What is refused is refused before the stream begins.
    if AUDITED in request:
        await request[AUDITED].finish(200)
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: MEDIA_TYPE, "X-Accel-Buffering": "no"})
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        await _send(request, response, b"retry: %d\n%b" % (RETRY_MILLISECONDS, _moved(began)))
        await _tell(request, response, ear, heard)
        await response.write_eof()
    except ConnectionError:
        pass  # The client has gone, or was cut.
    return response


async def _tell(
    request: web.Request,
    response: web.StreamResponse,
    ear: Ear,
    heard: Heard,
) -> None:
    until = monotonic() + request.app[SETTINGS].changes_stream_seconds
    asked = monotonic()
    try:
        while True:
            if heard.looked_at:
                await _send(request, response, _events(request, ear.position, heard.changes))
            if request.app[LISTENERS].ending or monotonic() >= until:
                return
            if monotonic() >= asked + HEARTBEAT_SECONDS:
                await ear.admitted()
                asked = monotonic()
            if not heard.looked_at and not await ear.wait(min(HEARTBEAT_SECONDS, until - monotonic())):
                await _send(request, response, _COMMENT)
                continue
            heard = await ear.next()
    except ServiceError as error:
        # The client comes again, and hears the reason as the status of its request; but for a position that
        # is lost, which it would only come again with.
        if error.category is Category.GONE:
            told = orjson.dumps(outcome(issues_of(error.category, error.issues)))
            await _send(request, response, b"event: lost\ndata: %b\n\n" % told)


def _events(
    request: web.Request,
    position: Position,
    changes: Sequence[Change],
) -> bytes:
    """Events, and the position behind all that was looked at, told or not."""
    told = [
        b"id: %b\ndata: %b\n\n" % (token_of(one.position).encode(), orjson.dumps(render(request, one)))
        for one in changes
    ]
    return b"".join(told) + _moved(position)


def _moved(position: Position) -> bytes:
    """An event without data: it moves the client's `Last-Event-ID`, and calls nobody."""
    return b"id: %b\n\n" % token_of(position).encode()


async def _send(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Send this, or cut a client that does not take it. Raises ConnectionError when it is gone."""
    seconds, began = request.app[SETTINGS].answer_stall_seconds, monotonic()
    try:
        async with asyncio.timeout(seconds):
            await response.write(data)
    except (TimeoutError, ConnectionError) as error:
        if isinstance(error, TimeoutError) or monotonic() - began >= seconds * 0.9:
            LOG.info("a listener does not read", extra={"request_id": request.get(REQUEST_ID)})
            request.app[LISTENERS].metrics.cut()
        if isinstance(error, ConnectionError):
            raise
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionError from None
