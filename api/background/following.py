"""The change feed's follower in this process: it looks whether it is needed, and follows while it is."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from store.detached import ended
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.changes.changes import ChangeFollower
    from store.changes.metrics import ChangeMetrics

LOG: Final = logging.getLogger("api.following")
MEASURE_SECONDS: Final = 10.0
"""Pause between two measurements of how far the feed is behind."""


class Following:
    """The tasks of this process, from `start` to `stop`."""

    def __init__(
        self,
        follower: ChangeFollower,
        metrics: ChangeMetrics,
        *,
        seconds: float,
        away: Callable[[], bool] = lambda: False,
    ) -> None:
        """With 0 seconds this process never follows: it measures how far the feed is behind, as all do.

        `away` says whether a process beside this one has that duty now.
        """
        self._follower = follower
        self._metrics = metrics
        self._seconds = seconds
        self._away = away
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        looks = ((self._follow, self._seconds), (self._measure, MEASURE_SECONDS))
        self._tasks = [asyncio.create_task(self._again(work, pause)) for work, pause in looks if pause]

    async def stop(self, *, is_away: Callable[[], bool] = lambda: False) -> None:
        """Look no more; return when what was under way is over, and another process can take over.

        Nothing is waited for while the database is away.
        """
        self._stopping.set()
        await ended(self._tasks, is_away=is_away)

    async def _again(self, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        while not self._stopping.is_set():
            try:
                await work()
            except ServiceError as error:
                LOG.warning("the change feed waits", extra={"category": error.category.value})
            except Exception:
                LOG.exception("the change feed failed; it is tried again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _follow(self) -> None:
        if not self._ends():
            await self._follower.follow(self._ends, self._metrics)

    def _ends(self) -> bool:
        return self._stopping.is_set() or self._away()

    async def _measure(self) -> None:
        self._metrics.behind(await self._follower.behind())
