"""Metrics that the supervisor counts of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, ProcessCollector, disable_created_metrics
from prometheus_client.registry import Collector
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry, Metric

ENDS: Final = ("killed", "exited", "replaced")
RELOADS: Final = ("complete", "broken-off")


class Start(Collector):
    """Start of the supervisor. In a scrape the least of all is the service's: that of the oldest worker moves
    whenever that one is replaced.
    """

    @override
    def collect(self) -> list[Metric]:
        own = ProcessCollector(registry=None).collect()
        return [one for one in own if one.name == "process_start_time_seconds"]


class SupervisorMetrics:
    """The number of workers, how they ended, and how reloads went."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # As in each of the workers.
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
