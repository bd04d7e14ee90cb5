"""Metrics of the annex that the process beside it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ENDS: Final = ("idle", "killed", "exited")


class AnnexMetrics:
    """Whether it runs, and how it ended."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.running = Gauge("dod_annex_running", "Processes for large bodies that run.", registry=registry)
        self._ends = Counter(
            "dod_annex_ends_total",
            f"Processes for large bodies that ended while the service went on, by how: {', '.join(ENDS)}.",
            ("how",),
            registry=registry,
        )
        for how in ENDS:
            self._ends.labels(how)

    def ended(self, how: str) -> None:
        """Count an end."""
        self._ends.labels(how).inc()
