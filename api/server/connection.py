"""A connection of a client: how long it is waited for, what is refused on it, and how it ends.

aiohttp waits for heads for ever, drains whatever comes, and answers with the line that it could not read.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from typing_extensions import override

from api.server.heads import (
    HEAD_BYTES_MAX,
    SMALL_CHUNKS,
    TOO_LARGE,
    TOO_LATE,
    Fault,
    framing_max,
    unheard,
)
from ingest.http.outcome import DEFAULT_ISSUE, issue_of_status, render
from ingest.http.replies import fhir_json
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.web_request import BaseRequest

    from api.server.connections import Connections

LOG: Final = logging.getLogger("api.runner")
NOT_HTTP: Final = "The request is not HTTP/1.1 as RFC 9112 has it, or a line of it is too long."
SERVER: Final = "dod"
"""The header `Server`: no versions, which tell whom to attack with what."""
PART_BYTES: Final = 16_384
"""Bytes parsed before they are looked at: as chunks of one byte they take 5 ms."""
LINGER_BYTES: Final = 262_144
"""Bytes behind a refusal that are thrown away while its sender reads the refusal."""
LINGER_SECONDS: Final = 1.0
"""Time to linger: a connection closed under unread bytes is reset, and many clients then lose the answer."""
FIRST_SECONDS: Final = 1.0
"""Time for the first request of a connection that was made just before the service ends."""


class Connection(web.RequestHandler):
    """A connection of aiohttp's: refusals are OperationOutcomes, and nobody is waited for without end."""

    __slots__ = (
        "_body",
        "_connections",
        "_deadline",
        "_framing_bytes",
        "_head_bytes",
        "_held",
        "_is_fresh",
        "_is_last",
        "_is_refused",
        "_is_unread",
        "_kept",
        "_length",
        "_lingering",
        "_stalled",
        "_thrown_away",
        "_wire",
        "address",
    )

    def __init__(
        self,
        manager: web.Server,
        connections: Connections,
        **kwargs: Any,  # noqa: ANN401 -- aiohttp's own
    ) -> None:
        super().__init__(manager, **kwargs)
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        """The transport, also when aiohttp has let it go and something is left to send."""
        self._body: StreamReader = EMPTY_PAYLOAD
        """Body of the request whose head came last."""
        self._length = 0
        """Length of that, if it was told."""
        self._framing_bytes = 0
        """Bytes of the body under way that are sizes and ends of its chunks, lately."""
        self._head_bytes = 0
        """Bytes of a head whose end has not come."""
        self._is_fresh = True
        """Whether no request has come yet."""
        self._is_last = False
        self._is_refused = False
        """Whether what came was no HTTP, and that has been said."""
        self._is_unread = False
        """Whether nobody reads what follows: what came was no HTTP, or its body is refused."""
        self._kept = b""
        """Bytes that came when enough of a body, or of requests, was there."""
        self._held: asyncio.Future[None] | None = None
        """Refusal that waits to go out."""
        self._lingering: asyncio.Future[None] | None = None
        self._thrown_away = 0
        self.address = ""

    # --- how long and how many

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages

    @property
    def gives_way(self) -> bool:
        """Whether nobody does anything for it: no request is under way, or one whose refusal waits."""
        return self.is_waiting or self._held is not None

    def give_way(self) -> None:
        """Close at once: somebody else needs the place."""
        self.force_close()
        self._let_out()

    async def hold_back(self, seconds: float) -> None:
        """Wait for so long with the refusal of the request under way, or until nobody waits for it any more.

        Nothing of its body is kept meanwhile, and nothing more of that is wanted.
        See DECISIONS.md#held-back-keeps-nothing.
        """
        request = self._current_request
        if request is None or self._wire is None or self._connections.ending:
            return
        self._held = held = self._loop.create_future()
        if not request.content.is_eof():
            self._is_unread, self._kept = True, b""
        with suppress(Exception):  # It is broken off.
            request.content.read_nowait()
        ending = self._loop.call_later(seconds, self._let_out)
        try:
            await held
        finally:
            ending.cancel()
            self._held = None

    def _let_out(self) -> None:
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A TCP server's. Not asked whether it is one: uvloop's are of a family of their own.
        transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        if not self._connections.admit(self):
            self._force_close = True
            self._manager = None  # Never made, so never lost.
            transport.abort()
            return
        super().connection_made(transport)
        self._wire = transport
        transport.set_write_buffer_limits(high=0)  # Paused while anything is left to send.
        self._await_head()
        if self._connections.ending:
            self._take_one()

    @override
    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.forget(self)
        self._head_is_there()
        self._moves()
        self._wire = None
        self._has_lingered()
        self._let_out()
        super().connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self._loop.call_later(self._connections.limits.stall_seconds, self._cut)

    @override
    def resume_writing(self) -> None:
        self._moves()
        super().resume_writing()

    def _moves(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _cut(self) -> None:
        """End a connection that takes nothing of what was sent, also when it is closing."""
        self._stalled = None
        if self._wire is not None:
            LOG.info("a client does not read its answer")
            self._wire.abort()

    @override
    def data_received(self, data: bytes) -> None:
        if self._is_unread or self._lingering is not None:
            self._throw_away(len(data))
            return
        if self._is_last and self.transport is not None:  # The end of the service waits for this body.
            ending, self._force_close = self._force_close, False
            self._receive(data)
            self._force_close = ending
            self._is_fresh = False
            return
        self._receive(data)
        if not self.is_waiting:
            self._is_fresh = False
            self._head_is_there()
            self._connections.touch(self)
            return
        self._head_bytes += len(data)
        self._connections.arriving(self, len(data))
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse_head(TOO_LARGE)
        elif self._deadline is None:  # A part of a head.
            self._await_head()

    def _receive(self, data: bytes) -> None:
        """Hand on what came, in parts: what is refused for one of them is not parsed any further.

        What is left of a body whose length is known is one part.
        """
        data, self._kept = self._kept + data, b""
        at = 0
        while True:
            size = max(PART_BYTES, self._length - self._body.total_bytes)
            self._parse(data[at : at + size])
            at += size
            if self._is_unread or at >= len(data):
                return
            if self._reading_paused or self._buffer_paused:
                self._kept = data[at:]
                return

    def _parse(self, data: bytes) -> None:
        """Hand on a part; the body under way is refused when most of that is no body but its framing."""
        body = self._body
        before, waiting = body.total_bytes, len(self._messages)
        super().data_received(data)
        if len(self._messages) > waiting:
            message, self._body = self._messages[-1]
            self._framing_bytes = 0  # That of the part in which a body begins is not counted.
            if isinstance(message, RawRequestMessage):
                self._length = int(message.headers.get(hdrs.CONTENT_LENGTH, 0))
                return
            self._is_unread = True
            if not body.is_eof():
                body.set_exception(web.RequestPayloadError(NOT_HTTP))
        elif body.is_eof():
            self._framing_bytes = 0
        else:
            self._framing_bytes += len(data) - (body.total_bytes - before)
            # While it is paused the parser keeps a part to itself.
            if self._framing_bytes > framing_max(body.total_bytes) and not self._reading_paused:
                body.set_exception(ServiceError(Category.TOO_LARGE, SMALL_CHUNKS))
                self._is_unread = True

    def _throw_away(self, size: int) -> None:
        """Let go of what came behind what is refused, and read no more of it when that is much."""
        self._thrown_away += size
        if self._thrown_away >= LINGER_BYTES:
            self._has_lingered()
            self._pause_transport_reading()

    def _await_head(self) -> None:
        self._deadline = self._loop.call_later(self._connections.limits.head_seconds, self._is_late)

    def _head_is_there(self) -> None:
        self._head_bytes = 0
        self._connections.arrived(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_late(self) -> None:
        self._deadline = None
        if self.is_waiting:
            self._refuse_head(TOO_LATE)

    def _refuse_head(self, fault: Fault) -> None:
        """Refuse a request of which a part of the head has come."""
        if self.transport is not None:
            LOG.info("no head", extra={"status": fault.status})
            self.transport.write(unheard(fault))
            self._begin_to_linger().add_done_callback(lambda _: self.force_close())

    @override
    def close(self) -> None:
        """Close behind the request that is under way. Its body still arrives: aiohttp would drop the rest.

        Whoever has just connected sends a request, and would lose it.
        """
        self._let_out()
        request = self._current_request
        if request is not None and not request.content.is_eof():
            self._is_last = True
        elif self._is_fresh and self._wire is not None:
            self._take_one()
        else:
            super().close()

    def _take_one(self) -> None:
        """Take the first request alone, if it comes soon."""
        self._is_last = True
        self._loop.call_later(FIRST_SECONDS, self._nothing_came)

    def _nothing_came(self) -> None:
        if self._is_fresh:
            self.force_close()

    # --- refusals

    @override
    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= web.HTTPInternalServerError.status_code:
            super().handle_error(request, status, exc, message)  # Logs, gives up when an answer has begun.
            issue = DEFAULT_ISSUE[Category.FAULT]
        else:
            if request.writer.output_size > 0:
                raise ConnectionError(NOT_HTTP)
            LOG.info(
                "not HTTP", extra={"status": status}
            )  # aiohttp's ERROR would wake somebody for a port scan.
            issue = issue_of_status(status, NOT_HTTP)
        response = fhir_json(render((issue,)), status=status, headers={hdrs.SERVER: SERVER})
        response.force_close()
        self._is_refused = status < web.HTTPInternalServerError.status_code
        return response

    @override
    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Answer; when the body was not wanted, close instead of reading on."""
        unread = not request.content.is_eof()
        if unread or self._is_last or self._connections.draining:
            resp.force_close()
        resp, is_gone = await super().finish_response(request, resp, start_time)
        if self._messages:
            await asyncio.sleep(0)  # Requests that were sent all at once take turns with those of others.
        if is_gone:
            return resp, is_gone
        is_refused = self._is_refused or request.content.exception() is not None
        if self.transport is not None and (is_refused or (self._is_unread and unread)):
            await self._begin_to_linger()
        elif unread and not request.content.is_eof():
            await self._linger(request.content)
        return resp, is_gone

    def _begin_to_linger(self) -> asyncio.Future[None]:
        """Throw away what comes, until the sender has gone, or has had its time."""
        self._lingering, self._thrown_away = self._loop.create_future(), 0
        lingering = self._lingering
        with suppress(Exception):  # Nobody is there any more.
            if self.transport is not None and self.transport.can_write_eof():
                self.transport.write_eof()
        self._resume_transport_reading()
        ending = self._loop.call_later(LINGER_SECONDS, self._has_lingered)
        lingering.add_done_callback(lambda _: ending.cancel())
        return lingering

    def _has_lingered(self) -> None:
        if self._lingering is not None and not self._lingering.done():
            self._lingering.set_result(None)

    async def _linger(self, content: StreamReader) -> None:
        """Let the sender see the answer and the end of the connection before it is reset."""
        with suppress(Exception):  # Whatever becomes of the rest.
            if self.transport is not None and self.transport.can_write_eof():
                self.transport.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                size = 0
                while size < LINGER_BYTES and (chunk := await content.readany()):
                    size += len(chunk)
