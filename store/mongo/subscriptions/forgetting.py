"""Subscriptions that name an erased patient: their filters name nobody any more, and a day later they end.

What was counted before is still told: that the resources they knew of were erased.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson

from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import OUTBOX, SUBSCRIPTIONS
from store.mongo.subscriptions.counters import MongoCounters
from store.mongo.subscriptions.documents import pieces_of
from store.mongo.subscriptions.seats import seat_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database
    from store.tenancy import Tenant

LASTING: Final = timedelta(days=1)
NOBODY: Final = ("_id=-",)
"""Filters that nothing fits."""
ERASED: Final = "its filters named a patient who was erased"


async def forget_named(  # noqa: PLR0913 -- all but three keyword-only
    database: Database,
    tenant: Tenant,
    is_named: Callable[[bytes], bool],
    *,
    now: datetime,
    metrics: StoreMetrics,
    seconds: float,
) -> int:
    """Take the names of a patient out of the subscriptions of a tenant; how many had one."""
    subscriptions = durable(database, SUBSCRIPTIONS)
    with guarded(metrics, "subscriptions", seconds=seconds):
        found = await subscriptions.find({"tenant": str(tenant)}).to_list(None)
    naming = [one for one in found if any(map(is_named, _texts(one)))]
    for one in naming:
        with guarded(metrics, "forget_subscription", seconds=seconds):
            if any(map(is_named, (one["id"].encode(), one["channel"]["endpoint"].encode(), _left(one)))):
                await subscriptions.delete_one({"_id": one["_id"]})
                outbox = durable(database, OUTBOX)
                await outbox.delete_many(pieces_of(str(tenant), one["_id"], one["created"]))
                counters = MongoCounters(database, metrics=metrics, seconds=seconds)
                await counters.forget(str(tenant), [seat_of(one["id"], one["created"])])
            else:
                await subscriptions.update_one({"_id": one["_id"]}, _without(one, now))
    return len(naming)


def _texts(document: Mapping[str, Any]) -> list[bytes]:
    said = [*document["filters"], document["channel"]["endpoint"], document["id"]]
    return [*(text.encode() for text in said), bytes(document["resource"])]


def _left(document: Mapping[str, Any]) -> bytes:
    """The resource without what its client wrote about whom it is for; empty where an operator set it up."""
    told: dict[str, Any] = orjson.loads(document["resource"] or b"{}")
    kept = {name: told[name] for name in ("resourceType", "criteria", "channel") if name in told}
    return orjson.dumps({**kept, "reason": ERASED}) if told else b""


def _without(document: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Change that leaves a subscription without what its client wrote about whom it is for."""
    ends = now + LASTING
    return {
        "$set": {
            "filters": list(NOBODY),
            "resource": _left(document),
            "updated": now,
            "reason": "; ".join(filter(None, (document["reason"], ERASED))),
            "ends": ends if document["ends"] is None else min(ends, document["ends"]),
        },
        "$inc": {"version": 1},
    }
