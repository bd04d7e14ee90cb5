"""What the store counts; scraped at the admin port. Registered by whoever opens the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
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
        self._available = Gauge(
            "dod_store_available",
            "1 while the database answers, 0 while writes are refused because it does not.",
            registry=registry,
        )
        self._available.set(1)

    def observe(self, operation: str, outcome: str, seconds: float) -> None:
        """Count one operation; `outcome` is `ok` or a category. Both come from fixed small sets."""
        labels = (operation, outcome)
        duration = self._durations.get(labels)
        if duration is None:  # Children are kept: finding one again costs more than observing.
            duration = self._durations[labels] = self._duration.labels(*labels)
        duration.observe(seconds)

    def commit(self, size: int) -> None:
        """Count one group commit."""
        self._commit_size.observe(size)

    def queue(self, waiting: Callable[[], int], size: Callable[[], int]) -> None:
        """How many pushes wait for a group commit, and their bytes: asked when it is scraped."""
        self._commit_queue.set_function(waiting)
        self._commit_queue_bytes.set_function(size)

    def rejected(self, reason: str) -> None:
        """Count a push that was refused because there is no room or no database. From a fixed small set."""
        self._rejected.labels(reason).inc()

    def available(self, *, available: bool) -> None:
        """Whether the database answers."""
        self._available.set(available)
