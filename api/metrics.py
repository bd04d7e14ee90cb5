"""What the HTTP edge counts; one registry per application. The middleware `observe` feeds it.

Labels are route names and statuses: never a path, a tenant, an id or a client.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from api.server.log_handler import JsonHandler
from api.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def new_registry() -> CollectorRegistry:
    """A registry with the process's and the platform's own metrics."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(LostLines())
    return registry


class LostLines(Collector):
    """Log lines that found no way out: stderr belongs to the process, not to an application."""

    @override
    def collect(self) -> Iterator[Metric]:
        text = "Log lines dropped because stderr has no reader, or a slow one, or a full disk."
        yield CounterMetricFamily("dod_log_lines_lost", text, value=JsonHandler.lost)


class ApiMetrics:
    """Requests by route, method and status; durations; how many are under way."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.in_flight = 0
        """Requests under way; a plain number, read when it is scraped."""
        self._requests = Counter(
            "dod_http_requests_total",
            "Requests answered, by route name, method and status.",
            ("route", "method", "code"),
            registry=registry,
        )
        self._duration = Histogram(
            "dod_http_request_duration_seconds",
            "Time from the request's head to the finished response, without sending it.",
            ("route", "method"),
            buckets=SECONDS,
            registry=registry,
        )
        self._verifications = Counter(
            "dod_verifications_total",
            "Verification tokens presented, at a challenge or a push, by whether they were accepted.",
            ("at", "outcome"),
            registry=registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        Gauge("dod_http_requests_in_flight", "Requests under way.", registry=registry).set_function(
            lambda: self.in_flight
        )
        Info("dod_build", "What is running.", registry=registry).info(
            {"version": VERSION, "python": platform.python_version()}
        )

    def observe(self, route: str, method: str, code: int, seconds: float) -> None:
        """Count one request. Route and method come from fixed sets, so the children stay few."""
        children = self._children.get((route, method, code))
        if children is None:  # Kept: `labels()` costs more than counting.
            children = self._children[route, method, code] = (
                self._requests.labels(route, method, str(code)),
                self._duration.labels(route, method),
            )
        requests, duration = children
        requests.inc()
        duration.observe(seconds)

    def verification(self, at: str, *, accepted: bool) -> None:
        """Count a verification token that was presented: at a `challenge` or at a `push`."""
        self._verifications.labels(at, "accepted" if accepted else "refused").inc()
