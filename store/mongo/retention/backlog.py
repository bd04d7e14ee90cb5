"""Backlog of the sweep: what expired after the moment that the last complete run was about.

What that run passed over, because it is held or needed, is no backlog.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import AUDIT, DEAD_LETTERS, HISTORY, RESOURCES
from store.retention.runs import RunKind
from store.retention.sweeping import Backlog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database
    from store.mongo.retention.runs import Runs
    from store.tenancy import Tenant

COUNTED_MAX: Final = 100_000
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def backlog(  # noqa: PLR0913 -- all but the first keyword-only
    database: Database,
    *,
    runs: Runs,
    tenants: Sequence[Tenant],
    now: datetime,
    metrics: StoreMetrics,
    seconds: float,
) -> Backlog:
    """Counted within the index `overdue`, in one command for each kind."""
    last = await runs.last(RunKind.SWEEP)
    since = _EVER if last is None else last.as_of
    wanted = {
        "tenant": {"$in": sorted(map(str, tenants))},
        "expires_at": {"$gt": since, "$lte": now},
    }
    stages: list[dict[str, Any]] = [
        {"$match": wanted},
        {"$limit": COUNTED_MAX},
        {"$group": {"_id": None, "count": {"$sum": 1}, "oldest": {"$min": "$expires_at"}}},
    ]
    count, oldest = 0, now
    for name in (RESOURCES, HISTORY, DEAD_LETTERS, AUDIT):
        collection = majority(database, name)
        with guarded(metrics, "backlog", seconds=seconds):
            for found in await collection.aggregate(stages, hint="overdue").to_list(None):
                count, oldest = count + found["count"], min(oldest, found["oldest"])
    return Backlog(count, (now - oldest).total_seconds(), None if last is None else last.ended_at)
