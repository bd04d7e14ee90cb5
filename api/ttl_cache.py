"""A short memory in front of a slow question: bounded, forgetful, and asked only once at a time.

The doorkeeper keeps grants and tenants in it, readiness the last good ping.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from store.detached import detached

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class TtlCache(Generic[K, V]):
    """Answers of `ask`, remembered for some seconds. None is never remembered."""

    def __init__(
        self,
        ask: Callable[[K], Awaitable[V | None]],
        *,
        seconds: float,
        size_max: int = 10_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._size_max = size_max
        self._monotonic = monotonic
        self._answers: dict[K, tuple[float, V]] = {}
        """Oldest first: the first one is the one to forget when there are too many."""
        self._asking: dict[K, asyncio.Task[V | None]] = {}

    async def get(self, key: K) -> V | None:
        """The answer, from memory while it is fresh; callers at the same time share one question."""
        known = self._answers.get(key)
        if known is not None and self._monotonic() < known[0]:
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = detached(self._learn(key))
        return await asyncio.shield(asking)  # One caller going away must not fail the others.

    async def _learn(self, key: K) -> V | None:
        asked_at = self._monotonic()
        self._answers.pop(key, None)
        try:
            answer = await self._ask(key)
        finally:
            del self._asking[key]
        if answer is not None:
            if len(self._answers) >= self._size_max:
                del self._answers[next(iter(self._answers))]
            self._answers[key] = (asked_at + self._seconds, answer)
        return answer
