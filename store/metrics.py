"""Counters of the store; scraped at the admin port. Registered by whoever opens the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
REASONS: Final = ("operations", "bytes", "bodies", "away")
"""Reasons why pushes are refused before anything is done."""
SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class StoreMetrics:
    """Durations of store operations and the working of the group commit."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._duration = Histogram(
            "dod_store_operation_duration_seconds",
            "Time one store operation took, by verb and by how it ended.",
            ("operation", "outcome"),
            buckets=SECONDS,
            registry=registry,
        )
        self._durations: dict[tuple[str, str], Histogram] = {}
        self._commit_size = Histogram(
            "dod_store_commit_size",
            "Operations that one group commit took together. Always 1: pushes come one at a time.",
            buckets=SIZES,
            registry=registry,
        )
        self._commit_wait = Histogram(
            "dod_store_commit_wait_seconds",
            "Time a push waited for its group commit to begin.",
            buckets=SECONDS,
            registry=registry,
        )
        self._read_wait = Histogram(
            "dod_store_read_wait_seconds",
            "Time a search waited for a thread.",
            buckets=SECONDS,
            registry=registry,
        )
        self._reads_waiting = Gauge(
            "dod_store_reads_waiting", "Searches waiting for a thread.", registry=registry
        )
        self._connections = Gauge(
            "dod_store_connections", "Connections to MongoDB that are open.", registry=registry
        )
        self._connections_in_use = Gauge(
            "dod_store_connections_in_use",
            "Connections to MongoDB that work for somebody.",
            registry=registry,
        )
        self._connections_max = Gauge(
            "dod_store_connections_max",
            "Connections to one member of MongoDB that there may be (DOD_POOL_SIZE).",
            registry=registry,
        )
        self._commit_queue = Gauge(
            "dod_store_commit_queue",
            "Pushes waiting for a group commit. Growing: the database is slower than the senders.",
            registry=registry,
        )
        self._commit_queue_bytes = Gauge(
            "dod_store_commit_queue_bytes",
            "Bytes of the pushes waiting for a group commit.",
            registry=registry,
        )
        self._rejected = Counter(
            "dod_store_pushes_rejected_total",
            "Pushes refused with 503 before anything was done, by reason: operations, bytes (the queue of "
            "the group commit), bodies (being read and prepared), away (no database).",
            ("reason",),
            registry=registry,
        )
        for reason in REASONS:
            self._rejected.labels(reason)
        self._available = Gauge(
            "dod_store_available",
            "1 while the database answers, 0 while writes are refused because it does not.",
            registry=registry,
        )
        self._available.set(1)
        self.audit = AuditMetrics(registry)

    def observe(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one operation; `outcome` is `ok` or a category. Both come from fixed small sets."""
        labels = (operation, outcome)
        duration = self._durations.get(labels)
        if duration is None:  # Children are kept: finding one again costs more than observing.
            duration = self._durations[labels] = self._duration.labels(*labels)
        duration.observe(seconds)

    def commit(self, size: int, waits: Iterable[float] = ()) -> None:
        """Count one group commit, and how long each of its pushes waited."""
        self._commit_size.observe(size)
        for seconds in waits:
            self._commit_wait.observe(seconds)

    def read_waited(self, seconds: float) -> None:
        """Count a search that has a thread now."""
        self._read_wait.observe(seconds)

    def reads(self, waiting: Callable[[], int]) -> None:
        """Gauge of the searches that wait for a thread: asked when it is scraped."""
        self._reads_waiting.set_function(waiting)

    def pool(self, is_open: Callable[[], int], in_use: Callable[[], int], *, size: int) -> None:
        """Gauges of the connections, and of how many there may be: asked when they are scraped."""
        self._connections.set_function(is_open)
        self._connections_in_use.set_function(in_use)
        self._connections_max.set(size)

    def queue(self, waiting: Callable[[], int], size: Callable[[], int]) -> None:
        """Gauges of the pushes that wait for a group commit, and of their bytes; asked at a scrape."""
        self._commit_queue.set_function(waiting)
        self._commit_queue_bytes.set_function(size)

    def rejected(self, reason: str) -> None:
        """Count a push that was refused because there is no room or no database. From a fixed small set."""
        self._rejected.labels(reason).inc()

    def available(self, *, available: bool) -> None:
        """Whether the database answers."""
        self._available.set(available)


class AuditMetrics:
    """Audit records kept and lost, and the working of their group writes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = Counter(
            "dod_audit_records_total",
            "Audit records by outcome: kept, or lost. Lost: somebody may have looked without a record.",
            ("outcome",),
            registry=registry,
        )
        self._kept, self._lost = self._records.labels("kept"), self._records.labels("lost")
        self._size = Histogram(
            "dod_audit_write_size",
            "Audit records that one write took together.",
            buckets=SIZES,
            registry=registry,
        )
        self._queue = Gauge("dod_audit_queue", "Audit records that wait to be written.", registry=registry)

    def written(self, size: int, *, kept: bool) -> None:
        """Count one group write and its records."""
        self._size.observe(size)
        (self._kept if kept else self._lost).inc(size)

    def lost(self, number: int) -> None:
        """Count records for which there was no room."""
        self._lost.inc(number)

    def queue(self, waiting: Callable[[], int]) -> None:
        """Ask how many wait whenever it is scraped."""
        self._queue.set_function(waiting)
