"""A connection of a client: how long it is waited for, what is refused on it, and how it ends.

aiohttp waits for heads for ever, drains whatever comes, and answers with the line that it could not read.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import hdrs, web
from aiohttp.streams import EMPTY_PAYLOAD
from typing_extensions import override

from api.server.arriving import NOT_HTTP, Arriving
from api.server.heads import HEAD_BYTES_MAX, TOO_BLANK, TOO_LARGE, TOO_LATE, Fault, unheard
from ingest.http.outcome import DEFAULT_ISSUE, issue_of_status, render
from ingest.http.replies import fhir_json
from ingest.places import network_of
from store.errors import Category

if TYPE_CHECKING:
    from aiohttp import StreamReader
    from aiohttp.web_request import BaseRequest

    from api.server.connection_limits import Connections

LOG: Final = logging.getLogger("api.runner")
SERVER: Final = "dod"
"""The header `Server`: no versions, which tell whom to attack with what."""
LINGER_BYTES: Final = 262_144
"""Bytes behind a refusal that are thrown away while its sender reads the refusal."""
LINGER_SECONDS: Final = 1.0
"""Time to linger: a connection closed under unread bytes is reset, and many clients then lose the answer."""
FIRST_SECONDS: Final = 1.0
"""Time for the first request of a connection that was made just before the service ends."""


class Connection(Arriving):
    """A connection of aiohttp's: refusals are OperationOutcomes, and nobody is waited for without end."""

    __slots__ = (
        "_connections",
        "_deadline",
        "_head_bytes",
        "_held",
        "_is_fresh",
        "_is_refused",
        "_lingering",
        "_network",
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
        super().__init__(manager, pace=connections.pace, **kwargs)
        self._connections = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        """The transport, also when aiohttp has let it go and something is left to send."""
        self._head_bytes = 0
        """Bytes of a head whose end has not come."""
        self._is_fresh = True
        """Whether no request has come yet."""
        self._is_refused = False
        """Whether what came was no HTTP, and that has been said."""
        self._held: asyncio.Future[None] | None = None
        """Refusal that waits to go out."""
        self._lingering: asyncio.Future[None] | None = None
        self._thrown_away = 0
        self.address = self._network = ""

    # --- how long and how many

    async def turn(self) -> None:
        """Wait until the request under way may begin: many that come together take turns."""
        await self._connections.turns.take(self._network)

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way."""
        waiter = self._waiter
        return waiter is not None and not waiter.done() and not self._messages

    @property
    def is_awaited(self) -> bool:
        """Whether the client is waited for: for the rest of a body, or to take an answer."""
        request = self._current_request
        return self._stalled is not None or (request is not None and not request.content.is_eof())

    def is_lingering(self) -> bool:
        """Whether what comes is thrown away, behind a refusal."""
        return self._lingering is not None

    def give_way(self) -> None:
        """Close at once: somebody else needs the place."""
        wire = self._wire
        self.force_close()
        if wire is not None and not self._connections.ending:
            wire.abort()  # Whoever takes no answer would keep it.
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
        self._connections.rests(self)
        if not request.content.is_eof():
            self._leave_unread()
        with suppress(Exception):  # It is broken off.
            request.content.read_nowait()
        ending = self._loop.call_later(seconds, self._let_out)
        try:
            await held
        finally:
            ending.cancel()
            self._held = None
            self._connections.begins(self)

    def _let_out(self) -> None:
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A TCP server's. Not asked whether it is one: uvloop's are of a family of their own.
        transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) else ""
        self._network = network_of(self.address)
        if not self._connections.admit(self):
            self._force_close = True
            self._manager = None  # Never made, so never lost.
            transport.abort()
            return
        super().connection_made(transport)
        self._wire = transport
        # Paused while anything is left to send. With 0 TLS is paused by nothing, until something else comes.
        transport.set_write_buffer_limits(high=1)
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
        self._body, self._kept = EMPTY_PAYLOAD, b""  # A body knows its connection.

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
        if self._is_unread or self.is_lingering():
            self._throw_away(len(data))
            return
        self._receive(data)
        if self.is_lingering():  # Refused.
            return
        if self._is_last and self.transport is not None:
            self._is_fresh = False
            return
        if not self.is_waiting:
            self._is_fresh = False
            self._head_is_there()
            if self._is_busy and self._held is None:
                self._connections.begins(self)
            return
        self._head_bytes += len(data)
        self._connections.arriving(self, len(data))
        if self._head_bytes > HEAD_BYTES_MAX:
            self._refuse_head(TOO_LARGE)
        elif self._deadline is None:  # A part of a head.
            self._await_head()

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
        if self.transport is not None and self._lingering is None:
            LOG.info("no head", extra={"status": fault.status})
            self.transport.write(unheard(fault))
            self._begin_to_linger().add_done_callback(lambda _: self.force_close())

    @override
    def _refuse_blank(self) -> None:
        self._refuse_head(TOO_BLANK)

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
        try:
            resp, is_gone = await super().finish_response(request, resp, start_time)
        finally:
            _forget(request)
        if is_gone:
            return resp, is_gone
        self._is_busy = bool(self._messages)
        if self._is_busy or self._kept:
            await asyncio.sleep(0)  # Requests that were sent all at once take turns with those of others.
        is_refused = self._is_refused or request.content.exception() is not None
        is_left = (unread and (self._is_unread or self._is_held)) or (self._kept and not resp.keep_alive)
        if is_refused or is_left or (unread and not request.content.is_eof()):
            self._connections.rests(self)  # Nobody does anything for it any more.
        if self.transport is not None and (is_refused or is_left):
            self._leave_unread()
            await self._begin_to_linger()
        elif unread and not request.content.is_eof():
            await self._linger(request.content)
        elif not self._is_busy:
            self._connections.rests(self)
            self._go_on()
            if self._messages:
                self._connections.begins(self)
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


def _forget(request: BaseRequest) -> None:
    """Let go of what an answered request has, and of the frames that its failures remember.

    All of that leads back to the request: its body would stay until garbage is looked for, which megabytes
    do not bring about. See DECISIONS.md#answered-request-let-go.
    """
    request._state.clear()  # noqa: SLF001 -- a key at a time takes 20 µs
    match = getattr(request, "_match_info", None)  # None: a head out of bounds goes to no route.
    misrouted = None if match is None else match.http_exception
    for failure in (request.content.exception(), misrouted):
        if failure is not None:
            failure.__traceback__ = None
