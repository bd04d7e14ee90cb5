"""A port on which senders speak MLLP: connections, their deadlines, and the answers in order.

One message of a connection is under way at a time; nothing more is read from it meanwhile, so that a slow
database slows its senders down and loses nothing. What cannot be answered truthfully is not answered: the
connection is closed, and the sender sends again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from ingest.accepting import ACCEPTED_AT_ONCE, Handshake, let_wait
from ingest.mllp.framing import Frame, Framing, Half, Stray, TooLong, framed
from ingest.mllp.room import Place
from ingest.places import Places
from ingest.work import Pace, unhurried

if TYPE_CHECKING:
    import ssl

    from ingest.mllp.framing import Event
    from ingest.mllp.room import ConnectionRoom

LOG: Final = logging.getLogger("ingest.mllp")
READ_BYTES: Final = 65_536
END_SECONDS: Final = 1.0
"""Time for which the carriage return behind an end block is waited for."""
PIECE_BYTES: Final = 4_096
"""Bytes that are taken apart at once."""
IDLE_FRAMES: Final = 16
"""Frames without a message that may come at once."""
IDLE_FRAME_SECONDS: Final = 0.001
"""Pause for each further one, and for what is no message: nobody asks a thousand times a second whether
somebody is there."""
IDLE_PAUSE_MAX: Final = 5.0
NOTICE_SECONDS: Final = 1.0
"""Pause between two log lines for one reason of a connection: whoever sends a million halves fills no log."""
STRAY_MAX: Final = 8_192
"""Bytes without a frame after which a connection is closed: whoever sends them speaks another protocol."""
KEEPALIVE_SECONDS: Final = 60
"""Silence after which the system asks whether the other side is still there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the connections of one listener."""

    message_bytes: int
    connections: int
    idle_seconds: float
    """Time between two messages."""
    stall_seconds: float
    """Time between two pieces of a message, and while an answer is not taken."""
    message_seconds: float
    """Time from the first byte of a message to its last."""


class Peer(NamedTuple):
    """Other side of a connection."""

    address: str
    names: tuple[str, ...] = ()
    """Names in its client certificate."""


class Unanswered(Exception):  # noqa: N818 -- named for the message
    """A message that cannot be answered now: its sender has to send it again."""


class TooLongMessage(NamedTuple):
    """A message past the limit: its beginning."""

    head: bytes


class Unframed(NamedTuple):
    """A message that came without a frame: its beginning."""

    head: bytes


Heard: TypeAlias = Frame | TooLongMessage | Unframed
Answering: TypeAlias = Callable[[Heard, Peer], Awaitable[list[bytes]]]
"""Gives the acknowledgments of what was heard, in order; raises Unanswered."""


class Counting(Protocol):
    """Counters of connections."""

    def connected(self, listener: str, number: int) -> None:
        """Count a connection that was opened, or with -1 closed."""

    def refused(self, listener: str, reason: str) -> None:
        """Count what was no message."""


class Listener:
    """Port, and its connections."""

    def __init__(  # noqa: PLR0913 -- what connections share
        self,
        name: str,
        answer: Answering,
        admits: Callable[[Peer], bool],
        *,
        limits: Limits,
        room: ConnectionRoom,
        metrics: Counting,
    ) -> None:
        self.name = name
        self._answer = answer
        self._admits = admits
        self.limits = limits
        self.room = room
        self.pace = Pace()
        """Time in a turn of the event loop for what all connections send."""
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self.places: Places[_Connection] = Places(limits.connections)
        self._is_closing = False

    async def start(
        self, host: str, port: int, tls: ssl.SSLContext | None = None, *, shared: bool = False
    ) -> int:
        """Listen; gives the port that was really taken. Raises OSError.

        `shared`: other processes of this service listen there too.
        """
        made: Callable[[], asyncio.Protocol] = self._made
        if tls is not None:
            handshakes: Places[Handshake] = Places(self.limits.connections)
            made = partial(Handshake, handshakes, self._made, tls, self.limits.stall_seconds)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            made, host, port, backlog=ACCEPTED_AT_ONCE, reuse_port=shared or None
        )
        let_wait(self._server.sockets)
        return int(self._server.sockets[0].getsockname()[1])

    def _made(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(READ_BYTES), self._accept)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- asyncio runs this as a task
        peer = _peer(writer)
        if not self._admits(peer):  # Before anybody gives way.
            self.noticed("stranger", 0)
            writer.transport.abort()
            return
        connection = _Connection(self, reader, writer, peer, task)
        if self._is_closing or not self.places.admit(connection):
            self._metrics.refused(self.name, "connections")
            writer.transport.abort()
            return
        self._metrics.connected(self.name, 1)
        try:
            await connection.converse(self._answer)
        except (Unanswered, TimeoutError, OSError, asyncio.CancelledError):
            pass  # What was acknowledged is on its way; the rest is not acknowledged.
        except Exception:
            LOG.exception("a connection failed", extra={"listener": self.name})
        finally:
            self.places.forget(connection)
            self._metrics.connected(self.name, -1)
            connection.place.leave()
            writer.close()
            # Who takes nothing would keep it open.
            asyncio.get_running_loop().call_later(self.limits.stall_seconds, writer.transport.abort)

    def noticed(self, reason: str, size: int, *, is_told: bool = True) -> None:
        """Count and log what was no message."""
        self._metrics.refused(self.name, reason)
        if not is_told:
            return
        LOG.warning("no message", extra={"listener": self.name, "reason": reason, "bytes": size})

    async def close(self, seconds: float) -> None:
        """Accept nobody any more, let messages under way be answered, close all connections."""
        self._is_closing = True
        if self._server is not None:
            self._server.close()
        for one in self.places:
            one.end()
        tasks = [one.task for one in self.places]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1)


class _Connection:
    """Connection: what comes is read, answered and forgotten."""

    def __init__(
        self,
        listener: Listener,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        peer: Peer,
        task: asyncio.Task[None],
    ) -> None:
        self.task = task
        """Task that converses on it."""
        self._listener = listener
        self._reader = reader
        self._writer = writer
        self._limits = listener.limits
        self._framing = Framing(listener.limits.message_bytes)
        self._loop = asyncio.get_running_loop()
        self._begun_at = 0.0
        self._peer = peer
        self._idle_frames = 0
        """Frames and other pieces without a message since it was last read."""
        self._noticed = dict[str, float]()
        """Reasons that were logged, each with the moment from which on it is logged again."""
        self.place = Place(listener.room, peer.address, self._lose)
        self._idle_since = self._loop.time()
        self.is_answering = False
        self._is_telling = False
        """Whether an answer is not taken yet."""
        self.is_ending = False
        """Whether the connection closes behind the message under way."""
        _keep_alive(writer)

    @property
    def address(self) -> str:
        """Address of the other side."""
        return self._peer.address

    @property
    def is_awaited(self) -> bool:
        """Whether the other side is waited for: for the rest of a message, or to take an answer."""
        return self._is_telling or not self.is_answering

    def give_way(self) -> None:
        """Close at once: somebody else needs the place."""
        self.task.cancel()

    def end(self) -> None:
        """Close behind the message under way."""
        self.is_ending = True
        if self.is_idle:
            self.task.cancel()

    def _lose(self) -> None:
        """End it, for its message hardly grows: somebody else needs its place in memory."""
        self._listener.noticed("slow", 0)
        self.task.cancel()

    @property
    def is_idle(self) -> bool:
        """Whether no message is under way."""
        return not self.is_answering and self._framing.is_idle

    async def converse(self, answer: Answering) -> None:
        """Hear and answer until the other side ends, or is silent for too long."""
        while not (self.is_ending and self.is_idle):
            data = await self._heard()
            self._idle_frames = -self._framing.blanks
            self._listener.places.begins(self)
            if data is None:
                await self._each(self._framing.settle(), answer)
            else:
                starts = range(0, len(data), PIECE_BYTES)
                pieces = (data[start : start + PIECE_BYTES] for start in starts)
                async for piece in unhurried(pieces, self._listener.pace):
                    await self._each(self._framing.receive(piece), answer)
            if data == b"" or self._framing.strays > STRAY_MAX:
                await self._each(self._framing.end(), answer)
                return
            if self._framing.is_idle:
                self._idle_since = self._loop.time()
                self._listener.places.rests(self)
                self.place.leave()
            await self._rest(self._idle_frames + self._framing.blanks)

    async def _rest(self, idle_frames: int) -> None:
        """Read nothing for a while behind many frames without a message."""
        if idle_frames > IDLE_FRAMES:
            await asyncio.sleep(min(idle_frames * IDLE_FRAME_SECONDS, IDLE_PAUSE_MAX))

    async def _heard(self) -> bytes | None:
        """Bytes that come next; empty: the other side has ended; None: nothing came behind an end block."""
        framing, now, limits = self._framing, self._loop.time(), self._limits
        if framing.is_idle:
            self._begun_at = 0.0
            until = self._idle_since + limits.idle_seconds
        else:
            self._begun_at = self._begun_at or now
            until = min(now + limits.stall_seconds, self._begun_at + limits.message_seconds)
            async with asyncio.timeout_at(until):
                await self.place.grow(framing.held)
        ends_soon = framing.is_ending
        try:
            async with asyncio.timeout_at(min(until, now + END_SECONDS) if ends_soon else until):
                return await self._reader.read(READ_BYTES)
        except TimeoutError:
            if ends_soon:
                return None
            reason = "idle" if framing.is_idle and not framing.strays else "slow"
            if reason == "slow":
                self._notice(reason, framing.held)
            raise

    async def _each(self, events: list[Event], answer: Answering) -> None:
        if not events:
            return
        self.is_answering = True
        self.place.has_come()
        try:
            async for event in unhurried(events):
                heard = self._told(event)
                self._idle_frames += not isinstance(event, Frame)
                if heard is None:
                    continue
                for message in await answer(heard, self._peer):
                    await self._say(message)
        finally:
            self.is_answering = False

    def _told(self, event: Event) -> Heard | None:
        """Answer to an event."""
        match event:
            case Frame():
                return event
            case TooLong(head, size):
                self._notice("too-long", size)
                return TooLongMessage(head)
            case Half(size):
                self._notice("half", size)
                return None
            case Stray(head, size):
                self._notice("unframed", size)
                return Unframed(head) if head.startswith(b"MSH") else None

    def _notice(self, reason: str, size: int) -> None:
        now = self._loop.time()
        is_new = now >= self._noticed.get(reason, now)
        if is_new:
            self._noticed[reason] = now + NOTICE_SECONDS
        self._listener.noticed(reason, size, is_told=is_new)

    async def _say(self, message: bytes) -> None:
        self._writer.write(framed(message))
        self._is_telling = True
        try:
            async with asyncio.timeout(self._limits.stall_seconds):
                await self._writer.drain()
        finally:
            self._is_telling = False


def _peer(writer: asyncio.StreamWriter) -> Peer:
    address = writer.get_extra_info("peername")
    certificate = writer.get_extra_info("peercert") or {}
    subject = [
        value for part in certificate.get("subject", ()) for name, value in part if name == "commonName"
    ]
    others = [value for _, value in certificate.get("subjectAltName", ())]
    return Peer(str(address[0]) if isinstance(address, tuple) else "", (*subject, *others))


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Let the system notice a peer that is gone: an idle connection may stay open for hours."""
    raw = writer.get_extra_info("socket")
    if raw is None:
        return
    with suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
            if hasattr(socket, name):
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
