"""Stages of the sweep: current resources and tombstones with all their versions, then past versions by age.

Files that deleted versions referred to are noted in the same transaction, for
`store.mongo.retention.overdue_files`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.changes.kinds import Kind
from store.fhir.instants import to_datetime
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.resources.kinship import PATIENT, kin_of, parting
from store.mongo.retention.departures import Departure, note
from store.mongo.retention.still_needed import HELD_FIELDS
from store.retention.runs import Reason, Row
from store.retention.sweep import Deleted, Found, Stage, SweepStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.retention.overdue_files import OverdueFiles
    from store.mongo.retention.still_needed import Needing
    from store.tenancy import Tenant

    Documents = Sequence[Mapping[str, Any]]

VERSIONS_MAX: Final = 2_000
"""Past versions that one transaction deletes; a resource with more goes in several."""
COUNTED: Final = dict.fromkeys(("type", "was", "id", "version", "policy", "updated", "deleted", "files"), 1)
"""Fields of a document that are needed to count it, and its files."""
_DELETED: Final = {**COUNTED, "identity.kin": 1, "kin": 1}
_LOOKED_AT: Final = {**COUNTED, **HELD_FIELDS, "expires_at": 1}


async def page(  # noqa: PLR0913 -- one query
    collection: Collection,
    tenant: Tenant,
    as_of: datetime,
    after: Mapping[str, Any] | None,
    limit: int,
    fields: Mapping[str, int],
) -> list[Mapping[str, Any]]:
    """The next that expired by then, in the order of the index `overdue`."""
    bounds: dict[str, Any] = {"$lte": as_of}
    wanted: dict[str, Any] = {"tenant": str(tenant), "expires_at": bounds}
    if after is not None:
        bounds["$gte"] = after["at"]
        wanted["$or"] = [{"expires_at": {"$gt": after["at"]}}, {"_id": {"$gt": after["id"]}}]
    order = [("expires_at", 1), ("_id", 1)]
    cursor = collection.find(wanted, fields, sort=order, limit=limit, hint="overdue")
    return await cursor.to_list(None)


def behind(found: Documents, limit: int) -> dict[str, Any] | None:
    """The position behind a page; None: it was the last."""
    return {"at": found[-1]["expires_at"], "id": found[-1]["_id"]} if len(found) == limit else None


def counted(tenant: Tenant, document: Mapping[str, Any], reason: Reason, policy: int | None = None) -> Found:
    """Row and month under which a version is counted; a past one gets the policy of its resource."""
    month = f"{to_datetime(document['updated']['lo']):%Y-%m}"
    of_type = document.get("type") or document.get("was") or ""
    version = document.get("policy") or 0 if policy is None else policy
    return Found(Row(str(tenant), version, of_type, reason.value), month)


def _with_resources(tenant: Tenant, past: Documents, current: Documents) -> list[Found]:
    policies = {one["_id"]: one.get("policy") or 0 for one in current}
    return [counted(tenant, one, Reason.WITH_RESOURCE, policies[owner_of(one)]) for one in past]


def rows(found: Iterable[Found]) -> Counter[Row]:
    """Counts without the months."""
    return Counter(one.row for one in found)


class OverdueResources(Stage):
    """Current versions and tombstones; their past versions go with them."""

    name = "resources"

    def __init__(  # noqa: PLR0913 -- half of them keyword-only
        self,
        database: Database,
        needing: Needing,
        files: OverdueFiles,
        *,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        seconds: float,
    ) -> None:
        self._database = database
        self._clock = clock
        self._plain = database[RESOURCES]
        self._plain_history = database[HISTORY]
        self._resources = majority(database, RESOURCES)
        self._history = majority(database, HISTORY)
        self._needing = needing
        self._files = files
        self._metrics = metrics
        self._seconds = seconds

    @override
    async def look(
        self, tenant: Tenant, as_of: datetime, after: Mapping[str, Any] | None, limit: int
    ) -> SweepStep:
        with guarded(self._metrics, "overdue_resources", seconds=self._seconds):
            found = await page(self._resources, tenant, as_of, after, limit, _LOOKED_AT)
        kept = await self._needing.kept(tenant, found, as_of)
        return SweepStep(
            [one for one in found if one["_id"] not in kept],
            [counted(tenant, one, kept[one["_id"]]) for one in found if one["_id"] in kept],
            behind(found, limit),
        )

    @override
    async def count(self, tenant: Tenant, as_of: datetime, step: SweepStep) -> list[Found]:
        with guarded(self._metrics, "tally_resources", seconds=self._seconds):
            past = [one async for one in _past(self._history, tenant, step.going, None)]
        found = [counted(tenant, one, _reason(one)) for one in step.going]
        found += _with_resources(tenant, past, step.going)
        return found + await self._files.count(tenant, as_of, [*step.going, *past])

    @override
    async def delete(self, tenant: Tenant, as_of: datetime, step: SweepStep, session: Session) -> Deleted:
        if not step.going:
            return Deleted({})
        wanted = {"_id": {"$in": [one["_id"] for one in step.going]}, "expires_at": {"$lte": as_of}}
        current = await self._plain.find(wanted, _DELETED, session=session).to_list(None)
        past = [one async for one in _past(self._plain_history, tenant, current, session)]
        more = len(past) > VERSIONS_MAX
        found = _with_resources(tenant, past, current)
        if past:
            ids = [one["_id"] for one in past]
            await self._plain_history.delete_many({"_id": {"$in": ids}}, session=session)
        if current and not more:
            ids = [one["_id"] for one in current]
            await self._plain.delete_many({"_id": {"$in": ids}}, session=session)
            # Whoever gets the number, and with it the id, is linked with nobody.
            if apart := [parting(tenant, one["id"]) for one in current if _is_linked(one)]:
                await self._plain.bulk_write(apart, ordered=False, session=session)
            going = [_departure(one) for one in current if not one.get("deleted")]
            await note(self._database, str(tenant), going, Kind.EXPIRED, now=self._clock(), session=session)
            found += [counted(tenant, one, _reason(one)) for one in current]
        gone = past if more else [*current, *past]
        await self._files.note(tenant, gone, session)
        return Deleted(rows(found), more=more)


async def _past(history: Collection, tenant: Tenant, current: Documents, session: Session | None) -> Any:  # noqa: ANN401 -- an async generator of documents
    """The past versions of these: all of them, or in a transaction a little more than it may delete."""
    ids: dict[str, list[str]] = {}
    for one in current:
        ids.setdefault(one.get("type") or one["was"], []).append(one["id"])
    most, seen = VERSIONS_MAX + 1 if session is not None else 0, 0
    for of_type, some in ids.items():
        wanted = {"tenant": str(tenant), "type": of_type, "id": {"$in": some}}
        cursor = history.find(wanted, COUNTED, limit=most, hint="versions", session=session)
        async for one in cursor:
            yield one
            seen += 1
            if seen == most:
                return


def _is_linked(document: Mapping[str, Any]) -> bool:
    return PATIENT in (document.get("type"), document.get("was")) and bool(kin_of(document))


def _departure(document: Mapping[str, Any]) -> Departure:
    return Departure(document["_id"], document["type"], document["id"], document["version"])


def _reason(document: Mapping[str, Any]) -> Reason:
    return Reason.DELETED if document.get("deleted") else Reason.RETENTION


class OverduePast(Stage):
    """Past versions whose own time is over, of resources that stay."""

    name = "history"

    def __init__(
        self,
        database: Database,
        needing: Needing,
        files: OverdueFiles,
        *,
        metrics: StoreMetrics,
        seconds: float,
    ) -> None:
        self._plain = database[HISTORY]
        self._history = majority(database, HISTORY)
        self._resources = majority(database, RESOURCES)
        self._needing = needing
        self._files = files
        self._metrics = metrics
        self._seconds = seconds

    @override
    async def look(
        self, tenant: Tenant, as_of: datetime, after: Mapping[str, Any] | None, limit: int
    ) -> SweepStep:
        with guarded(self._metrics, "overdue_history", seconds=self._seconds):
            found = await page(self._history, tenant, as_of, after, limit, _LOOKED_AT)
            names = sorted({owner_of(one) for one in found})
            cursor = self._resources.find({"_id": {"$in": names}}, _LOOKED_AT)
            owners = {one["_id"]: one for one in await cursor.to_list(None)}
        over = [one for one in owners.values() if one["expires_at"] <= as_of]
        staying = await self._needing.kept(tenant, over, as_of)
        # These go, or went, with their resource.
        with_it = {one["_id"] for one in over} - staying.keys()
        own = [one for one in found if owner_of(one) not in with_it]
        held = await self._needing.held(tenant, [*own, *owners.values()])
        kept = {one["_id"] for one in own if one["_id"] in held or owner_of(one) in held}
        own = [{**one, "policy": owners.get(owner_of(one), {}).get("policy")} for one in own]
        return SweepStep(
            [one for one in own if one["_id"] not in kept],
            [counted(tenant, one, Reason.HELD) for one in own if one["_id"] in kept],
            behind(found, limit),
        )

    @override
    async def count(self, tenant: Tenant, as_of: datetime, step: SweepStep) -> list[Found]:
        found = [counted(tenant, one, Reason.SUPERSEDED) for one in step.going]
        return found + await self._files.count(tenant, as_of, step.going)

    @override
    async def delete(self, tenant: Tenant, as_of: datetime, step: SweepStep, session: Session) -> Deleted:
        if not step.going:
            return Deleted({})
        wanted = {"_id": {"$in": [one["_id"] for one in step.going]}, "expires_at": {"$lte": as_of}}
        past = await self._plain.find(wanted, COUNTED, session=session).to_list(None)
        if past:
            ids = [one["_id"] for one in past]
            await self._plain.delete_many({"_id": {"$in": ids}}, session=session)
        await self._files.note(tenant, past, session)
        policies = {one["_id"]: one["policy"] or 0 for one in step.going}
        return Deleted(rows(counted(tenant, one, Reason.SUPERSEDED, policies[one["_id"]]) for one in past))


def owner_of(past: Mapping[str, Any]) -> str:
    """The `_id` of the current document of a past version."""
    return str(past["_id"]).rpartition("/")[0]
