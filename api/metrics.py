"""Metrics of the HTTP edge; one registry per application. The middleware `observe` feeds it.

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
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from api.server.log_handler import JsonHandler
from api.version import VERSION
from store.spans import spent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

PHASES: Final = ("parse", "store", "render")
"""Parts of a search."""
TOKEN_REASONS: Final = ("said", "no-client", "no-key", "key-set", "algorithm", "signature")
"""Reasons for which no access token is given: those of `api.auth.refusal`."""
OTHER: Final = "other"
"""Source of pushes whose client `DOD_METRIC_SOURCES` does not name."""
FORESEEN: Final[Mapping[str, tuple[int, ...]]] = {
    "GET": (200, 500, 503, 504),
    "POST": (200, 201, 422, 500, 503, 504),
    "PUT": (200, 201, 422, 500, 503, 504),
    "PATCH": (200, 422, 500, 503, 504),
    "DELETE": (204, 500, 503, 504),
}
"""Statuses that each route counts from the start: an alert misses the first step of a series that is new."""
SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def new_registry() -> CollectorRegistry:
    """A registry with the process's and the platform's own metrics."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # One more series for each of the others, which nobody asks for.
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


class Answered(Collector):
    """Requests and their durations. Those that are foreseen are there when somebody first looks: nobody has
    looked before, and to make them takes half of an application's start.
    """

    def __init__(self, routes: Iterable[tuple[str, str]]) -> None:
        self._requests = Counter(
            "dod_http_requests_total",
            "Requests answered, by route name, method and status.",
            ("route", "method", "code"),
            registry=None,
        )
        self._duration = Histogram(
            "dod_http_request_duration_seconds",
            "Time from the request's head to the finished response, without sending it.",
            ("route", "method"),
            buckets=SECONDS,
            registry=None,
        )
        self._foreseen = [(route, method, code) for route, method in routes for code in FORESEEN[method]]
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def of(self, route: str, method: str, code: int) -> tuple[Counter, Histogram]:
        """The counters of a kind of request. Kept: `labels()` costs more than counting."""
        children = self._children.get((route, method, code))
        if children is None:
            children = self._children[route, method, code] = (
                self._requests.labels(route, method, str(code)),
                self._duration.labels(route, method),
            )
        return children

    def describe(self) -> Iterator[Metric]:
        """Names, by which a scrape may ask."""
        yield from self._requests.describe()
        yield from self._duration.describe()

    @override
    def collect(self) -> Iterator[Metric]:
        for kind in self._foreseen:
            self.of(*kind)
        self._foreseen.clear()
        yield from self._requests.collect()
        yield from self._duration.collect()


class ApiMetrics:
    """Requests by route, method and status; durations; how many are under way."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        routes: Iterable[tuple[str, str]] = (),
        sources: Iterable[str] = (),
    ) -> None:
        self.in_flight = 0
        """Requests under way; a plain number, read when it is scraped."""
        self._answered = Answered(routes)
        registry.register(self._answered)
        self._verifications = Counter(
            "dod_verifications_total",
            "Verification tokens presented, at a challenge or a push, by whether they were accepted.",
            ("at", "outcome"),
            registry=registry,
        )
        self._pushes = Counter(
            "dod_source_pushes_total",
            "Pushes that were stored, by client of the token; clients that DOD_METRIC_SOURCES does not name"
            f" are `{OTHER}`.",
            ("source",),
            registry=registry,
        )
        self._search_phases = Histogram(
            "dod_search_phase_seconds",
            f"Time the parts of a search took: {', '.join(PHASES)}.",
            ("phase",),
            buckets=SECONDS,
            registry=registry,
        )
        self._phase = {one: self._search_phases.labels(one) for one in PHASES}
        self._sources = {one: self._pushes.labels(one) for one in (*sources, OTHER)}
        for at in ("challenge", "push"):
            for outcome in ("accepted", "refused"):
                self._verifications.labels(at, outcome)
        self._tokens = Counter(
            "dod_token_requests_total",
            "Requests for an access token, by whether one was granted.",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("granted", "refused"):
            self._tokens.labels(outcome)
        self._token_refusals = Counter(
            "dod_token_refusals_total",
            "Refused requests for an access token, by reason: `said` in the answer, or one that a stranger"
            " must not hear, who would learn which clients there are.",
            ("reason",),
            registry=registry,
        )
        for reason in TOKEN_REASONS:
            self._token_refusals.labels(reason)
        Gauge("dod_http_requests_in_flight", "Requests under way.", registry=registry).set_function(
            lambda: self.in_flight
        )
        Info("dod_build", "What is running.", registry=registry).info(
            {"version": VERSION, "python": platform.python_version()}
        )

    def observe(
        self, route: str, method: str, code: int, seconds: float, *, trace_id: str | None = None
    ) -> None:
        """Count one request; a trace of it stands beside its bucket, as an exemplar.

        Route and method come from fixed sets, so the children stay few.
        """
        requests, duration = self._answered.of(route, method, code)
        requests.inc()
        duration.observe(seconds, None if trace_id is None else {"trace_id": trace_id})

    def pushed(self, client: str) -> None:
        """Count a push of this client that was stored."""
        (self._sources.get(client) or self._sources[OTHER]).inc()

    def searched(self, phase: str, seconds: float) -> None:
        """Count the time that one of PHASES took."""
        self._phase[phase].observe(seconds)
        spent(phase, seconds)

    def token(self, outcome: str, reason: str) -> None:
        """Count a request for an access token: `granted`, or `refused` for a reason."""
        self._tokens.labels(outcome).inc()
        if outcome == "refused":
            self._token_refusals.labels(reason).inc()

    def verification(self, at: str, *, accepted: bool) -> None:
        """Count a verification token that was presented: at a `challenge` or at a `push`."""
        self._verifications.labels(at, "accepted" if accepted else "refused").inc()
