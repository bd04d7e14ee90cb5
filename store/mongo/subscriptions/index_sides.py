"""`IndexSides` on MongoDB: the fields that changed resources are found by, in one find for many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from store.mongo.driver.client import majority
from store.mongo.driver.gathering import Gathering
from store.mongo.driver.guard import guarded
from store.mongo.indexes import RESOURCES
from store.search.index_side import IndexSide
from store.search.planning.plan import document_id
from store.subscriptions.matching import IndexSides

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection as MongoCollection
    from store.mongo.driver.client import Database
    from store.resources.resource_keys import ResourceKey
    from store.settings import StoreSettings
    from store.tenancy import Tenant


TOGETHER_MAX: Final = 100
"""Most questions that are asked together, each for the resources of one notification."""


class _Asked(NamedTuple):
    """Resources that are asked for, by their names in MongoDB, and the fields wanted of each."""

    names: Mapping[str, str]
    fields: frozenset[str]


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
        self._asking: Gathering[_Asked, Mapping[str, IndexSide]] = Gathering(self._sides, most=TOGETHER_MAX)

    @override
    async def sides(
        self, tenant: Tenant, keys: Collection[ResourceKey], fields: AbstractSet[str]
    ) -> Mapping[str, IndexSide]:
        owner = str(tenant)
        names = {document_id(owner, *key): str(key) for key in keys}
        if not names:
            return {}
        found = await self._asking.ask(_Asked(names, frozenset(fields)))
        return {key: found[name] for name, key in names.items() if name in found}

    async def _sides(self, asked: Sequence[_Asked]) -> list[Mapping[str, IndexSide]]:
        """Sides by name, of all that are asked for and with all fields: the same for each who asks."""
        wanted = {
            "_id": {"$in": sorted({name for one in asked for name in one.names})},
            "type": {"$exists": True},
            "expires_at": {"$gt": self._clock()},
        }
        fields = sorted({field for one in asked for field in one.fields})
        shown = dict.fromkeys(("type", "id", *fields), 1)
        with guarded(self._metrics, "index_sides", seconds=self._seconds):
            found = await self._resources.find(wanted, shown).to_list(None)
        sides = {one["_id"]: IndexSide(one["type"], one["id"], one.get("index", {})) for one in found}
        return [sides] * len(asked)
