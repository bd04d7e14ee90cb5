"""Erasures that requests began in this process, each under way behind its request."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from store.retention.erasure import Demand, Erased, Erasing
    from store.retention.metrics import RetentionMetrics
    from store.retention.subjects import Subject
    from store.tenancy import Tenant

WAIT_SECONDS: Final = 20.0
"""Time that a request waits; the erasure goes on behind it."""


AT_ONCE: Final = 2
"""Erasures under way in one process: each reads much."""


UNTOLD_MAX: Final = 1_000
"""Results that nobody has asked for; past it the oldest are forgotten. Receipts keep them all."""


class Purges:
    """Erasures that requests began here, by whom they are about."""

    def __init__(
        self, erasing: Erasing, *, metrics: RetentionMetrics, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._erasing = erasing
        self._metrics = metrics
        self._wait_seconds = wait_seconds
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tasks: dict[tuple[Tenant, Subject], asyncio.Task[Erased]] = {}

    async def erase(self, demand: Demand) -> Erased | None:
        """Result of an erasure; None: it is under way. Raises ServiceError."""
        key = (demand.tenant, demand.subject)
        task = self._tasks.get(key)
        if task is None:
            self._forget_oldest()
            task = self._tasks[key] = detached(self._erase(demand))
        done, _ = await asyncio.wait({task}, timeout=self._wait_seconds)
        if not done:
            return None
        self._tasks.pop(key, None)
        return task.result()

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
            del self._tasks[ended]

    async def stop(self) -> None:
        """Break off what is under way: the same request elsewhere goes on with it."""
        for task in self._tasks.values():
            task.cancel()
            with suppress(asyncio.CancelledError, ServiceError):
                await task
