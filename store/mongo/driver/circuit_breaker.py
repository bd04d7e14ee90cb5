"""Whether MongoDB can be relied on right now: once it cannot, requests are refused instead of waiting.

A failed commit or an unanswered ping opens the circuit; one ping at a time then finds out when MongoDB is
back, and closes it. No client's push is spent on finding out.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Final

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.metrics import StoreMetrics

LOG: Final = logging.getLogger("store.pulse")
WATCH_SECONDS: Final = 1.0
"""Pause between two pings while all is well."""
PROBE_SECONDS: Final = 0.25
"""Pause between two pings while MongoDB is away."""
LOST: Final = frozenset({Category.UNAVAILABLE, Category.TIMEOUT})
"""The failures that say something of MongoDB and not of what was asked."""
AWAY: Final = "away"
_AWAY: Final = Issue("transient", "the database cannot be reached; nothing was stored, try again shortly")
_UNASKED: Final = "the database could not be asked; it is tried again"
"""No thread left, say. Without its task the circuit would stay as it is until the process ends."""
_UNREAD: Final = Issue("transient", "the database cannot be reached; try again shortly")


class Pulse:
    """A circuit breaker in front of the writes."""

    def __init__(
        self,
        ping: Callable[[], Awaitable[None]],
        *,
        metrics: StoreMetrics,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._ping = ping
        self._metrics = metrics
        self._pause = pause
        self._now = now
        self._lost_at: float | None = None
        self._answered_at: float | None = None
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

    def check_read(self) -> None:
        """Raise ServiceError `unavailable` at once while MongoDB cannot be read from."""
        if self.lost:
            raise ServiceError(Category.UNAVAILABLE, _UNREAD)

    @property
    def lost_for(self) -> float:
        """Seconds since MongoDB was found to be away; 0 while it is not."""
        return 0.0 if self._lost_at is None else self._now() - self._lost_at

    @property
    def quiet_for(self) -> float:
        """Seconds since the last ping that was answered."""
        return inf if self._answered_at is None else self._now() - self._answered_at

    def failed(self, error: BaseException) -> None:
        """Hear of a failure: when it is one of MongoDB, refuse from now on until a ping is answered."""
        if not isinstance(error, ServiceError) or error.category not in LOST:
            return
        if self._probing is None and not self._stopped:
            LOG.warning(
                "the database is away: requests are refused", extra={"category": error.category.value}
            )
            self._metrics.available(available=False)
            self._lost_at = self._now()
            self._probing = detached(self._probe())
            self.on_lost()

    def watch(self) -> None:
        """Ping from now on even when nothing is written, so that the first push need not find out."""
        self._answered_at = self._now()
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
        self._probing = self._lost_at = None
        self._metrics.available(available=True)
        LOG.warning("the database is back: requests are accepted")

    async def _answered(self) -> bool:
        try:
            await self._ping()
        except ServiceError:
            return False
        except Exception:
            LOG.exception(_UNASKED)
            return False
        self._answered_at = self._now()
        return True

    async def _watch(self) -> None:
        while True:
            await self._pause(WATCH_SECONDS)
            if not self.lost:
                try:
                    await self._ping()
                    self._answered_at = self._now()
                except ServiceError as error:
                    self.failed(error)
                except Exception:
                    LOG.exception(_UNASKED)


def refusal() -> ServiceError:
    """Refusal of a write while MongoDB is away; each caller gets its own, for tracebacks must not mix."""
    return ServiceError(Category.UNAVAILABLE, _AWAY)
