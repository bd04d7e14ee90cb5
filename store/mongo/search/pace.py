"""Clients whose searches take long: their next ones share threads with their like alone.

Which search is slow is known only afterwards: one with an index may filter half a tenant. A thread takes
several quick searches in a turn, so that a slow one among them holds up those of others. What counts is the
mean: a database that stands still for a second makes every search slow, and no client one with slow searches.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from store.fair import Asker

WEIGHT: Final = 0.1
"""Weight of the last search in the mean: some ten searches are remembered."""
REMEMBERED_MAX: Final = 1_000
"""Clients that are remembered; the oldest are forgotten first."""


class Pace:
    """Mean time of the searches of each client, as long as it is worth a mention; threads write to it."""

    def __init__(self, *, slow_seconds: float) -> None:
        self._slow = slow_seconds
        self._least = slow_seconds * WEIGHT
        self._means: dict[Asker, float] = {}
        self._lock = Lock()

    def took(self, asker: Asker, seconds: float) -> None:
        """Note how long a search ran, from its first command to its last."""
        if seconds < self._slow and asker not in self._means:
            return
        with self._lock:
            mean = self._means.pop(asker, 0.0)
            mean += WEIGHT * (seconds - mean)
            if mean < self._least:
                return
            while len(self._means) >= REMEMBERED_MAX:
                del self._means[next(iter(self._means))]
            self._means[asker] = mean

    def is_slow(self, asker: Asker) -> bool:
        """Whether the searches of this client take long."""
        return self._means.get(asker, 0.0) >= self._slow
