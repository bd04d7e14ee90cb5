"""Listeners: requests that wait for changes. Their number is bounded, and all end when the process does."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from aiohttp import web

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.changes.metrics import ChangeMetrics
    from store.fair import Asker, Shares

_OWN_SHARE: Final = Issue(
    "throttled", "too many requests of this client or tenant listen to changes already: end one of them"
)
_FULL: Final = Issue("transient", "too many requests listen to changes already; try again shortly")


class Listeners:
    """Requests that listen to changes."""

    def __init__(self, shares: Shares, metrics: ChangeMetrics) -> None:
        self._shares = shares
        self._listening: Counter[Asker | str] = Counter()
        self._count = 0
        self.ending = False
        """Whether the process ends: nobody waits any more."""
        self.metrics = metrics
        metrics.listeners(lambda: self._count)

    @contextmanager
    def place(self, asker: Asker) -> Iterator[None]:
        """Hold a place. Raises ServiceError `throttled` or `unavailable` when there is none."""
        own, tenant = self._listening[asker], self._listening[asker.tenant]
        if own >= self._shares.client or tenant >= self._shares.tenant:
            raise ServiceError(Category.THROTTLED, _OWN_SHARE)
        if self._count >= self._shares.all:
            raise ServiceError(Category.UNAVAILABLE, _FULL)
        self._add(asker, 1)
        try:
            yield
        finally:
            self._add(asker, -1)

    def _add(self, asker: Asker, number: int) -> None:
        self._count += number
        for key in (asker, asker.tenant):
            self._listening[key] += number
            if not self._listening[key]:
                del self._listening[key]


LISTENERS: Final[web.AppKey[Listeners]] = web.AppKey("listeners")
