"""The body of a request, read once for all who look at it, and let go when it is answered.

aiohttp's own `read` keeps the body in the request, and an idle connection keeps the request: sixty-four
senders that wait for their next message would hold forty megabytes each. Its own decoding of
`Content-Encoding` happens as bytes arrive, on the event loop, for whoever sends them; it is switched off
(`api.server.runner`), and nothing is inflated before somebody who may send it wants to have it.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from ingest.http.admission import ROOM
from ingest.http.app_keys import INGEST_METRICS, INGEST_SETTINGS, STILL_OPEN
from ingest.http.inflate import CODINGS, BrokenError, Inflater
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from aiohttp import StreamReader

BODY: Final[web.RequestKey[bytearray]] = web.RequestKey("body")
EXPECTS: Final[web.RequestKey[bool]] = web.RequestKey("expects")
"""Key that is there when the client waits for `100 Continue` before it sends the body."""
ENCODINGS: Final = frozenset({"identity", *CODINGS})
"""Codings of bodies that are decoded; any other one is 415."""
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
INLINE_BYTES: Final = 65_536
"""Bytes inflated on the event loop at once, in some 0.2 ms; what is more is inflated beside it."""
STEP_BYTES: Final = 1_048_576
"""Bytes inflated at once beside it; looked at before the next ones."""
_BROKEN: Final = Issue(
    "structure", "the body is not what its `Content-Encoding` says, is cut, or goes on behind its end"
)
_SLOW: Final = "the body took too long to arrive"


class HoldsBack(web.RequestHandler):
    """Connection that lets a large body wait until somebody wants it."""

    __slots__ = ()

    async def want(self, content: StreamReader) -> None:
        """Let this body come."""
        raise NotImplementedError


async def body_of(
    request: web.Request, *, most: int | None = None, seconds: float | None = None
) -> bytearray:
    """The whole body, decoded. Raises 413 past `most` (else the application's limit), 408 when it is slow.

    A body that says that it is too long is refused before any of it is read, one that is cut or broken
    with 400.
    """
    if BODY not in request:
        limit = request.client_max_size if most is None else min(most, request.client_max_size)
        _refuse_length(request.content_length or 0, limit)
        given = request.app[INGEST_SETTINGS].body_seconds
        reading = _Reading(request, limit)
        start = perf_counter()
        if reading.is_here:  # Most bodies come with their head: no timer for what takes no time.
            request[BODY] = await reading.all()
        else:
            try:
                async with asyncio.timeout(given if seconds is None else min(seconds, given)):
                    body = await reading.all()
            except TimeoutError:
                raise web.HTTPRequestTimeout(text=_SLOW) from None
            await request.app[STILL_OPEN](request)
            request[BODY] = body
        if ROOM in request:  # A push.
            request.app[INGEST_METRICS].phase("receive", perf_counter() - start)
    return request[BODY]


def _refuse_length(size: int, limit: int) -> None:
    if size > limit > 0:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)


class _Reading:
    """Body on its way."""

    def __init__(self, request: web.Request, limit: int) -> None:
        self._request = request
        self._limit = limit
        self._body = bytearray()
        coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
        self._inflater = Inflater(coding) if coding in CODINGS else None
        self._room = request.get(ROOM)

    @property
    def is_here(self) -> bool:
        """Whether nothing has to be waited for, and nothing inflated."""
        return self._inflater is None and self._request.content.is_eof()

    async def all(self) -> bytearray:
        """The whole body. Raises 413 past the limit, ServiceError `incorrect` when it is broken."""
        content = self._request.content
        try:
            if content.is_eof():  # Most bodies are there when their request is: nothing is waited for.
                await self._add(content.read_nowait())
            else:
                await self._arrive()
        except ConnectionError as error:  # Its client has gone: no failure of ours.
            raise web.RequestPayloadError from error
        if self._inflater is not None:
            try:
                self._inflater.end()
            except BrokenError:
                raise ServiceError(Category.INCORRECT, _BROKEN) from None
        if self._room is not None:
            self._room.has_come()
        return self._body

    async def _arrive(self) -> None:
        request = self._request
        if request.pop(EXPECTS, False):
            await request.writer.write(CONTINUE)
            request.writer.output_size = 0  # It is no part of the answer.
        if isinstance(request.protocol, HoldsBack):
            await request.protocol.want(request.content)
        if self._room is not None:
            self._room.watch(request.content)
        while chunk := await request.content.readany():
            await self._add(chunk)
            if self._room is not None:
                await self._room.keep_pace(len(chunk))

    async def _add(self, chunk: bytes) -> None:
        if self._inflater is None:
            self._append(chunk)
            return
        self._inflater.give(chunk)
        try:
            self._append(self._inflater.take(INLINE_BYTES))
            while self._inflater.has_more:
                self._append(await asyncio.to_thread(self._inflater.take, STEP_BYTES))
        except BrokenError:
            raise ServiceError(Category.INCORRECT, _BROKEN) from None

    def _append(self, piece: bytes) -> None:
        """Add a piece to the body. Raises ServiceError when that is too much for one, or for all together."""
        size = len(self._body) + len(piece)
        _refuse_length(size, self._limit)
        if self._room is not None:
            self._room.take(size)
        self._body += piece


def let_go(request: web.Request) -> None:
    """Forget the body: the request has been answered, and its connection may stay open for long."""
    request.pop(BODY, None)
