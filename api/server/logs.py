"""Log lines: one JSON object each, on stderr, of allow-listed fields and no values.

Our own loggers pass constant sentences and fields by `extra`. Other libraries' messages may hold
anything (a driver error quotes the key), so of theirs only the place and the exception's type are shown.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from time import time
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Final

import orjson
from typing_extensions import override

from api.server.log_handler import JsonHandler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

FIELDS: Final = frozenset(
    {
        "ack",
        "address",
        "admin_address",
        "bytes",
        "bytes_in",
        "bytes_out",
        "category",
        "client",
        "count",
        "duration_ms",
        "event",
        "host",
        "job",
        "letter",
        "listener",
        "method",
        "ms",
        "phase_ms",
        "reason",
        "request_id",
        "role",
        "route",
        "signal",
        "since",
        "source",
        "status",
        "tenant",
        "trace_id",
        "version",
        "worker",
    }
)
"""Fields that `extra` may show. A new field is added here first, after asking what it can hold: an id that a
client chose, as that of a subscription, may name a patient.
"""
OURS: Final = frozenset({"api", "ingest", "store"})
QUIET: Final = ("aiohttp.access", "apscheduler", "asyncio", "motor", "pymongo")
FRAMES_MAX: Final = 12
"""Innermost frames of a traceback that are shown."""
ERRORS_MAX: Final = 12
"""Errors shown of a chain: an error that came of itself has no first one."""


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        return render_record(record).decode()


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
    """The types of an exception and of what it came from; never their texts.

    An exception can be its own cause or context, also by way of others: each is shown once.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen and len(seen) < ERRORS_MAX:
        seen.add(id(error))
        yield type(error).__qualname__
        error = error.__cause__ or error.__context__


def _frames(traceback: TracebackType | None) -> Iterator[str]:
    for frame, line in walk_tb(traceback):
        code = frame.f_code
        yield f"{frame.f_globals.get('__name__')}:{line} {code.co_name}"


def _kind(value: object) -> str:
    """Anything that is not JSON shows as its type: its text could hold a value."""
    return type(value).__qualname__
