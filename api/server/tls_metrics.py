"""Metrics of TLS at the FHIR endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge

if TYPE_CHECKING:
    from datetime import datetime

    from prometheus_client import CollectorRegistry


class TlsMetrics:
    """The certificate in use, and changed files that could not be used."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ends = Gauge(
            "dod_tls_certificate_end_timestamp_seconds",
            "When the certificate of the FHIR endpoint ends.",
            registry=registry,
        )
        self._refused = Counter(
            "dod_tls_reloads_refused_total",
            "Looks at changed TLS files that could not be used; the ones before stay in use.",
            registry=registry,
        )

    def loaded(self, ends_at: datetime) -> None:
        """Note the certificate that is in use from now on."""
        self._ends.set(ends_at.timestamp())

    def refused(self) -> None:
        """Count files that are not sound."""
        self._refused.inc()
