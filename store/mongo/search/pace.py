"""Clients whose searches take long: their next ones share threads with their like alone, and have few of them
while others search.

Which search is slow is known only afterwards: one with an index may filter half a tenant. A thread takes
several quick searches in a turn, so that a slow one among them holds up those of others. What counts is the
mean: a database that stands still for a second makes every search slow, and no client one with slow searches.

Threads are not all that a slow search takes: while it runs it has a processor of MongoDB's. A client that is
alone may have as many as its share of the threads, and beside others as few as the settings say, with a rest
behind each.
"""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.fair import Asker
    from store.settings import StoreSettings

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
        return self.mean(asker) >= self._slow

    def mean(self, asker: Asker) -> float:
        """Mean time of the searches of this client, in seconds; 0.0: they are quick, or it has had none."""
        return self._means.get(asker, 0.0)


LATELY_SECONDS: Final = 1.0
"""Time for which a client counts as one that searches, behind its last quick search."""


class Company:
    """Clients with quick searches, lately: whether another one has the database for itself.

    It is asked and told on the event loop alone.
    """

    def __init__(self, *, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._latest: dict[Asker, float] = {}
        """The last two, each with its last search: one of them is another than whoever is asked for."""

    def came(self, asker: Asker) -> None:
        """Note a quick search."""
        if asker not in self._latest and len(self._latest) > 1:
            del self._latest[min(self._latest, key=self._latest.__getitem__)]
        self._latest[asker] = self._now()

    def is_kept_by(self, asker: Asker) -> bool:
        """Whether others than this client search."""
        since = self._now() - LATELY_SECONDS
        return any(one != asker and moment >= since for one, moment in self._latest.items())


REST_MAX: Final = 1.0
"""Longest rest behind a slow search, in seconds: what waits meanwhile has a deadline."""
TOO_MANY: Final = Issue(
    "throttled",
    "slow searches of this client are waiting already, for longer than a search may take: send fewer at a"
    " time, or name a patient or a code, by which an index leads",
)


class Restraint:
    """Bounds of slow searches: whose are slow, how few of them a client has under way, how long it rests."""

    def __init__(self, settings: StoreSettings, *, alone: int) -> None:
        """`alone`: slow searches at once of a client that has the database for itself."""
        self._settings = settings
        self._alone = alone
        self._pace = Pace(slow_seconds=settings.search_slow_seconds)
        self._company = Company()
        self.took = self._pace.took
        self.is_slow = self._pace.is_slow
        self.came = self._company.came

    def most(self, asker: Asker) -> int:
        """Slow searches that a client may have under way."""
        beside = min(self._alone, self._settings.search_slow_beside_max)
        return beside if self._company.is_kept_by(asker) else self._alone

    def admit(self, asker: Asker, waiting: int) -> None:
        """Refuse a slow search that would wait beyond its deadline behind so many of its client.

        Raises ServiceError `throttled`: what is known beforehand is said at once, not at the deadline, when
        all that wait would be told together.
        """
        if not self._company.is_kept_by(asker):
            return
        mean = self._pace.mean(asker)
        each = mean + self.rest(asker, mean)
        if waiting * each > self._settings.search_timeout_seconds * self.most(asker):
            raise ServiceError(Category.THROTTLED, TOO_MANY)

    def rest(self, asker: Asker, seconds: float) -> float:
        """Seconds for which a client begins no slow search in place of one that took so long."""
        if not self._company.is_kept_by(asker):
            return 0.0
        return min(seconds * self._settings.search_slow_rest, REST_MAX)
