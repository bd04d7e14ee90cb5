"""mongod's log: read from its standard output, freed of values, kept in a file that stays bounded.

A thread reads, for mongod would stand still behind a full pipe while the event loop waits for mongod.
"""

from __future__ import annotations

import fcntl
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson

from store.mongo.embedded.redaction import without_values

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG_BYTES_MAX: Final = 10 * 1024 * 1024
"""A larger log is set aside as `mongod.log.1`, in place of the one before."""
LINE_BYTES_MAX: Final = 256 * 1024
"""Longest line that is read as one; mongod cuts attributes at 10 kB."""
LINES_KEPT: Final = 500
"""Latest lines in memory, for the sentence on why mongod ended."""
PIPE_BYTES: Final = 1024 * 1024
"""Room for what mongod says while the thread has no turn."""
JOIN_SECONDS: Final = 2.0
"""Time that the end of a mongod waits for its last words."""


class Log:
    """Words of a mongod, from its start to its end; then those of its successor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: deque[dict[str, Any] | str] = deque(maxlen=LINES_KEPT)
        self._structured = False
        self._thread: Thread | None = None

    @property
    def lines(self) -> Sequence[dict[str, Any] | str]:
        """Latest lines: structured ones without values, and what the loader or the option parser said."""
        return tuple(self._lines)

    def open(self) -> int:
        """Begin to read; gives the descriptor that a mongod writes to, for the caller to close."""
        self._lines.clear()
        self._structured = False
        file = _opened(self.path)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        with suppress(OSError):  # Unprivileged users may have no room for larger pipes.
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = Thread(target=self._read, args=(reading, file), name="mongod-log", daemon=True)
        self._thread.start()
        return writing

    def end(self) -> None:
        """Wait for the last words of a mongod that has ended."""
        if self._thread is not None:
            self._thread.join(JOIN_SECONDS)

    # --- in the thread

    def _read(self, reading: int, file: BinaryIO) -> None:
        with os.fdopen(reading, "rb") as words:
            begun = True
            while line := words.readline(LINE_BYTES_MAX):
                whole = line.endswith(b"\n")
                if begun and whole:
                    # A reader that ended would leave mongod in front of a full pipe.
                    with suppress(Exception):
                        if text := self._kept(line):
                            file = _written(file, self.path, text)
                begun = whole
        with suppress(OSError):
            file.close()

    def _kept(self, line: bytes) -> bytes | None:
        """Line as it may be written; None: nothing of it."""
        entry = without_values(line)
        if entry is not None:
            self._structured = True
            self._lines.append(entry)
            return orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        # Before its log begins the loader and the option parser speak; afterwards it is a crash, whose words
        # may quote anything.
        if self._structured or not line.strip():
            return None
        self._lines.append(line.decode(errors="replace").strip())
        return line


def _opened(path: Path) -> BinaryIO:
    """The log, to be appended to; a large one is set aside."""
    if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb", 0)


def _written(file: BinaryIO, path: Path, text: bytes) -> BinaryIO:
    """Write a line, and go on with another file when this one is large. A full disk costs lines."""
    with suppress(OSError):
        file.write(text)
        if file.tell() > LOG_BYTES_MAX:
            fresh = _opened(path)
            file.close()
            return fresh
    return file
