"""What ingest counts; scraped at the admin port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry


class IngestMetrics:
    """Pushed resources by how they ended, and the tolerances they needed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._resources = Counter(
            "dod_ingest_resources_total",
            "Pushed resources by outcome: created, replaced, unchanged, stale, exists, deleted, retired,"
            " refused.",
            ("outcome",),
            registry=registry,
        )
        self._tolerances = Counter(
            "dod_ingest_tolerances_total",
            "Deviations from R4 that were mended, by the name of the tolerance.",
            ("tolerance",),
            registry=registry,
        )
        self._children: dict[str, Counter] = {}

    def count(self, outcome: str, tolerances: Iterable[str] = ()) -> None:
        """Count one resource. Both labels come from fixed small sets."""
        child = self._children.get(outcome)
        if child is None:  # Children are kept: finding one again costs more than counting.
            child = self._children[outcome] = self._resources.labels(outcome)
        child.inc()
        for tolerance in tolerances:
            self._tolerances.labels(tolerance).inc()
