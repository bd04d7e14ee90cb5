"""Limits of one client and one address: requests within a rolling window by class, and at a time.

Each process counts for itself: behind a balancer, or with workers, a client may have as many times the limit.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING, Final

from limits import parse
from limits.strategies import MovingWindowRateLimiter
from typing_extensions import override

from api.limits.rolling import RollingWindows
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limits import RateLimitItem

NEAR: Final = 0.1
"""Part of a limit from which on every answer says how much of it is left."""


class Class(StrEnum):
    """A kind of request with a limit of its own."""

    SEARCH = "search"
    """Searches, reads, histories."""
    PUSH = "push"
    """Single resources and messages."""
    BACKFILL = "backfill"
    """Bundles of type batch or transaction."""
    LOGIN = "login"
    """Requests for access tokens, and endpoint verifications; by address."""
    ADDRESS = "address"
    """All requests of one address, before it is known who asks."""


class ThrottledError(ServiceError):
    """A refusal that says when to come back."""

    def __init__(self, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(Category.THROTTLED, Issue("throttled", text))
        self.headers = headers

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.issues[0].text, self.headers)


class Limiter:
    """Counts of requests by who asks: within a window, and under way."""

    def __init__(self, rates: Mapping[Class, str], *, at_once: int, monotonic: Callable[[], float]) -> None:
        self._windows = RollingWindows(monotonic)
        self._strategy = MovingWindowRateLimiter(self._windows)
        self._rates: Mapping[Class, RateLimitItem] = {
            kind: parse(text) for kind, text in rates.items() if text
        }
        self._at_once = at_once
        self._under_way: Counter[str] = Counter()
        self.held_back: Counter[str] = Counter()
        """Refusals that wait to go out, by who is refused."""

    def hit(self, kind: Class, who: str) -> Mapping[str, str]:
        """Count a request; headers for its answer, when little of the limit is left.

        Raises ThrottledError past the limit.
        """
        rate = self._rates.get(kind)
        if rate is None:
            return {}
        if not self._strategy.hit(rate, kind.value, who):
            seconds = max(self._frees_in(rate, kind, who), 1)
            text = (
                f"more than {rate.amount} requests of this {_whose(kind)} within {rate.get_expiry()} seconds:"
                f" there is room again in {seconds} seconds"
            )
            raise ThrottledError(text, {"Retry-After": str(seconds), **_headers(rate, 0, seconds)})
        left = rate.amount - self._windows.count
        if left >= rate.amount * NEAR:
            return {}
        return _headers(rate, left, self._frees_in(rate, kind, who))

    def _frees_in(self, rate: RateLimitItem, kind: Class, who: str) -> int:
        return ceil(self._windows.frees_in(rate.key_for(kind.value, who), rate.get_expiry()))

    def enter(self, who: str) -> None:
        """Take a place among the requests that one client has at a time; `leave` gives it back.

        Raises ThrottledError past the limit.
        """
        if self._under_way[who] >= self._at_once:
            text = f"more than {self._at_once} requests of this client at a time: wait for answers"
            headers = {"Retry-After": "1", "X-RateLimit-Limit": str(self._at_once)}
            raise ThrottledError(text, headers)
        self._under_way[who] += 1

    def leave(self, who: str) -> None:
        """Give the place back."""
        self._under_way[who] -= 1
        if not self._under_way[who]:
            del self._under_way[who]


def _whose(kind: Class) -> str:
    return "address" if kind in (Class.LOGIN, Class.ADDRESS) else "client"


def _headers(rate: RateLimitItem, left: int, seconds: int) -> dict[str, str]:
    """https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-07.html, and upstream's header."""
    return {
        "RateLimit-Limit": str(rate.amount),
        "RateLimit-Remaining": str(left),
        "RateLimit-Reset": str(seconds),
        "RateLimit-Policy": f"{rate.amount};w={rate.get_expiry()}",
        "X-RateLimit-Limit": str(rate.amount),
    }
