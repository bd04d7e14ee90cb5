"""Counters of the change feed; scraped at the admin port. Alerts on it are in `k8s/monitoring`."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from store.changes.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client import CollectorRegistry

SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 120, 600)


class ChangeMetrics:
    """Metrics of this process; how far the feed is behind is equal wherever it is scraped."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._told = Counter(
            "dod_changes_total",
            "Changes that this process put into the feed, by kind.",
            ("kind",),
            registry=registry,
        )
        self._lag = Histogram(
            "dod_changes_lag_seconds",
            "Time from the commit of a change to its place in the feed; the oldest of each batch.",
            buckets=SECONDS,
            registry=registry,
        )
        self._behind = Gauge(
            "dod_changes_behind_seconds",
            "Age of the moment up to which the feed is complete, whichever process follows MongoDB's log.",
            registry=registry,
        )
        self._following = Gauge(
            "dod_changes_following",
            "1 in the process that follows MongoDB's log, 0 in the others.",
            registry=registry,
        )
        self._takeovers = Counter(
            "dod_changes_lease_changes_total",
            "How often this process took the log over from another.",
            registry=registry,
        )
        self._scans = Counter(
            "dod_changes_scans_total",
            "Scans of all resources because MongoDB's log no longer reached back far enough.",
            registry=registry,
        )
        self._listeners = Gauge(
            "dod_changes_listeners",
            "Requests to `$changes` that wait for changes or are told of them.",
            registry=registry,
        )
        self._cut = Counter(
            "dod_changes_listeners_cut_total",
            "Listeners that were cut because they did not read.",
            registry=registry,
        )
        for kind in Kind:
            self._told.labels(kind.value)

    def told(self, kinds: Iterable[Kind], *, lag_seconds: float | None) -> None:
        """Count the changes of a batch; without a lag they come from a scan."""
        for kind, number in Tally(kinds).items():
            self._told.labels(kind.value).inc(number)
        if lag_seconds is not None:
            self._lag.observe(max(lag_seconds, 0.0))

    def behind(self, seconds: float) -> None:
        """Note how far the feed is behind."""
        self._behind.set(max(seconds, 0.0))

    def following(self, *, following: bool, changed: bool = False) -> None:
        """Note whether this process follows the log, and whether another did before."""
        self._following.set(following)
        if changed:
            self._takeovers.inc()

    def scan(self) -> None:
        """Count a scan."""
        self._scans.inc()

    def listeners(self, count: Callable[[], int]) -> None:
        """Ask how many listen whenever it is scraped."""
        self._listeners.set_function(count)

    def cut(self) -> None:
        """Count a listener that did not read."""
        self._cut.inc()
