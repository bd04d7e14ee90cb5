"""Counters of forgetting; scraped at the admin port. Alerts on it are in `k8s/monitoring`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from store.retention.runs import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from store.retention.runs import Row

SECONDS: Final = (0.1, 1, 10, 60, 300, 900, 1_800, 3_600, 14_400)
OUTCOMES: Final = ("complete", "out-of-time", "stopped", "lost", "failed")


class RetentionMetrics:
    """Metrics of this process; the backlog is that of the database, equal wherever it is scraped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._deleted = Counter(
            "dod_retention_deleted_total",
            "What the sweep deleted, by reason.",
            ("reason",),
            registry=registry,
        )
        self._overdue = Gauge(
            "dod_retention_overdue",
            "Documents that expired since the last complete run began; counted up to 100,000.",
            registry=registry,
        )
        self._oldest = Gauge(
            "dod_retention_oldest_overdue_seconds",
            "Age of the oldest of these.",
            registry=registry,
        )
        self._succeeded = Gauge(
            "dod_retention_last_success_timestamp_seconds",
            "When the last complete run over all tenants ended, whichever replica did it. 0: never.",
            registry=registry,
        )
        self._leases = Counter(
            "dod_retention_lease_changes_total",
            "How often this process took over the sweep from another.",
            registry=registry,
        )
        self._duration = Histogram(
            "dod_retention_run_duration_seconds",
            "How long this process worked on a run.",
            buckets=SECONDS,
            registry=registry,
        )
        self._runs = Counter(
            "dod_retention_runs_total",
            "Runs of this process, by end: complete, out-of-time, stopped, lost (another took over), failed.",
            ("outcome",),
            registry=registry,
        )
        for reason in Reason:
            if reason not in (Reason.HELD, Reason.NEEDED):
                self._deleted.labels(reason.value)
        for outcome in OUTCOMES:
            self._runs.labels(outcome)

    def deleted(self, counts: Mapping[Row, int]) -> None:
        """Count what a batch deleted."""
        for row, count in counts.items():
            self._deleted.labels(row.reason).inc(count)

    def lease(self, *, changed: bool) -> None:
        """Count a lease that another process had before."""
        if changed:
            self._leases.inc()

    def run(self, outcome: str, seconds: float) -> None:
        """Count a run; `outcome` is one of OUTCOMES."""
        self._runs.labels(outcome).inc()
        self._duration.observe(seconds)

    def succeeded(self, at: datetime) -> None:
        """Note the end of the last complete run."""
        self._succeeded.set(at.timestamp())

    def backlog(self, *, count: int, oldest_seconds: float) -> None:
        """Note the backlog of the sweep, and since when it waits."""
        self._overdue.set(count)
        self._oldest.set(oldest_seconds)
