"""Companions that a newer version of their report no longer brings along: who still refers to them.

Nothing is indexed for this: of the resources of the companion's own patient, which the `keyed` index finds,
those are looked for that refer to it by any parameter that may point at its type. Only a report that drops a
result asks, so a scan within one patient costs less than an entry for each result of each report.
"""

from __future__ import annotations

import copy
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar

from typing_extensions import override

from store.mongo.documents import READ, from_document, patients_among
from store.mongo.driver.client import durable, majority
from store.mongo.driver.gathering import Gathering
from store.mongo.driver.guard import guarded
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.resources.late_versions import next_version
from store.resources import resources
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Preceding, Released, Stored
from store.search.planning.plan import document_id
from store.search.referring import referring

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.driver.look_ups import LookUps
    from store.mongo.driver.transaction import OpenTransaction
    from store.settings import StoreSettings
    from store.tenancy import Tenant

T = TypeVar("T")

TOGETHER_MAX: Final = 32
"""Messages whose companions are looked for together."""
_RECORDS: Final = frozenset({"AuditEvent", "MessageHeader", "Provenance"})
"""Types that tell how something came about; a reference from them keeps nothing current."""


class MongoCompanions(resources.Companions):
    """The verbs of the port that a clean-up needs."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        look_ups: LookUps,
    ) -> None:
        self._look_ups = look_ups
        self._read: Collection = majority(database, RESOURCES)
        self._history: Collection = durable(database, HISTORY)
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._transaction: OpenTransaction | None = None
        # Every message with observations asks, and nearly always there are none.
        self._tombstones: Gathering[Sequence[str], list[Mapping[str, Any]]] = Gathering(
            self._tombstones_of, most=TOGETHER_MAX
        )

    def within(self, transaction: OpenTransaction) -> MongoCompanions:
        """The same port as a transaction sees the store, with its own writes."""
        within = copy.copy(self)
        within._transaction = transaction  # noqa: SLF001 -- of our own kind
        return within

    async def _reading(self, operation: Callable[[Session | None], Awaitable[T]]) -> T:
        return await (operation(None) if self._transaction is None else self._transaction.run(operation))

    @override
    async def preceding(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int]
    ) -> dict[ResourceKey, Preceding]:
        now, found = self._clock(), {}
        with guarded(self._metrics, "preceding", seconds=self._seconds):
            # Nearly always it is the number before; then all are one look-up.
            names = {
                f"{document_id(str(tenant), *key)}/{version - 1}": key for key, version in versions.items()
            }
            standing = {"stale": None, "expires_at": {"$gt": now}}
            by_name = {"_id": {"$in": sorted(names)}, **standing}
            fields = {**READ, "_id": 1, "sourced": 1}
            for document in await self._found(self._history, by_name, fields):
                found[names[document["_id"]]] = document
            for key in versions.keys() - found.keys():
                wanted = {
                    "tenant": str(tenant),
                    "type": key.type,
                    "id": key.id,
                    "version": {"$lt": versions[key] - 1},
                    **standing,
                }
                for document in await self._found(self._history, wanted, fields, newest=True):
                    found[key] = document
        read = {key: from_document(key, document) for key, document in found.items()}
        return {
            key: Preceding(stored, found[key].get("sourced", ""))
            for key, stored in read.items()
            if isinstance(stored, Stored)
        }

    @override
    async def unreferenced(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        with guarded(self._metrics, "unreferenced", seconds=self._seconds):
            ids = [document_id(str(tenant), *one) for one in keys]
            fields = {"type": 1, "id": 1, "keys": 1, "version": 1}
            # One whose patient is not known cannot be asked for cheaply: it stays.
            wanted = {"_id": {"$in": ids}, "companion": True, "deleted": None}
            found = await self._found(self._read, wanted, fields)
            patients = {
                ResourceKey(d["type"], d["id"]): known for d in found if (known := patients_among(d["keys"]))
            }
            referred = await self._referred(tenant, patients)
        versions = {ResourceKey(d["type"], d["id"]): int(d["version"]) for d in found}
        return {key: versions[key] for key in patients if key not in referred}

    @override
    async def referring(
        self, tenant: Tenant, keys: Sequence[ResourceKey]
    ) -> dict[ResourceKey, set[ResourceKey]]:
        with guarded(self._metrics, "referring", seconds=self._seconds):
            wanted = {"_id": {"$in": [document_id(str(tenant), *one) for one in keys]}, "deleted": None}
            found = await self._found(self._read, wanted, {"type": 1, "id": 1, "keys": 1})
            patients = {ResourceKey(d["type"], d["id"]): patients_among(d["keys"]) for d in found}
            return await self._referring(tenant, patients)

    @override
    async def released(
        self, tenant: Tenant, keys: Sequence[ResourceKey], *, alone: bool = False
    ) -> list[Released]:
        ids = [document_id(str(tenant), *one) for one in keys]
        if not ids:
            return []
        if self._transaction is None:
            retired = await self._tombstones.ask(ids)
        else:
            [retired] = await self._tombstones_of([ids])
        if not retired:
            return []
        with guarded(self._metrics, "released", seconds=self._seconds):
            pasts = {ResourceKey(d["was"], d["id"]): await self._past(tenant, d) for d in retired}
            patients = {
                key: sorted({one for d in past for one in d.get("of", ())}) for key, past in pasts.items()
            }
            back = pasts.keys() if alone else await self._referred(tenant, patients)
            numbers = {ResourceKey(d["was"], d["id"]): next_version(d) for d in retired}
            # Of one time the later one counts, as it did when it came.
            newest = {
                max(pasts[key], key=lambda d: (d.get("sourced", ""), d["version"]))["_id"]: key
                for key in back
                if pasts[key]
            }
            read = (
                await self._found(self._history, {"_id": {"$in": sorted(newest)}}, {"raw": 1, "sourced": 1})
                if newest
                else []
            )
        return [
            Released(newest[d["_id"]], numbers[newest[d["_id"]]], d["raw"], d.get("sourced", ""))
            for d in read
        ]

    async def _tombstones_of(self, asked: Sequence[Sequence[str]]) -> list[list[Mapping[str, Any]]]:
        """The tombstones of retired companions among these."""
        ids = sorted({one for ids in asked for one in ids})
        wanted = {"_id": {"$in": ids}, "companion": True, "deleted": True}
        fields = {"was": 1, "id": 1, "version": 1, "last": 1}
        with guarded(self._metrics, "released", seconds=self._seconds):
            if self._transaction is not None:
                found = await self._found(self._read, wanted, fields)
            else:
                command = {"find": RESOURCES, "filter": wanted, "projection": fields}
                found = await self._look_ups.find({**command, "readConcern": {"level": "majority"}})
        by_id = {document["_id"]: document for document in found}
        return [[by_id[one] for one in ids if one in by_id] for ids in asked]

    async def _past(self, tenant: Tenant, tombstone: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The contents that a retired companion had, without their bytes; late ones too."""
        wanted = {
            "tenant": str(tenant),
            "type": tombstone["was"],
            "id": tombstone["id"],
            "deleted": None,
            "ended_at": None,
            "expires_at": {"$gt": self._clock()},
        }
        return await self._found(self._history, wanted, {"version": 1, "sourced": 1, "of": 1})

    async def _referred(
        self, tenant: Tenant, patients: Mapping[ResourceKey, Sequence[str]]
    ) -> set[ResourceKey]:
        """Keys that something current of their patient refers to."""
        return set(await self._referring(tenant, patients))

    async def _referring(
        self, tenant: Tenant, patients: Mapping[ResourceKey, Sequence[str]]
    ) -> dict[ResourceKey, set[ResourceKey]]:
        """Current resources of their patient that refer to each key, where there are any."""
        referring: dict[ResourceKey, set[ResourceKey]] = {}
        by_type = sorted((key, known) for key, known in patients.items() if known)
        for resource_type, group in groupby(by_type, key=lambda one: one[0].type):
            referring |= await self._referring_to(tenant, resource_type, list(group))
        return referring

    async def _referring_to(
        self, tenant: Tenant, resource_type: str, asked: Sequence[tuple[ResourceKey, Sequence[str]]]
    ) -> dict[ResourceKey, set[ResourceKey]]:
        types, names = referring(frozenset((resource_type,)), without=_RECORDS)
        by_spelling = {str(key): key for key, _ in asked}
        matching: Mapping[str, Any] = {
            "tenant": str(tenant),
            "type": {"$in": types},
            "keys": {"$in": sorted({one for _, patients in asked for one in patients})},
            "$or": [{f"index.{name}": {"$in": [*by_spelling]}} for name in names],
        }
        fields = {"_id": 0, "type": 1, "id": 1, **{f"index.{name}": 1 for name in names}}
        found: dict[ResourceKey, set[ResourceKey]] = {}
        for document in await self._found(self._read, matching, fields, hint="keyed"):
            who = ResourceKey(document["type"], document["id"])
            for one in {
                one for spelled in document["index"].values() for one in spelled
            } & by_spelling.keys():
                found.setdefault(by_spelling[one], set()).add(who)
        return found

    async def _found(
        self,
        collection: Collection,
        wanted: Mapping[str, Any],
        fields: Mapping[str, Any],
        *,
        hint: str | None = None,
        newest: bool = False,
    ) -> Sequence[Mapping[str, Any]]:
        """Documents that match, or the newest version alone."""

        async def operation(session: Session | None) -> Sequence[Mapping[str, Any]]:
            cursor = collection.find(wanted, fields, session=session)
            if hint is not None:
                cursor = cursor.hint(hint)
            if newest:
                cursor = cursor.sort("version", -1).limit(1)
            found: Sequence[Mapping[str, Any]] = await cursor.to_list(None)
            return found

        return await self._reading(operation)
