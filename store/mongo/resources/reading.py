"""Reads of single resources and of their versions, within a transaction too."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from pymongo.read_concern import ReadConcern
from typing_extensions import override

from store.mongo.documents import READ, from_document
from store.mongo.driver.client import durable, majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import HISTORY, RESOURCES
from store.resources.resources import ResourceReading
from store.resources.versions import Stored
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Document
    from store.mongo.driver.transaction import OpenTransaction
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Gone
    from store.settings import StoreSettings
    from store.tenancy import Tenant


class Reading(ResourceReading):
    """The collections of current and past versions, for readers."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        # What is read is durable on a majority, and includes all that was acknowledged before.
        self._resources: Collection = majority(database, RESOURCES)
        self._history: Collection = durable(database, HISTORY)
        self._in_transaction: Collection = database[RESOURCES]
        self._newest = self._in_transaction.with_options(read_concern=ReadConcern("local"))
        self._transaction: OpenTransaction | None = None
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics

    def within(self, transaction: OpenTransaction) -> Reading:
        """The same port; current versions as a transaction sees them, with its own writes."""
        within = copy.copy(self)
        within._transaction = transaction  # noqa: SLF001 -- of our own kind
        return within

    @override
    async def get(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        """The current version, the deletion in its place, or None."""
        return await self._got(tenant, key, self._resources)

    @override
    async def latest(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        """The newest version, on a majority yet or not; None: there is none."""
        return await self._got(tenant, key, self._newest)

    @override
    async def newest(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Stored]:
        """The newest versions of several, in one command; what is deleted is left out."""
        named = {document_id(str(tenant), *key): key for key in keys}
        wanted = {"_id": {"$in": list(named)}, "deleted": None, "expires_at": {"$gt": self._clock()}}
        fields = {**READ, "_id": 1}
        found: Sequence[Document]
        if self._transaction is not None:
            found = await self._transaction.run(
                lambda session: self._in_transaction.find(wanted, fields, session=session).to_list(None)
            )
        else:
            with guarded(self._metrics, "newest", seconds=self._seconds):
                found = await self._newest.find(wanted, fields).to_list(None)
        read = {named[one["_id"]]: from_document(named[one["_id"]], one) for one in found}
        return {key: one for key, one in read.items() if isinstance(one, Stored)}

    async def _got(self, tenant: Tenant, key: ResourceKey, resources: Collection) -> Stored | Gone | None:
        wanted = {"_id": document_id(str(tenant), *key), "expires_at": {"$gt": self._clock()}}
        document: Document | None
        if self._transaction is not None:
            document = await self._transaction.run(
                lambda session: self._in_transaction.find_one(wanted, READ, session=session)
            )
        else:
            with guarded(self._metrics, "get", seconds=self._seconds):
                document = await resources.find_one(wanted, READ)
        return None if document is None else from_document(key, document)

    @override
    async def get_version(self, tenant: Tenant, key: ResourceKey, version: int) -> Stored | Gone | None:
        """A version, current or past; None when the resource or this version is not there."""
        current = await self.get(tenant, key)
        if current is None or current.version == version:
            return current
        wanted = {
            "_id": f"{document_id(str(tenant), *key)}/{version}",
            "expires_at": {"$gt": self._clock()},
        }
        with guarded(self._metrics, "get_version", seconds=self._seconds):
            document = await self._history.find_one(wanted, READ)
        return None if document is None else from_document(key, document)

    @override
    async def versions(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """Numbers of the current versions; deleted and expired resources are left out."""
        named = {document_id(str(tenant), *key): key for key in keys}
        wanted = {"_id": {"$in": list(named)}, "deleted": None, "expires_at": {"$gt": self._clock()}}
        found: Sequence[Mapping[str, Any]]
        if self._transaction is not None:
            found = await self._transaction.run(
                lambda session: self._in_transaction.find(wanted, {"version": 1}, session=session).to_list(
                    None
                )
            )
        else:
            with guarded(self._metrics, "versions", seconds=self._seconds):
                found = await self._resources.find(wanted, {"version": 1}).to_list(None)
        return {named[one["_id"]]: one["version"] for one in found}

    async def begin(self) -> None:
        """Fix the moment that the transaction sees, unless an operation has done so before."""
        if self._transaction is not None and not self._transaction.begun:
            await self._transaction.run(
                lambda session: self._in_transaction.find_one({"_id": ""}, {"_id": 1}, session=session)
            )

    async def pin(self, tenant: Tenant, keys: Sequence[ResourceKey], *, behind: Sequence[str] = ()) -> None:
        """Write to these within the transaction: it meets a write conflict with whoever changes one."""
        if self._transaction is None or not keys:
            return
        ids = [document_id(str(tenant), *key) for key in keys]
        held: dict[str, Any] = {"$set": {"held_at": self._clock()}}
        if behind:
            held["$addToSet"] = {"identity.behind": {"$each": list(behind)}}
        await self._transaction.run(
            lambda session: self._in_transaction.update_many({"_id": {"$in": ids}}, held, session=session)
        )
