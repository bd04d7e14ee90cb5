"""Counters of ingest; scraped at the admin port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from ingest.pipeline.identity.decisions import Finding
from ingest.pipeline.validation.tolerances import KEPT, TOLERANCES
from store.errors import Category
from store.resources.versions import Outcome
from store.spans import spent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import CollectorRegistry

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OUTCOMES: Final = (*Outcome, "deleted", "retired", "refused")
PHASES: Final = ("receive", "parse", "prepare")
"""Parts of a push before it comes to the store."""
LOST: Final = (Category.GONE, Category.TIMEOUT, Category.UNAVAILABLE, Category.TOO_LARGE, Category.FAULT)
"""Ways in which the database fails to keep a letter; gone: it is about somebody who was erased."""
REPLAYS: Final = ("stored", "refused", "failed")


class IngestMetrics:
    """Pushed resources by how they ended, and the tolerances they needed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._resources = Counter(
            "dod_ingest_resources_total",
            f"Pushed resources by outcome: {', '.join(OUTCOMES)}.",
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
        self._phases = Histogram(
            "dod_ingest_phase_seconds",
            f"Time the parts of a push took: {', '.join(PHASES)}. The store's part is in"
            " dod_store_commit_wait_seconds and dod_store_operation_duration_seconds.",
            ("phase",),
            buckets=SECONDS,
            registry=registry,
        )
        self._identity = {finding: self._identities.labels(finding) for finding in Finding}
        self._tolerance: dict[str, Counter] = {
            one: self._tolerances.labels(one) for one in (*(known.name for known in TOLERANCES), *KEPT)
        }
        self._children: dict[str, Counter] = {one: self._resources.labels(one) for one in OUTCOMES}
        self._phase = {one: self._phases.labels(one) for one in PHASES}

    def phase(self, phase: str, seconds: float) -> None:
        """Count the time that one of PHASES took."""
        self._phase[phase].observe(seconds)
        spent(phase, seconds)

    def count(self, outcome: str, tolerances: Iterable[str] = ()) -> None:
        """Count one resource. Both labels come from fixed small sets."""
        child = self._children.get(outcome)
        if child is None:  # Children are kept: finding one again costs more than counting.
            child = self._children[outcome] = self._resources.labels(outcome)
        child.inc()
        for tolerance in tolerances:
            named = self._tolerance.get(tolerance)
            if named is None:
                named = self._tolerance[tolerance] = self._tolerances.labels(tolerance)
            named.inc()

    def decided(self, finding: Finding) -> None:
        """Count a decision about who is who."""
        self._identity[finding].inc()


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
            f"Replays of dead letters by outcome: {', '.join(REPLAYS)}.",
            ("outcome",),
            registry=registry,
        )
        for outcome in REPLAYS:
            self._replays.labels(outcome)
        for why in ("busy", *LOST):
            self._lost.labels(why)
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
