"""Metrics of the HL7 v2 feeds. Every label comes from the configuration or a table: senders choose none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

from ingest.hl7v2.translate import EVENTS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_EVENTS: Final = frozenset(f"{kind}^{event}" for kind, event in EVENTS)
"""Events that are counted by name."""
OTHER: Final = "other"
"""Event of messages whose MSH-9 is in no table."""
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class FeedMetrics:
    """Messages by source and event, their acknowledgments, and the connections."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = Counter(
            "dod_hl7v2_messages_total",
            "HL7 v2 messages by source, event (MSH-9) and acknowledgment: AA, AE, AR; `again` for a message"
            " that was acknowledged before, `none` for one that could not be answered.",
            ("source", "event", "ack"),
            registry=registry,
        )
        self._seconds = Histogram(
            "dod_hl7v2_ack_seconds",
            "Seconds from the receipt of an HL7 v2 message to its acknowledgment.",
            ("source",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._last = Gauge(
            "dod_hl7v2_last_message_timestamp_seconds",
            "Unix time of the last HL7 v2 message of a source.",
            ("source",),
            registry=registry,
        )
        self._connections = Gauge(
            "dod_mllp_connections", "Open MLLP connections.", ("listener",), registry=registry
        )
        self._refused = Counter(
            "dod_mllp_refused_total",
            "What came over MLLP and was no message: half (no end block), too-long, unframed, slow,"
            " stranger (not let in), or connections (too many of them).",
            ("listener", "reason"),
            registry=registry,
        )

    def acknowledged(self, source: str, event: str, ack: str, *, seconds: float, at: float) -> str:
        """Count a message; gives its event as it is counted, whatever its sender wrote there."""
        known = event if event in _EVENTS else OTHER
        self._messages.labels(source, known, ack).inc()
        self._seconds.labels(source).observe(seconds)
        self._last.labels(source).set(at)
        return known

    def connected(self, listener: str, number: int) -> None:
        """Count a connection that was opened, or with -1 closed."""
        self._connections.labels(listener).inc(number)

    def refused(self, listener: str, reason: str) -> None:
        """Count what was no message."""
        self._refused.labels(listener, reason).inc()
