"""Audit records about a patient who is erased: they stay, as proof of who looked, and name nobody.

The patient's names become the keyed digests that an erasure leaves, the query goes, of a path the type stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.audit.records import Deed
from store.fhir.references import RELATIVE
from store.mongo.driver.client import durable, majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import AUDIT, RESOURCES
from store.mongo.rules.carriers import never_here
from store.retention.erased_names import KEY, NUMBER, PATIENT, Name
from store.retention.erasure import ERASED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.rules.erased_names import ErasedNames
    from store.retention.erasure import KnownAs, Wanted
    from store.settings import StoreSettings
    from store.tenancy import Tenant

BATCH: Final = 1_000
"""Records changed at once."""
_MOVED: Final = {"$eq": ["$did", Deed.REPORT_MOVED.value]}


class AuditErasure:
    """Changes the audit records of one database."""

    def __init__(
        self, database: Database, erasures: ErasedNames, *, settings: StoreSettings, metrics: StoreMetrics
    ) -> None:
        self._audit: Collection = durable(database, AUDIT)
        self._resources: Collection = majority(database, RESOURCES)
        self._erasures = erasures
        self._metrics = metrics
        self._seconds = settings.store_timeout_seconds

    async def forget(
        self, tenant: Tenant, own: KnownAs, wanted: Wanted, heartbeat: Callable[[], Awaitable[None]]
    ) -> None:
        """Let no record tell who the patient was. Safe to repeat."""
        names = {one: Name(KEY, one) for one in sorted(own.references)}
        names |= {one: Name(PATIENT, one) for one in sorted(own.identifiers)}
        for text, name in (names | await self._mistaken(tenant, own)).items():
            digest = await self._erasures.digest_of(tenant, name)
            while some := await self._naming(tenant, text):
                await heartbeat()
                await self._change(tenant, some, nameless(text, digest))
        await self._forget_queries(tenant, wanted, heartbeat)

    async def _mistaken(self, tenant: Tenant, own: KnownAs) -> dict[str, Name]:
        """References that clients made of the patient's numbers, and that are nobody's.

        See DECISIONS.md#numbers-as-ids.
        """
        numbers = {f"Patient/{one.text}": one for one in own.names if one.kind == NUMBER}
        made = [one for one in numbers if RELATIVE.fullmatch(one)]
        with guarded(self._metrics, "audit_mistaken", seconds=self._seconds):
            free = await never_here(self._resources, tenant, made) - own.references
        return {one: numbers[one] for one in sorted(free)}

    async def forget_all(self, tenant: Tenant, heartbeat: Callable[[], Awaitable[None]]) -> None:
        """Let no record of a tenant tell of anybody's patients. Safe to repeat."""
        after: dict[str, Any] = {}
        while True:
            with guarded(self._metrics, "audit_all", seconds=self._seconds):
                wanted = {"tenant": str(tenant), **after}
                order = [("at", -1), ("_id", -1)]
                cursor = self._audit.find(wanted, {"at": 1}, sort=order, limit=BATCH).hint("moments")
                found = await cursor.to_list(None)
            if not found:
                return
            await heartbeat()
            await self._change(tenant, [one["_id"] for one in found], NAMELESS)
            at, last = found[-1]["at"], found[-1]["_id"]
            after = {"at": {"$lte": at}, "$or": [{"at": {"$lt": at}}, {"at": at, "_id": {"$lt": last}}]}

    async def _naming(self, tenant: Tenant, name: str) -> list[Any]:
        """The ids of some records that name the patient so."""
        wanted = {"tenant": str(tenant), "patients": name}
        with guarded(self._metrics, "audit_naming", seconds=self._seconds):
            found = await self._audit.find(wanted, {"_id": 1}, hint="patients", limit=BATCH).to_list(None)
        return [one["_id"] for one in found]

    async def _forget_queries(
        self, tenant: Tenant, wanted: Wanted, heartbeat: Callable[[], Awaitable[None]]
    ) -> None:
        """Take out the queries of records that name no patient where they hold a name of this one."""
        after: Any = None
        while True:
            some = {"tenant": str(tenant), "unnamed": True}
            if after is not None:
                some["_id"] = {"$gt": after}
            with guarded(self._metrics, "audit_unnamed", seconds=self._seconds):
                cursor = self._audit.find(some, {"query": 1}, sort=[("_id", 1)], limit=BATCH).hint("unnamed")
                found = await cursor.to_list(None)
            if not found:
                return
            await heartbeat()
            told = [one["_id"] for one in found if wanted.in_query(one.get("query", b""))]
            if told:
                await self._change(tenant, told, [{"$unset": ["query", "unnamed"]}])
            after = found[-1]["_id"]

    async def _change(self, tenant: Tenant, ids: Sequence[Any], stages: Sequence[dict[str, Any]]) -> None:
        those = {"_id": {"$in": list(ids)}, "tenant": str(tenant)}
        with guarded(self._metrics, "audit_forget", seconds=self._seconds):
            await self._audit.update_many(those, list(stages), hint="_id_")


_OF_TYPE: Final = {"$arrayElemAt": [{"$split": [{"$ifNull": ["$resource", ""]}, "/"]}, 0]}
_SAID: Final = {
    "resource": _OF_TYPE,
    "reason": {"$cond": [_MOVED, ERASED, "$reason"]},
    "of": {"$cond": [_MOVED, "$$REMOVE", "$of"]},
}
NAMELESS: Final = ({"$set": _SAID}, {"$unset": ["patients", "query", "unnamed"]})
"""Stages that take out of a record all that may tell of a patient."""


def nameless(name: str, digest: str) -> list[dict[str, Any]]:
    """The stages that take a name out of a record."""
    is_it = {"$eq": ["$$this", {"$literal": name}]}
    patients = {"$map": {"input": "$patients", "in": {"$cond": [is_it, digest, "$$this"]}}}
    return [{"$set": {"patients": patients, **_SAID}}, {"$unset": ["query"]}]
