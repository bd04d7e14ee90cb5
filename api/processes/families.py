"""Metric families of several processes, taken together as one scrape. Pure.

Counters and histograms add up. A gauge is a number of the process, which adds up too, or one of the database,
of which each process says the same; `GAUGES` names the latter with how they are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.samples import Exemplar

Join = Callable[[float, float], float]
Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels of a sample."""
Row = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]
"""A family on its way between processes: name, type, help, samples."""

FAMILIES: Final = "/families"
"""Path of a process's metrics on its own admin endpoint, as JSON rows."""
MONOTONIC: Final = frozenset({"counter", "histogram", "summary"})
"""Types of families that only grow, and must not shrink when a process ends."""
_NAN: Final = float("nan")
NO_EXEMPLARS: Final[Mapping[Key, Exemplar]] = {}
CREATED: Final = "_created"
"""Suffix of the samples that say when a counter began."""


def added(one: float, other: float) -> float:
    """The sum."""
    return one + other


GAUGES: Final[Mapping[str, Join]] = {
    "dod_annex_running": added,
    "dod_audit_queue": added,
    "dod_changes_behind_seconds": max,
    "dod_changes_following": added,
    "dod_changes_listeners": added,
    "dod_dead_letters_open": max,
    "dod_herald_running": added,
    "dod_http_requests_in_flight": added,
    "dod_hl7v2_last_message_timestamp_seconds": max,
    "dod_mllp_connections": added,
    "dod_retention_last_success_timestamp_seconds": max,
    "dod_retention_oldest_overdue_seconds": max,
    "dod_retention_overdue": max,
    "dod_store_available": min,
    "dod_store_connections": added,
    "dod_store_connections_in_use": added,
    "dod_store_connections_max": added,
    "dod_store_reads_waiting": added,
    "dod_store_commit_queue": added,
    "dod_store_commit_queue_bytes": added,
    "dod_subscription_circuits_open": max,
    "dod_subscription_events_waiting": max,
    "dod_subscription_lag_seconds": max,
    "dod_subscription_oldest_waiting_seconds": max,
    "dod_subscription_worker": added,
    "dod_subscription_worker_needed": max,
    "dod_subscriptions": max,
    "dod_tls_certificate_end_timestamp_seconds": min,
    "dod_workers": added,
    "process_max_fds": min,
    "process_open_fds": max,
    "process_resident_memory_bytes": added,
    "process_start_time_seconds": min,
    "process_virtual_memory_bytes": added,
    "python_info": max,
}
"""Way in which each gauge is joined; a test knows that none is missing."""


def rows_of(families: Iterable[Metric]) -> list[Row]:
    """Families that were collected, as JSON has them."""
    return [
        (one.name, one.type, one.documentation, [(s.name, dict(s.labels), s.value) for s in one.samples])
        for one in families
    ]


class Families:
    """Families by name, into which those of one process after another are taken."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[Key, float]] = {}

    def take(self, rows: Iterable[Row], *, only: frozenset[str] | None = None) -> None:
        """Take in the families of a process; `only` those of some types."""
        for name, kind, text, samples in rows:
            if only is not None and kind not in only:
                continue
            self._heads.setdefault(name, (kind, text))
            values = self._values.setdefault(name, {})
            for sample, labels, value in samples:
                key = _key(sample, labels)
                known = values.get(key)
                values[key] = value if known is None else _join(name, kind, sample)(known, value)

    def rows(self) -> list[Row]:
        """All families again."""
        return [
            (name, kind, text, [(sample, dict(labels), value) for (sample, labels), value in values.items()])
            for name, values in self._values.items()
            for kind, text in (self._heads[name],)
        ]

    def registry(self, exemplars: Mapping[Key, Exemplar] = NO_EXEMPLARS) -> CollectorRegistry:
        """A registry to expose all families by."""
        made = CollectorRegistry()
        made.register(_Scrape(self.metrics(exemplars)))
        return made

    def metrics(self, exemplars: Mapping[Key, Exemplar] = NO_EXEMPLARS) -> list[Metric]:
        """All families, as an exposition takes them; with these exemplars beside the samples."""
        made = []
        for name, kind, text, samples in self.rows():
            metric = Metric(name, text, kind)
            for sample, labels, value in samples:
                exemplar = exemplars.get(_key(sample, labels)) if exemplars else None
                metric.add_sample(sample, labels, value, exemplar=exemplar)
            made.append(metric)
        return made


class _Scrape(Collector):
    """Families that have been collected already."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    @override
    def collect(self) -> Iterable[Metric]:
        return self._metrics


def joined(registry: CollectorRegistry, others: Iterable[Iterable[Row]]) -> CollectorRegistry:
    """The metrics of this process, with exemplars, together with those of others."""
    families, exemplars, own = Families(), {}, list(registry.collect())
    families.take(rows_of(own))
    for rows in others:
        families.take(rows)
    for metric in own:
        for sample in metric.samples:
            if sample.exemplar is not None:
                exemplars[_key(sample.name, sample.labels)] = sample.exemplar
    return families.registry(exemplars)


def _key(sample: str, labels: Mapping[str, str]) -> Key:
    return sample, tuple(sorted(labels.items()))


def _join(name: str, kind: str, sample: str) -> Join:
    """Join two values of a sample."""
    if sample.endswith(CREATED):
        return min
    if kind == "info":
        return max
    return GAUGES.get(name, added) if kind not in MONOTONIC else added


def rows_from(json: Sequence[Any]) -> list[Row]:
    """Rows that came as JSON; what JSON has no number for is not one."""
    return [
        (
            name,
            kind,
            text,
            [(s, labels, _NAN if value is None else value) for s, labels, value in some],
        )
        for name, kind, text, some in json
    ]
