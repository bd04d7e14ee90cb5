"""Metrics of further processes that the one beside them counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

ENDS: Final = ("idle", "killed", "exited")
_ENDED: Final = f"that ended while the service went on, by how: {', '.join(ENDS)}."


class ProcessMetrics:
    """Whether processes of one kind run, and how they ended."""

    def __init__(self, running: Gauge, ends: Counter) -> None:
        self.running = running
        self._ends = ends
        for how in ENDS:
            ends.labels(how)

    def ended(self, *, dismissed: bool, code: int) -> None:
        """Count an end, of a process that was told to end or not, with this exit code."""
        self._ends.labels("idle" if dismissed else "killed" if code < 0 else "exited").inc()


def annex_metrics(registry: CollectorRegistry) -> ProcessMetrics:
    """Metrics of processes for large bodies."""
    text = "Processes for large bodies"
    return ProcessMetrics(
        Gauge("dod_annex_running", f"{text} that run.", registry=registry),
        Counter("dod_annex_ends_total", f"{text} {_ENDED}", ("how",), registry=registry),
    )


def herald_metrics(registry: CollectorRegistry) -> ProcessMetrics:
    """Metrics of processes that tell subscribers."""
    text = "Processes that tell subscribers"
    return ProcessMetrics(
        Gauge("dod_herald_running", f"{text} that run.", registry=registry),
        Counter("dod_herald_ends_total", f"{text} {_ENDED}", ("how",), registry=registry),
    )
