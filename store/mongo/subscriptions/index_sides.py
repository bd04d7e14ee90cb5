"""`IndexSides` on MongoDB: the fields that changed resources are found by, in one find for many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import RESOURCES
from store.search.index_side import IndexSide
from store.search.planning.plan import document_id
from store.subscriptions.matching import IndexSides

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection as MongoCollection
    from store.mongo.driver.client import Database
    from store.resources.resource_keys import ResourceKey
    from store.settings import StoreSettings
    from store.tenancy import Tenant


class MongoIndexSides(IndexSides):
    """The port's verb on one database."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._resources: MongoCollection = majority(database, RESOURCES)
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics

    @override
    async def sides(
        self, tenant: Tenant, keys: Collection[ResourceKey], fields: AbstractSet[str]
    ) -> Mapping[str, IndexSide]:
        owner = str(tenant)
        wanted = {
            "_id": {"$in": sorted(document_id(owner, *key) for key in keys)},
            "tenant": owner,
            "type": {"$exists": True},
            "expires_at": {"$gt": self._clock()},
        }
        shown = {"_id": 0, **dict.fromkeys(("type", "id", *sorted(fields)), 1)}
        with guarded(self._metrics, "index_sides", seconds=self._seconds):
            found = await self._resources.find(wanted, shown).to_list(None)
        sides = (IndexSide(one["type"], one["id"], one.get("index", {})) for one in found)
        return {f"{side.type}/{side.id}": side for side in sides}
