"""Translation of the driver's exceptions into ServiceErrors; deadlines and times of operations.

Driver messages can quote a document's values (a duplicate key, for one): none leaves this module.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final

import pymongo
from pymongo.errors import (
    AutoReconnect,
    DocumentTooLarge,
    ExecutionTimeout,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.error_codes import TIMEOUT, UNAVAILABLE, passing_failure
from store.spans import spent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.metrics import StoreMetrics

_WITHIN: ContextVar[float] = ContextVar("within", default=inf)
"""Moment, on the monotonic clock, at which all operations of this context have to be over."""
LEAST_SECONDS: Final = 0.001
"""Shortest deadline: the driver takes 0 for `without end`."""
_TOO_LARGE: Final = Issue("too-long", "the resource is larger than a stored document may be")
_FAULT: Final = Issue("exception", "the database refused an operation")
_UNAUTHORIZED: Final = 13
_LACKING: Final = Issue(
    "exception",
    "the database user of this process lacks a right that this takes; `dod` commands take those of the role"
    " `readWrite` on the database",
)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Deadline around several operations, for all that one request does; each keeps its own as well."""
    token = _WITHIN.set(min(_WITHIN.get(), monotonic() + seconds))
    try:
        yield
    finally:
        _WITHIN.reset(token)


def bounded(seconds: float) -> float:
    """Seconds of this, or as many as the deadline around it leaves."""
    left = _WITHIN.get() - monotonic()
    return seconds if left >= seconds else max(left, LEAST_SECONDS)


class guarded:  # noqa: N801 -- a verb; as a generator it costs a quarter more
    """Deadline around one store operation. `seconds` covers server selection, retries and the answer.

    The deadline is the driver's: a cancelled call would go on occupying its thread.
    """

    __slots__ = ("_deadline", "_metrics", "_operation", "_started")

    def __init__(self, metrics: StoreMetrics, operation: str, *, seconds: float) -> None:
        self._metrics = metrics
        self._operation = operation
        self._started = perf_counter()
        self._deadline = pymongo.timeout(bounded(seconds))

    def __enter__(self) -> None:
        self._deadline.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._deadline.__exit__(kind, error, None)
        translated = translate(error) if isinstance(error, PyMongoError) else None
        outcome = "ok" if translated is None else translated.category.value
        seconds = perf_counter() - self._started
        self._metrics.observe(self._operation, outcome, seconds)
        spent(f"store.{self._operation}", seconds, outcome=outcome)
        if translated is not None:
            raise translated from error


def translate(error: PyMongoError) -> ServiceError:
    """The ServiceError for what the driver raised."""
    match error:
        case DocumentTooLarge():
            return ServiceError(Category.TOO_LARGE, _TOO_LARGE)
        case ExecutionTimeout() | NetworkTimeout() | WTimeoutError() | WaitQueueTimeoutError():
            return ServiceError(Category.TIMEOUT, TIMEOUT)
        case AutoReconnect():
            return ServiceError(Category.UNAVAILABLE, UNAVAILABLE)
        case OperationFailure(code=code, details=details) if passing := passing_failure(code, details):
            return passing
        case OperationFailure(code=code) if code == _UNAUTHORIZED:
            return ServiceError(Category.FAULT, _LACKING)
        case _:
            if error.timeout:
                return ServiceError(Category.TIMEOUT, TIMEOUT)
            if error.has_error_label("RetryableWriteError"):
                return ServiceError(Category.UNAVAILABLE, UNAVAILABLE)
            return ServiceError(Category.FAULT, _FAULT)
