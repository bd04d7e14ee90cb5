"""Erasures that requests began in this process, each under way behind its request."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING, Final

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.retention.erasure import Demand, Erased, Erasing
    from store.retention.metrics import RetentionMetrics
    from store.retention.subjects import Subject
    from store.tenancy import Tenant

WAIT_SECONDS: Final = 20.0
"""Time that a request waits; the erasure goes on behind it."""


AT_ONCE: Final = 2
"""Erasures under way in one process: each reads much."""


UNTOLD_SECONDS: Final = 600.0
"""Time for which a result waits for whoever asks again; later the same request is another erasure."""
UNTOLD_MAX: Final = 1_000
"""Results that nobody has asked for; past it the oldest are forgotten. Receipts keep them all."""


class Purges:
    """Erasures that requests began here, by whom they are about."""

    def __init__(
        self,
        erasing: Erasing,
        *,
        metrics: RetentionMetrics,
        wait_seconds: float = WAIT_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._erasing = erasing
        self._metrics = metrics
        self._wait_seconds = wait_seconds
        self._monotonic = monotonic
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[tuple[Tenant, Subject], asyncio.Task[Erased]] = {}
        self._ended: dict[tuple[Tenant, Subject], float] = {}
        """Moments at which erasures ended whose results nobody has asked for."""

    async def erase(self, demand: Demand) -> Erased | None:
        """Result of an erasure; None: it is under way. Raises ServiceError."""
        key = (demand.tenant, demand.subject)
        if self._monotonic() - self._ended.get(key, inf) > UNTOLD_SECONDS:
            self._forget(key)
        task = self._tasks.get(key)
        if task is None:
            self._forget_oldest()
            task = self._tasks[key] = detached(self._erase(demand))
            task.add_done_callback(lambda _: self._ended.setdefault(key, self._monotonic()))
        done, _ = await asyncio.wait({task}, timeout=self._wait_seconds)
        if not done:
            return None
        if self._tasks.get(key) is task:
            self._forget(key)
        return task.result()

    def _forget(self, key: tuple[Tenant, Subject]) -> None:
        self._tasks.pop(key, None)
        self._ended.pop(key, None)

    async def _erase(self, demand: Demand) -> Erased:
        async with self._turns:
            erased = await self._erasing.erase(demand)
        self._metrics.deleted({one.row: one.count for one in erased.receipt.rows})
        return erased

    def _forget_oldest(self) -> None:
        while len(self._tasks) >= UNTOLD_MAX:
            ended = next((key for key, task in self._tasks.items() if task.done()), None)
            if ended is None:
                text = "too many erasures are under way; try again later"
                raise ServiceError(Category.UNAVAILABLE, Issue("transient", text))
            self._forget(ended)

    async def stop(self) -> None:
        """Break off what is under way: the same request elsewhere goes on with it."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
