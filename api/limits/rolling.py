"""A rolling window in memory, exact, by a clock that is passed in: a storage for the library `limits`.

The library's own goes by the wall clock, which is set back and forth, and has a thread that looks through all
entries a hundred times a second.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

from limits.storage import MovingWindowSupport, Storage
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS_MAX: Final = 10_000
"""Clients and addresses that are remembered; past it those that asked longest ago are forgotten."""


class RollingWindows(Storage, MovingWindowSupport):
    """The moments of the last requests of each key."""

    STORAGE_SCHEME = ["dod-rolling"]  # noqa: RUF012 -- the library's own way to register

    def __init__(self, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._moments: OrderedDict[str, deque[float]] = OrderedDict()
        self.count = 0
        """Requests within the window of whoever was let through last."""

    @override
    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note requests of a key, if there is room for them within the window."""
        moments = self._moments.get(key)
        if moments is None:
            while len(self._moments) >= KEYS_MAX:
                self._moments.popitem(last=False)
            moments = self._moments[key] = deque()
        else:
            self._moments.move_to_end(key)
        now = self._monotonic()
        while moments and moments[0] <= now - expiry:
            moments.popleft()
        if len(moments) + amount > limit:
            return False
        moments.extend([now] * amount)
        self.count = len(moments)
        return True

    @override
    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Moment of the oldest request within the window, and the number of all."""
        now = self._monotonic()
        current = [one for one in self._moments.get(key, ()) if one > now - expiry]
        return (current[0] if current else now), len(current)

    def used(self, key: str) -> int:
        """Number of requests of a key that were noted when it last asked."""
        return len(self._moments.get(key, ()))

    def frees_in(self, key: str, expiry: int) -> float:
        """Seconds until there is room for one more."""
        moments = self._moments.get(key)
        return max(moments[0] + expiry - self._monotonic(), 0.0) if moments else 0.0

    @override
    def check(self) -> bool:
        return True

    @override
    def reset(self) -> int | None:
        forgotten = len(self._moments)
        self._moments.clear()
        return forgotten

    @override
    def clear(self, key: str) -> None:
        self._moments.pop(key, None)

    # What only other strategies ask for.

    @property
    @override
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    @override
    def get_expiry(self, key: str) -> float:
        raise NotImplementedError

    @override
    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        raise NotImplementedError

    @override
    def get(self, key: str) -> int:
        raise NotImplementedError
