"""The way of log lines to stderr, whatever becomes of its reader.

A reader can go away, stand still, or be a file on a full disk. The service goes on in each case: lines that
find no way out are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
from collections import deque
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Final

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable

LINES_MAX: Final = 256
"""Lines that wait to be written together."""
LINES_SECONDS: Final = 0.05
"""Longest wait of a line for others; what a crash of the machine could lose."""
WAITING_BYTES_MAX: Final = 1_000_000
"""Bytes that wait for a reader that is slow; lines past them are dropped."""
PIECE_BYTES: Final = select.PIPE_BUF
"""Bytes of one write. A pipe that is said to be writable takes as many without blocking."""


class JsonHandler(logging.Handler):
    """Writes to stderr: warnings at once, the rest a moment later and together.

    A write lets go of the interpreter lock, and with driver threads waiting for it a request then stands
    still for as long as it takes to get it back: 76 µs of each search, measured at 32 connections.
    """

    lost = 0
    """Lines dropped so far; a number of the process, as stderr is."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[bytes] = []
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._poll: tuple[int, select.poll] | None = None
        self._called_in: asyncio.AbstractEventLoop | None = None

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode()
        except Exception:  # noqa: BLE001 -- whoever logs does not fail for it
            self._lose(1)
            return
        self._write(line, record.levelno)

    def say(self, line: bytes) -> None:
        """A finished line at INFO."""
        with self.lock or nullcontext():  # As `handle` does.
            self._write(line, logging.INFO)

    def _write(self, line: bytes, level: int) -> None:
        self._lines.append(line)
        if level >= logging.WARNING or len(self._lines) >= LINES_MAX or not self._called_later():
            self.flush()

    def _called_later(self) -> bool:
        """Whether the loop will write what waits. Outside of a loop, and in threads: no."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._called_in is not loop:
            loop.call_later(LINES_SECONDS, self._call)
            self._called_in = loop
        return True

    def _call(self) -> None:
        self._called_in = None
        self.flush()
        if self._waiting:
            self._called_later()

    @override
    def flush(self) -> None:
        """Write what stderr takes without standing still."""
        with self.lock or nullcontext():
            lines, self._lines = self._lines, []
            self._queue(lines)
            try:
                self._send()
            except BlockingIOError:
                pass  # Somebody else has filled it meanwhile.
            except OSError:  # Nobody reads any more, or the disk is full.
                self._lose(sum(piece.count(b"\n") for piece in self._waiting))
                self._waiting.clear()
                self._waiting_bytes = 0

    def _queue(self, lines: Iterable[bytes]) -> None:
        for line in lines:
            if self._waiting_bytes + len(line) > WAITING_BYTES_MAX:
                self._lose(1)
                continue
            self._waiting.append(line + b"\n")
            self._waiting_bytes += len(line) + 1

    def _send(self) -> None:
        number = _number_of_stderr()
        while self._waiting and (number is None or self._is_writable(number)):
            piece = self._next_piece()
            try:
                written = _written(number, piece)
            except OSError:
                self._waiting.appendleft(piece)
                raise
            self._waiting_bytes -= written
            if written < len(piece):
                self._waiting.appendleft(piece[written:])

    def _next_piece(self) -> bytes:
        """Piece of as many whole lines as one write takes, or a part of a long one."""
        line = self._waiting.popleft()
        if len(line) > PIECE_BYTES:
            self._waiting.appendleft(line[PIECE_BYTES:])
            return line[:PIECE_BYTES]
        lines, size = [line], len(line)
        while self._waiting and size + len(self._waiting[0]) <= PIECE_BYTES:
            lines.append(self._waiting.popleft())
            size += len(lines[-1])
        return b"".join(lines)

    def _is_writable(self, number: int) -> bool:
        if self._poll is None or self._poll[0] != number:
            self._poll = number, select.poll()
            self._poll[1].register(number, select.POLLOUT)
        return bool(self._poll[1].poll(0))  # A pipe without a reader is: the write then says so.

    @classmethod
    def _lose(cls, count: int) -> None:
        JsonHandler.lost += count


def _number_of_stderr() -> int | None:
    """The descriptor behind `sys.stderr`; None where it is no file."""
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # It is None, a buffer, or closed.
        return None


def _written(number: int | None, piece: bytes) -> int:
    """Number of bytes of the piece that have left."""
    if number is not None:
        return os.write(number, piece)
    with suppress(AttributeError, ValueError):
        sys.stderr.write(piece.decode(errors="replace"))
        sys.stderr.flush()
    return len(piece)
