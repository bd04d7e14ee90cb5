"""Whether MongoDB can be written to right now: once it cannot, writes are refused at once instead of waiting.

A failed commit or an unanswered ping opens the circuit; one ping at a time then finds out when MongoDB is
back, and closes it. No client's push is spent on finding out.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.metrics import StoreMetrics

LOG: Final = logging.getLogger("store.pulse")
WATCH_SECONDS: Final = 1.0
"""Between two pings while all is well."""
PROBE_SECONDS: Final = 0.25
"""Between two pings while MongoDB is away."""
LOST: Final = frozenset({Category.UNAVAILABLE, Category.TIMEOUT})
"""The failures that say something of MongoDB and not of what was asked."""
AWAY: Final = "away"
_AWAY: Final = Issue("transient", "the database cannot be reached; nothing was stored, try again shortly")


class Pulse:
    """A circuit breaker in front of the writes."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        *,
        metrics: StoreMetrics,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ping = ping
        self._metrics = metrics
        self._pause = pause
        self._probing: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopped = False
        self.on_lost: Callable[[], None] = lambda: None
        """Called when MongoDB is found to be away."""

    @property
    def lost(self) -> bool:
        """MongoDB did not answer the last time, and a probe is trying."""
        return self._probing is not None

    def check(self) -> None:
        """Raise ServiceError `unavailable` at once while MongoDB is away."""
        if self.lost:
            self._metrics.rejected(AWAY)
            raise refusal()

    def failed(self, error: BaseException) -> None:
        """Told of a failure: when it is one of MongoDB, refuse from now on until a ping is answered."""
        if not isinstance(error, ServiceError) or error.category not in LOST:
            return
        if self._probing is None and not self._stopped:
            LOG.warning("the database is away: writes are refused", extra={"category": error.category.value})
            self._metrics.available(available=False)
            self._probing = asyncio.create_task(self._probe())
            self.on_lost()

    def watch(self) -> None:
        """Ping from now on even when nothing is written, so that the first push need not find out."""
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End the tasks."""
        self._stopped = True
        for task in (self._watching, self._probing):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        self._probing = None

    async def _probe(self) -> None:
        while not await self._answered():
            await self._pause(PROBE_SECONDS)
        self._probing = None
        self._metrics.available(available=True)
        LOG.warning("the database is back: writes are accepted")

    async def _answered(self) -> bool:
        try:
            await self._ping()
        except ServiceError:
            return False
        return True

    async def _watch(self) -> None:
        while True:
            await self._pause(WATCH_SECONDS)
            if not self.lost:
                try:
                    await self._ping()
                except ServiceError as error:
                    self.failed(error)


def refusal() -> ServiceError:
    """What a write is told while MongoDB is away; each has its own, for tracebacks must not mix."""
    return ServiceError(Category.UNAVAILABLE, _AWAY)
