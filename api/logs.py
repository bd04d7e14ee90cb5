"""Log lines: one JSON object each, on stderr, of allow-listed fields and no values.

Our own loggers pass constant sentences and fields by `extra`. Other libraries' messages may hold
anything (a driver error quotes the key), so of theirs only the place and the exception's type are shown.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from time import time
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final

import orjson
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

FIELDS: Final = frozenset(
    {
        "admin_address",
        "address",
        "bytes_in",
        "bytes_out",
        "category",
        "client",
        "count",
        "duration_ms",
        "job",
        "letter",
        "method",
        "phase_ms",
        "request_id",
        "role",
        "route",
        "signal",
        "status",
        "tenant",
        "version",
    }
)
"""What `extra` may show. A new field is added here first, after asking what it can hold."""
OURS: Final = frozenset({"api", "ingest", "store"})
QUIET: Final = ("aiohttp.access", "apscheduler", "asyncio", "motor", "pymongo")
LINES_MAX: Final = 256
"""Lines that wait to be written together."""
LINES_SECONDS: Final = 0.05
"""How long one may wait; what a crash of the machine could lose."""
FRAMES_MAX: Final = 12
"""Innermost frames of a traceback that are shown."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return render_record(record).decode()


class JsonHandler(logging.Handler):
    """Writes to stderr: warnings at once, the rest a moment later and together.

    A write lets go of the interpreter lock, and with driver threads waiting for it a request then stands
    still for as long as it takes to get it back: 76 µs of each search, measured at 32 connections.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._write(self.format(record), record.levelno)

    def say(self, line: bytes) -> None:
        """A finished line at INFO."""
        with self.lock or nullcontext():  # As `handle` does.
            self._write(line.decode(), logging.INFO)

    def _write(self, line: str, level: int) -> None:
        self._lines.append(line)
        if level < logging.WARNING and len(self._lines) < LINES_MAX:
            if len(self._lines) > 1:
                return  # The first of them has seen to it.
            with suppress(RuntimeError):  # Outside of a loop, and in threads: at once.
                asyncio.get_running_loop().call_later(LINES_SECONDS, self.flush)
                return
        self.flush()

    @override
    def flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            sys.stderr.write("\n".join(lines) + "\n")
            sys.stderr.flush()


def configure_logging(level: str) -> None:
    """Send everything through the JSON formatter; called once, by the command that serves."""
    handler = JsonHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # What no line shows need not be found out for each.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_fields(logger: logging.Logger, message: str, fields: Mapping[str, Any]) -> None:
    """Log at INFO: the request line is on the hot path.

    Where nobody but our handler would look at it, it is written without a record of it.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    handlers = logging.root.handlers
    if len(handlers) == 1 and isinstance(handlers[0], JsonHandler) and not logger.handlers:
        handlers[0].say(_line(time(), "INFO", logger.name, message, _allowed(fields)))
        return
    record = logging.LogRecord(logger.name, logging.INFO, "", 0, message, None, None)
    record.__dict__.update(fields)
    logger.handle(record)


def render_record(record: logging.LogRecord) -> bytes:
    """The line's bytes, without the line end."""
    ours = record.name.partition(".")[0] in OURS
    message = record.msg if ours else f"{record.module}:{record.lineno}"
    fields = _allowed(record.__dict__) if ours else {}
    if record.exc_info and record.exc_info[1] is not None:
        fields["errors"] = list(_chain(record.exc_info[1]))
        fields["frames"] = list(_frames(record.exc_info[2]))[-FRAMES_MAX:]
    return _line(record.created, record.levelname, record.name, message, fields)


def _allowed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name in FIELDS}


def _line(seconds: float, level: str, logger: str, message: object, fields: Mapping[str, Any]) -> bytes:
    moment = datetime.fromtimestamp(seconds, UTC)
    line = {"time": moment, "level": level, "logger": logger, "message": message, **fields}
    return orjson.dumps(line, default=_kind, option=orjson.OPT_UTC_Z)


def _chain(error: BaseException | None) -> Iterator[str]:
    """The types of an exception and of what it came from; never their texts."""
    while error is not None:
        yield type(error).__qualname__
        error = error.__cause__ or error.__context__


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(traceback):
        code = frame.f_code
        yield f"{frame.f_globals.get('__name__')}:{line} {code.co_name}"


def _kind(value: object) -> str:
    """Anything that is not JSON shows as its type: its text could hold a value."""
    return type(value).__qualname__
