"""Metrics that the supervisor counts of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

ENDS: Final = ("killed", "exited", "replaced")
RELOADS: Final = ("complete", "broken-off")


class SupervisorMetrics:
    """The number of workers, how they ended, and how reloads went."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._workers = Gauge("dod_workers", "Workers that run.", registry=registry)
        self._ends = Counter(
            "dod_worker_ends_total",
            f"Workers that ended while the service went on, by how: {', '.join(ENDS)}.",
            ("how",),
            registry=registry,
        )
        self._reloads = Counter(
            "dod_reloads_total",
            f"Replacements of all workers (SIGHUP), by outcome: {', '.join(RELOADS)}.",
            ("outcome",),
            registry=registry,
        )
        for how in ENDS:
            self._ends.labels(how)
        for outcome in RELOADS:
            self._reloads.labels(outcome)

    def running(self, number: Callable[[], int]) -> None:
        """Gauge of the workers that run: asked when it is scraped."""
        self._workers.set_function(number)

    def ended(self, how: str) -> None:
        """Count a worker that ended."""
        self._ends.labels(how).inc()

    def reloaded(self, *, complete: bool) -> None:
        """Count a reload."""
        self._reloads.labels(RELOADS[0] if complete else RELOADS[1]).inc()
