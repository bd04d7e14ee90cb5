"""Error codes of the server by which a client may try again, wherever in a reply they stand.

A command that fails has one; a bulk write has one for each of its writes, and one for what the majority did
not confirm, which the driver hides in details of its own.
https://github.com/mongodb/mongo/blob/v6.0/src/mongo/base/error_codes.yml
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT: Final = Issue("timeout", "the database did not answer in time; try again, or ask for less")
UNAVAILABLE: Final = Issue("transient", "the database cannot be reached; try again shortly")
_NO_CODE: Final = 0
CATEGORIES: Final[Mapping[int, Category]] = {
    6: Category.UNAVAILABLE,  # HostUnreachable
    7: Category.UNAVAILABLE,  # HostNotFound
    24: Category.TIMEOUT,  # LockTimeout
    50: Category.TIMEOUT,  # MaxTimeMSExpired
    64: Category.TIMEOUT,  # WriteConcernFailed: `wtimeout` has passed
    89: Category.TIMEOUT,  # NetworkTimeout
    91: Category.UNAVAILABLE,  # ShutdownInProgress
    134: Category.UNAVAILABLE,  # ReadConcernMajorityNotAvailableYet
    189: Category.UNAVAILABLE,  # PrimarySteppedDown
    202: Category.TIMEOUT,  # NetworkInterfaceExceededTimeLimit
    262: Category.TIMEOUT,  # ExceededTimeLimit
    9001: Category.UNAVAILABLE,  # SocketException
    10058: Category.UNAVAILABLE,  # LegacyNotPrimary
    10107: Category.UNAVAILABLE,  # NotWritablePrimary
    11600: Category.UNAVAILABLE,  # InterruptedAtShutdown
    11602: Category.UNAVAILABLE,  # InterruptedDueToReplStateChange
    13435: Category.UNAVAILABLE,  # NotPrimaryNoSecondaryOk
    13436: Category.UNAVAILABLE,  # NotPrimaryOrSecondary
}


def passing_failure(code: int | None, details: Mapping[str, Any] | None = None) -> ServiceError | None:
    """The failure that these codes say; None: it does not pass by itself, or a part of it does not."""
    found = {CATEGORIES.get(one) for one in _codes(code, details or {})}
    if None in found:
        return None
    if Category.UNAVAILABLE in found:
        return ServiceError(Category.UNAVAILABLE, UNAVAILABLE)
    return ServiceError(Category.TIMEOUT, TIMEOUT)


def _codes(code: int | None, details: Mapping[str, Any]) -> Iterator[int]:
    parts = [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ())]
    yield from (one.get("code", _NO_CODE) for one in parts) if parts else (code or _NO_CODE,)
