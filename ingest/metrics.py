"""What ingest counts; scraped at the admin port."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

from ingest.pipeline.identity.decisions import Finding

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
        self._identities = Counter(
            "dod_ingest_identities_total",
            "Decisions about who is who that a person may have to look at, by finding:"
            f" {', '.join(Finding)}.",
            ("finding",),
            registry=registry,
        )
        for finding in Finding:
            self._identities.labels(finding)
        self._children: dict[str, Counter] = {}

    def count(self, outcome: str, tolerances: Iterable[str] = ()) -> None:
        """Count one resource. Both labels come from fixed small sets."""
        child = self._children.get(outcome)
        if child is None:  # Children are kept: finding one again costs more than counting.
            child = self._children[outcome] = self._resources.labels(outcome)
        child.inc()
        for tolerance in tolerances:
            self._tolerances.labels(tolerance).inc()

    def decided(self, finding: Finding) -> None:
        """Count a decision about who is who."""
        self._identities.labels(finding).inc()


class RefusalMetrics:
    """Dead letters: kept, lost, replayed, and how many wait for somebody."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._kept = Counter(
            "dod_dead_letters_total",
            "Refused pushes kept as dead letters, by the issue code of the first reason.",
            ("code",),
            registry=registry,
        )
        self._lost = Counter(
            "dod_dead_letters_lost_total",
            "Refused pushes that could not be kept: `busy`, or how the database failed.",
            ("why",),
            registry=registry,
        )
        self._replays = Counter(
            "dod_dead_letters_replays_total",
            "Replays of dead letters by outcome: stored, refused, failed.",
            ("outcome",),
            registry=registry,
        )
        self._open = Gauge(
            "dod_dead_letters_open",
            "Dead letters of all tenants that wait for somebody, as last counted: take the maximum.",
            registry=registry,
        )

    def kept(self, code: str) -> None:
        """Count a letter; the codes are those of our own issues."""
        self._kept.labels(code).inc()

    def lost(self, why: str) -> None:
        """Count a refusal of which nothing was kept."""
        self._lost.labels(why).inc()

    def replayed(self, outcome: str) -> None:
        """Count a replay."""
        self._replays.labels(outcome).inc()

    def open(self, number: int) -> None:
        """Say how many are open."""
        self._open.set(number)
