"""Leases and runs as one replica has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.mongo.retention.lease import Leases
from store.mongo.retention.runs import Runs
from tests.support.store import metrics

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from store.mongo.driver.client import Database
    from store.mongo.retention.lease import Lease

LEASE_SECONDS = 60


def leases_of(database: Database) -> Leases:
    """Leases of a replica of its own."""
    return Leases(database, metrics=metrics(), timeout_seconds=10, lease_seconds=LEASE_SECONDS)


def runs_of(database: Database, leases: Leases, clock: Callable[[], datetime]) -> Runs:
    return Runs(database, leases, clock=clock, metrics=metrics(), timeout_seconds=10)


async def taken(leases: Leases, name: str = "sweep") -> Lease:
    lease = await leases.take(name)
    assert lease is not None
    return lease
