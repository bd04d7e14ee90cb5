"""Metrics of subscriptions; scraped at the admin port. Alerts on them are in `k8s/monitoring`."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from api.subscriptions.receivers import Outcome
from store.subscriptions.records import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from prometheus_client import CollectorRegistry

    from store.subscriptions.records import Subscription

SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 21_600, 86_400)


class SubscriptionMetrics:
    """Metrics of this process; those of what waits are told by the process that delivers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._attempts = Counter(
            "dod_subscription_deliveries_total",
            "Notifications that were sent, by how the attempt ended; handshakes and heartbeats among them.",
            ("outcome",),
            registry=registry,
        )
        for outcome in Outcome:
            self._attempts.labels(outcome.value)
        self._seconds = Histogram(
            "dod_subscription_delivery_seconds",
            "Time from a change to its acknowledgement by the receiver, for each event.",
            buckets=SECONDS,
            registry=registry,
        )
        self._statuses = Gauge(
            "dod_subscriptions", "Subscriptions, by status.", ("status",), registry=registry
        )
        for status in Status:
            self._statuses.labels(status.value)
        self._waiting = Gauge(
            "dod_subscription_events_waiting",
            "Events that no receiver has acknowledged yet.",
            registry=registry,
        )
        self._oldest = Gauge(
            "dod_subscription_oldest_waiting_seconds",
            "Age of the oldest event that waits for a receiver, paused and given up subscriptions left out.",
            registry=registry,
        )
        self._lag = Gauge(
            "dod_subscription_lag_seconds",
            "Age of the newest change when it was matched against the subscriptions.",
            registry=registry,
        )
        self._matched = Counter(
            "dod_subscription_events_total", "Events that were counted for subscriptions.", registry=registry
        )
        self._circuits = Gauge(
            "dod_subscription_circuits_open",
            "Receivers that failed several times in a row.",
            registry=registry,
        )
        self._works = Gauge(
            "dod_subscription_worker", "1: this process matches and delivers.", registry=registry
        )
        self._needed = Gauge(
            "dod_subscription_worker_needed",
            "0: this process has a herald in its place, and saw no subscription for it.",
            registry=registry,
        )
        self.needed(needed=True)
        self._oldest_of: dict[str, datetime] = {}

    def needed(self, *, needed: bool) -> None:
        """Note whether anybody has to match and deliver."""
        self._needed.set(needed)

    def attempted(self, outcome: Outcome) -> None:
        """Count an attempt."""
        self._attempts.labels(outcome.value).inc()

    def delivered(self, name: str, ages: Sequence[float]) -> None:
        """Count events that a receiver acknowledged."""
        self._oldest_of.pop(name, None)
        observe_all(self._seconds, [max(seconds, 0.0) for seconds in ages])

    def waiting(self, name: str, oldest: datetime | None) -> None:
        """Note the oldest event of a subscription that waits."""
        if oldest is None:
            self._oldest_of.pop(name, None)
        else:
            self._oldest_of[name] = oldest

    def counted(self, events: int, *, lag_seconds: float) -> None:
        """Count events, and note how old the newest change was."""
        self._matched.inc(events)
        self._lag.set(max(lag_seconds, 0.0))

    def measured(self, subscriptions: Iterable[Subscription], now: datetime, *, circuits: int) -> None:
        """Tell how all subscriptions stand."""
        statuses = dict.fromkeys(Status, 0)
        waiting, oldest, there = 0, 0.0, set[str]()
        for one in subscriptions:
            statuses[one.status] += 1
            there.add(one.name)
            if one.status is Status.OFF:
                continue
            waiting += one.progress.waiting
            since = self._oldest_of.get(one.name)
            if since is not None and one.sends and one.progress.waiting:
                oldest = max(oldest, (now - since).total_seconds())
        for name in self._oldest_of.keys() - there:
            del self._oldest_of[name]
        for status, number in statuses.items():
            self._statuses.labels(status.value).set(number)
        self._waiting.set(waiting)
        self._oldest.set(oldest)
        self._circuits.set(circuits)

    def works(self, *, works: bool) -> None:
        """Note whether this process delivers; a process that does not tells nothing of what waits."""
        self._works.set(works)
        if not works:
            for gauge in (self._waiting, self._oldest, self._lag, self._circuits):
                gauge.set(0)
            for status in Status:
                self._statuses.labels(status.value).set(0)


def observe_all(histogram: Histogram, values: Iterable[float]) -> None:
    """Observe many values with one write for each bucket; the histogram has no labels.

    A write to a mapped file costs more than the rest of an event: two for each were a sixth of the herald.
    """
    in_order = sorted(values)
    histogram._sum.inc(sum(in_order))  # noqa: SLF001 -- the library observes one value at a time
    before = 0
    for bound, bucket in zip(histogram._upper_bounds, histogram._buckets, strict=True):  # noqa: SLF001
        behind = bisect_right(in_order, bound)
        if behind > before:
            bucket.inc(behind - before)
        before = behind
