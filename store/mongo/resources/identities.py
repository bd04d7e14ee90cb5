"""Look-ups of stored resources that may be what is pushed, and notes on patients' records of one person."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.mongo.driver.guard import guarded
from store.mongo.driver.transaction import run
from store.mongo.indexes import RESOURCES
from store.mongo.resources.kinship import linking, numbers_of
from store.resources import resources
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Known
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Document, Session
    from store.mongo.driver.look_ups import LookUps
    from store.mongo.driver.transaction import OpenTransaction
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_FIELDS: Final = {"_id": 0, "type": 1, "id": 1, "identity": 1, "sourced": 1, "updated.lo": 1}
_RETIRED: Final = "Observation"
"""The type of resources that leave with a version of a report and may come back: then no type is stored."""


class MongoIdentities(resources.Identities):
    """The verbs of the port about who is who."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        look_ups: LookUps,
    ) -> None:
        self._client = database.client
        self._plain: Collection = database[RESOURCES]
        self._look_ups = look_ups
        self._transaction: OpenTransaction | None = None
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics

    def within(self, transaction: OpenTransaction) -> MongoIdentities:
        """The same port in a transaction, which sees its own writes."""
        within = copy.copy(self)
        within._transaction = transaction  # noqa: SLF001 -- of our own kind
        return within

    @override
    async def candidates(
        self,
        tenant: Tenant,
        wanted: Mapping[str, AbstractSet[str]],
        *,
        limit: int,
    ) -> list[Known]:
        """Resources that are stored under one of these entries; more than `limit`: there are more."""
        branches = [
            {"tenant": str(tenant), "type": {"$in": [kind, None]}, "keys": {"$in": sorted(keys)}}
            if kind == _RETIRED
            else {"tenant": str(tenant), "type": kind, "keys": {"$in": sorted(keys)}}
            for kind, keys in sorted(wanted.items())
            if keys
        ]
        if not branches:
            return []
        matching = branches[0] if len(branches) == 1 else {"$or": branches}
        return await self._known("candidates", matching, limit=limit)

    @override
    async def known(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> list[Known]:
        """Current resources among these, as far as they tell who they are."""
        ids = [document_id(str(tenant), *key) for key in keys]
        return await self._known("known", {"_id": {"$in": ids}, "deleted": None}, limit=len(ids))

    async def _known(self, operation: str, matching: Mapping[str, Any], *, limit: int) -> list[Known]:
        wanted_now = {**matching, "expires_at": {"$gt": self._clock()}}

        async def within(session: Session) -> Sequence[Document]:
            cursor = self._plain.find(wanted_now, _FIELDS, limit=limit + 1, session=session)
            return await cursor.to_list(None)

        with guarded(self._metrics, operation, seconds=self._seconds):
            if self._transaction is not None:
                found = await self._transaction.run(within)
            else:
                found = await self._look_ups.find(
                    {
                        "find": RESOURCES,
                        "filter": wanted_now,
                        "projection": _FIELDS,
                        "limit": limit + 1,
                        "batchSize": limit + 2,
                        # Not only what is on a majority: a writer must see whoever was faster.
                        "readConcern": {"level": "local"},
                    }
                )
        return [
            Known(
                ResourceKey(one.get("type", _RETIRED), one["id"]),
                one.get("identity", {}),
                one.get("sourced", ""),
                retired="type" not in one,
                arrived=one["updated"]["lo"],
            )
            for one in found
        ]

    @override
    async def relate(
        self, tenant: Tenant, group: Mapping[str, AbstractSet[tuple[str, str]]]
    ) -> frozenset[str]:
        """Note on each of these Patients the ids of the others, in one transaction: whoever changes one of
        them meanwhile is seen.
        """
        ids = [document_id(str(tenant), "Patient", one) for one in sorted(group)]

        async def within(session: Session) -> frozenset[str]:
            there = {"_id": {"$in": ids}, "type": "Patient"}
            cursor = self._plain.find(there, {"_id": 0, "id": 1, "identity": 1}, session=session)
            found = {one["id"]: numbers_of(one.get("identity") or {}) for one in await cursor.to_list(None)}
            same = [one for one in found if not group[one] or not group[one].isdisjoint(found[one])]
            operations = linking(tenant, set(same))
            if len(operations) > 1:
                await self._plain.bulk_write(operations, ordered=False, session=session)
            return frozenset(same)

        if self._transaction is not None:
            return await self._transaction.run(within)
        return await run(
            self._client, lambda opened: opened.run(within), metrics=self._metrics, seconds=self._seconds
        )
