"""Bytes that arrive on a connection, parsed as far as somebody wants them.

Nothing behind a head is parsed before: a large body when its handler reads it, the next request when this one
is answered. See DECISIONS.md#parsed-when-wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from typing_extensions import override

from api.server.heads import BLANK_BYTES_MAX, END_OF_HEAD, FRAMING_BYTES, SMALL_CHUNKS, framing_max
from ingest.http.body import HoldsBack
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from aiohttp import StreamReader

    from ingest.work import Pace

NOT_HTTP: Final = "The request is not HTTP/1.1 as RFC 9112 has it, or a line of it is too long."
PART_BYTES: Final = 16_384
"""Bytes parsed before they are looked at: as chunks of one byte they take 5 ms."""
HELD_BYTES: Final = 65_536
"""Largest body that is parsed as it comes; a larger one, or one of unknown length, when it is wanted."""


class Arriving(HoldsBack):
    """Connection of aiohttp's that parses what is wanted alone."""

    __slots__ = (
        "_blank_bytes",
        "_body",
        "_framing_bytes",
        "_is_busy",
        "_is_held",
        "_is_last",
        "_is_unread",
        "_kept",
        "_length",
        "_pace",
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        pace: Pace,
        **kwargs: Any,  # noqa: ANN401 -- aiohttp's own
    ) -> None:
        super().__init__(manager, **kwargs)
        self._pace = pace
        """Time in a turn of the event loop for bodies that begin to be read, of all connections."""
        self._body: StreamReader = EMPTY_PAYLOAD
        """Body of the request whose head came last."""
        self._length = 0
        """Length of that, if it was told."""
        self._blank_bytes = 0
        """Bytes of empty lines that came before a request."""
        self._framing_bytes = 0
        """Bytes of the body under way that are sizes and ends of its chunks, lately."""
        self._is_busy = False
        """Whether a request has come that is not answered."""
        self._is_held = False
        """Whether nobody has wanted the body of the request whose head came last."""
        self._is_last = False
        """Whether nothing follows the request under way."""
        self._is_unread = False
        """Whether nobody reads what follows: what came was no HTTP, or its body is refused."""
        self._kept = b""
        """Bytes that came when enough of a body, or of requests, was there."""

    def _receive(self, data: bytes) -> None:
        """Hand on what came, in parts: what is refused for one of them is not parsed any further."""
        data, self._kept = self._kept + data, b""
        ending, awaited = self._force_close, self._is_last and self.transport is not None
        if awaited:  # The end of the service waits for this body.
            self._force_close = False
        at = 0
        while True:
            if self._is_busy and (self._is_held or self._body.is_eof()):
                self._kept = data[at:]
                if self._kept:
                    self._pause_reading_for_buffer()
                break
            if not self._is_busy and self._is_blank(data, at):
                self._is_unread = True
                self._refuse_blank()
                break
            size = self._size_of_part(data, at)
            tail = self._parse(data[at : at + size])
            at += size - len(tail)
            if self._is_unread or at >= len(data):
                break
            if self._reading_paused:
                self._kept = data[at:]
                break
        if awaited:
            self._force_close = ending

    def _is_blank(self, data: bytes, at: int) -> bool:
        """Whether more empty lines have come than are passed over; no more of them are looked at.

        See DECISIONS.md#empty-lines.
        """
        part = data[at : at + BLANK_BYTES_MAX]
        self._blank_bytes += len(part) - len(part.lstrip(b"\r\n"))
        return self._blank_bytes > BLANK_BYTES_MAX

    def _refuse_blank(self) -> None:
        """Refuse what is nothing but empty lines."""

    def _size_of_part(self, data: bytes, at: int) -> int:
        """Size of what is parsed at once: the rest of a body of known length, else little, or a head."""
        if self._is_busy:
            return self._length - self._body.total_bytes if self._length else PART_BYTES
        part = data[at : at + BLANK_BYTES_MAX]
        blank = len(part) - len(part.lstrip(b"\r\n"))
        if blank:  # Empty lines before a request, all at once: each two of them look like the end of a head.
            return blank
        end = data.find(END_OF_HEAD, at, at + PART_BYTES)
        return PART_BYTES if end < 0 else end + len(END_OF_HEAD) - at

    def _parse(self, data: bytes) -> bytes:
        """Hand on a part; the body under way is refused when most of that is no body but its framing.

        Gives what aiohttp has not parsed, behind a request for another protocol: nobody speaks one here.
        """
        body = self._body
        before, waiting = body.total_bytes, len(self._messages)
        super().data_received(data)
        tail = b""
        if self._upgraded and self._parser is not None:
            self._parser.set_upgraded(False)
            self._upgraded = False
            tail, self._message_tail = self._message_tail, b""
        if len(self._messages) > waiting:
            message, self._body = self._messages[-1]
            self._framing_bytes = 0  # That of the part in which a body begins is not counted.
            self._is_busy, self._blank_bytes = True, 0
            if isinstance(message, RawRequestMessage):
                self._length = int(message.headers.get(hdrs.CONTENT_LENGTH, 0))
                self._is_held = not (self._body.is_eof() or 0 < self._length <= HELD_BYTES)
                if self._is_held:  # Paused for its bytes alone: what is framing is counted here.
                    self._body._high_water_chunks = FRAMING_BYTES  # noqa: SLF001
                return tail
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
        return tail

    @override
    async def want(self, content: StreamReader) -> None:
        if self._is_held and content is self._body:
            await self._pace.keep()  # Many that begin together take turns with others.
            self._is_held = False
            self._go_on()

    def _go_on(self) -> None:
        """Parse what was kept, and read on, unless enough is there again."""
        if self._buffer_paused and self.transport is not None:
            self._buffer_paused = False
            self._receive(b"")
            if not self._reading_paused and not self._buffer_paused:
                self._resume_transport_reading()

    def _leave_unread(self) -> None:
        """Throw away what is left of the body, as it comes."""
        self._is_unread, self._kept = True, b""
        self._buffer_paused = False
        self._resume_transport_reading()

    @override
    def _resume_reading_if_drained(self) -> None:
        """Not when aiohttp has taken a request: when it is answered."""
