"""Connections to MongoDB, counted as the driver tells of them."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from pymongo.monitoring import ConnectionPoolListener
from typing_extensions import override

if TYPE_CHECKING:
    from pymongo import monitoring

    from store.metrics import StoreMetrics


class PoolWatch(ConnectionPoolListener):
    """Open connections and those in use, of all members together. The driver calls it from any thread."""

    def __init__(self, metrics: StoreMetrics, *, size: int) -> None:
        self._lock = Lock()
        self._open = 0
        self._in_use = 0
        metrics.pool(lambda: self._open, lambda: self._in_use, size=size)

    def _change(self, *, is_open: int = 0, in_use: int = 0) -> None:
        with self._lock:
            self._open += is_open
            self._in_use += in_use

    @override
    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        self._change(is_open=1)

    @override
    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        self._change(is_open=-1)

    @override
    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        self._change(in_use=1)

    @override
    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        self._change(in_use=-1)

    @override
    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        """Nothing: it is counted when it is made."""

    @override
    def connection_check_out_started(self, event: monitoring.ConnectionCheckOutStartedEvent) -> None:
        """Nothing."""

    @override
    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        """Nothing."""

    @override
    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        """Nothing."""

    @override
    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        """Nothing."""

    @override
    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        """Nothing: each connection that goes tells so."""

    @override
    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        """Nothing."""
