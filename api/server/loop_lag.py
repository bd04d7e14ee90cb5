"""Lag of the event loop: the first sign that one process has too much to do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from prometheus_client import Histogram

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from prometheus_client import CollectorRegistry

EVERY_SECONDS: Final = 0.25
SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class LoopMetrics:
    """The delay of a call that the loop was asked for at a moment."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lag = Histogram(
            "dod_event_loop_lag_seconds",
            "Delay of a call on the event loop, looked at four times a second. Long: the process needs more"
            " processors, or others beside it.",
            buckets=SECONDS,
            registry=registry,
        )

    def late(self, seconds: float) -> None:
        """Count one look."""
        self._lag.observe(seconds)


@asynccontextmanager
async def watched(metrics: LoopMetrics, *, every: float = EVERY_SECONDS) -> AsyncIterator[None]:
    """Look at the running loop again and again."""
    loop = asyncio.get_running_loop()
    watching = True

    def look(due: float) -> None:
        if watching:
            now = loop.time()
            loop.call_at(now + every, look, now + every)
            metrics.late(now - due)

    due = loop.time() + every
    loop.call_at(due, look, due)
    try:
        yield
    finally:
        watching = False
