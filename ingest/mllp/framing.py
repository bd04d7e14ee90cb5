"""MLLP's frames, found in bytes as they come: start block, message, end block, carriage return.

No input and no output: bytes go in, events come out. HL7 v2.5.1, appendix C, and Transport Specification:
MLLP, Release 1. The end is an end block with a carriage return (a line feed, or the start of the next frame,
is taken for one): an end block alone may stand in a text, and a message cut there would look whole.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final, NamedTuple, TypeAlias

START: Final = b"\x0b"
END: Final = b"\x1c"
TRAILER: Final = b"\x1c\r"
HEAD_BYTES: Final = 65_536
"""Bytes of a message too long that are kept, so that its header can be answered."""
STRAY_BYTES: Final = 256
"""Bytes between frames that are kept, to tell what somebody sends without frames."""
_CLOSERS: Final = b"\r\n\x0b"
"""Bytes that make an end block the end of a frame."""
_LINE_ENDS: Final = b"\r\n"
_ENDS: Final = (b"\r", b"\n")
_BLANKS: Final = b"\0\t\n\f\r \x1c"
"""Bytes that senders put between frames and mean nothing by."""
_HEADERS: Final = (b"MSH", b"FHS", b"BHS")
"""Beginnings of a frame, by which it is known where the end of the one before is missing."""
STARTS_MAX: Final = 1_000
"""Start blocks in a frame that are looked at for such a beginning."""
_EMPTY: Final = re.compile(rb"(?:[\0\t\n\f\r \x1c]*+\x0b[\0\t\n\f\r \x0b]*+\x1c++[\r\n])++")
"""Frames without a message, as many as there are: each by itself would take its time."""


class Frame(NamedTuple):
    """A frame that came whole, with one message."""

    body: bytes


class Half(NamedTuple):
    """A frame without its end: nothing of it may be acknowledged."""

    size: int


class TooLong(NamedTuple):
    """A frame past the limit, of which the beginning was kept."""

    head: bytes
    size: int


class Stray(NamedTuple):
    """Bytes outside of frames that are no white space."""

    head: bytes
    size: int


Event: TypeAlias = Frame | Half | TooLong | Stray


class _State(Enum):
    OUTSIDE = auto()
    INSIDE = auto()
    SKIPPING = auto()


class Framing:
    """The frames of one connection."""

    __slots__ = ("_buffer", "_head", "_limit", "_scanned", "_size", "_state", "blanks")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._scanned = 0
        """Bytes of the buffer that hold no end block."""
        self._state = _State.OUTSIDE
        self._head = b""
        """Beginning of the stray bytes, or of the frame too long."""
        self._size = 0
        """Their number so far."""
        self.blanks = 0
        """Frames without a message so far: they ask whether anybody is there."""

    @property
    def is_idle(self) -> bool:
        """Whether no frame is under way."""
        return self._state is _State.OUTSIDE

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._buffer) + len(self._head)

    @property
    def strays(self) -> int:
        """Bytes that came since the last frame and belong to none."""
        return self._size if self._state is _State.OUTSIDE else 0

    @property
    def is_ending(self) -> bool:
        """Whether the last byte is an end block, so that one more byte would end the frame."""
        return self._state is not _State.OUTSIDE and self._buffer[-1:] == END

    def receive(self, data: bytes) -> list[Event]:
        """Take in what came; gives the events that it completes, in order."""
        self._buffer += data
        events: list[Event] = []
        while self._step(events):
            pass
        return events

    def settle(self) -> list[Event]:
        """Take an end block that nothing follows for the end of its frame."""
        return self.receive(b"\r") if self.is_ending else []

    def end(self) -> list[Event]:
        """Take in that nothing more will come."""
        events = self.settle()
        if self._state is _State.OUTSIDE:
            self._stray(events)
        else:
            events.append(Half(self._size + len(self._buffer)))
        self._restart(_State.OUTSIDE)
        self._buffer.clear()
        return events

    def _step(self, events: list[Event]) -> bool:
        """Whether there may be more to do with what is there."""
        match self._state:
            case _State.OUTSIDE:
                return self._outside(events)
            case _State.INSIDE:
                return self._inside(events)
            case _State.SKIPPING:
                return self._skipping(events)

    def _outside(self, events: list[Event]) -> bool:
        if not self._size:
            self._pass_empty()
        start = self._buffer.find(START)
        found = start >= 0
        between = bytes(self._buffer[: start if found else len(self._buffer)])
        told = between if self._size else between.lstrip(_BLANKS)
        self._head += told[: STRAY_BYTES - len(self._head)]
        self._size += len(told)
        del self._buffer[: start + 1 if found else len(self._buffer)]
        if found:
            self._stray(events)
            self._restart(_State.INSIDE)
        return found

    def _pass_empty(self) -> None:
        """Pass over frames without a message."""
        empty = _EMPTY.match(self._buffer)
        if empty is not None:
            end = empty.end()
            self.blanks += sum(self._buffer.count(END + one, 0, end) for one in _ENDS)
            del empty  # The buffer cannot change while it is looked at.
            del self._buffer[:end]

    def _stray(self, events: list[Event]) -> None:
        if self._size:
            events.append(Stray(self._head, self._size))

    def _restart(self, state: _State) -> None:
        self._state, self._scanned, self._head, self._size = state, 0, b"", 0

    def _inside(self, events: list[Event]) -> bool:
        found = self._end()
        # A last end block may turn out to be the end.
        if (len(self._buffer) - self.is_ending if found is None else found) > self._limit:
            self._head = bytes(self._buffer[:HEAD_BYTES])
            self._state = _State.SKIPPING
            return True
        if found is None:
            return False
        with memoryview(self._buffer) as view:
            body = bytes(view[:found])
        self._consume(found)
        if body.strip(_BLANKS + START):
            events += _frames(body)
        else:
            self.blanks += 1
        return True

    def _skipping(self, events: list[Event]) -> bool:
        found = self._end()
        if found is None:
            kept = len(self._buffer) - 1 if self._buffer[-1:] == END else len(self._buffer)
            self._size += kept
            del self._buffer[:kept]
            self._scanned = 0
            return False
        head, size = self._head, self._size + found
        self._consume(found)
        events.append(TooLong(head, size))
        return True

    def _end(self) -> int | None:
        """The place of the end block; None: it has not come."""
        while True:
            found = self._buffer.find(END, self._scanned)
            if found < 0:
                self._scanned = len(self._buffer)
                return None
            if found + 1 == len(self._buffer):
                self._scanned = found
                return None
            if self._buffer[found + 1] in _CLOSERS:
                return found
            self._scanned = found + 1

    def _consume(self, found: int) -> None:
        """Forget the frame; the start of the next one stays."""
        behind = found + (1 if self._buffer[found + 1 : found + 2] == START else 2)
        del self._buffer[:behind]
        self._restart(_State.OUTSIDE)


def _frames(body: bytes) -> list[Event]:
    """A frame, or what is left of frames whose end is missing, as one, and the frame behind them."""
    body = body.lstrip(START)
    end = len(body)
    for _ in range(STARTS_MAX):
        end = body.rfind(START, 0, end)
        if end < 0:
            return [Frame(body)]
        if body[end - 1] in _LINE_ENDS and body.startswith(_HEADERS, end + 1):
            return [Half(end), Frame(body[end + 1 :])]
    return [Half(len(body))]  # Whether it is one message, nobody knows.


def framed(message: bytes) -> bytes:
    """A message in its frame."""
    return START + message + TRAILER
