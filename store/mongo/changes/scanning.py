"""Changes since a moment, found without MongoDB's log: by the indexes of `_lastUpdated`, and by the notes of
what was deleted for good.

Only the last version of each resource is found; whatever changes meanwhile is in the log again.
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.changes.kinds import Kind, kind_of
from store.fhir.instants import from_datetime
from store.fhir.resource_types import RESOURCE_TYPES
from store.mongo.changes.blocks import Entry
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import DEPARTURES, RESOURCES
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.tenancy import Tenant

BATCH: Final = 500
"""Documents of one look."""
FIELDS: Final = {
    **dict.fromkeys(("tenant", "type", "was", "id", "version", "updated.lo", "deleted"), 1),
    **dict.fromkeys(("created_by", "quiet"), 1),
    "index.status": 1,
}


class _Place(NamedTuple):
    """Index that has documents of a type in the order of their moments."""

    field: str
    """Field that holds the type."""
    name: str


_PLACES: Final = (_Place("type", "updated"), _Place("was", "deleted"))


def entry_of(document: Mapping[str, Any]) -> Entry:
    """Change that led to a stored document: a version, or the tombstone of a deleted resource."""
    key = ResourceKey(document.get("type") or document["was"], document["id"])
    if document.get("deleted"):
        kind = Kind.DELETED
    else:
        status = (document.get("index") or {}).get("status", ())
        kind = kind_of(status, creation="created_by" in document)
    quiet = bool(document.get("quiet"))
    return Entry(document["tenant"], key, document["version"], kind, document["updated"]["lo"], quiet)


def departed(note: Mapping[str, Any]) -> Entry:
    """Change that a note of a departure tells."""
    key = ResourceKey(note["type"], note["id"])
    at = from_datetime(note["at"].replace(tzinfo=UTC)).start
    return Entry(note["tenant"], key, note["version"], Kind(note["kind"]), at)


class Scan:
    """A look at all that changed since a moment."""

    def __init__(self, database: Database, *, metrics: StoreMetrics, seconds: float) -> None:
        self._resources = majority(database, RESOURCES)
        self._departures = majority(database, DEPARTURES)
        self._metrics = metrics
        self._seconds = seconds

    async def entries(self, tenants: Iterable[Tenant], since: datetime) -> AsyncIterator[list[Entry]]:
        """Changes of these tenants, in batches; those of one type in order. A batch may be empty: there is
        something to do for whoever keeps a lease meanwhile.
        """
        start = from_datetime(since).start
        for tenant in tenants:
            for place in _PLACES:
                for resource_type in sorted(RESOURCE_TYPES):
                    wanted = {"tenant": str(tenant), place.field: resource_type}
                    async for some in self._pages(wanted, place.name, start):
                        yield [entry_of(one) for one in some]
                    yield []
            async for some in self._notes(tenant, since):
                yield [departed(one) for one in some]

    async def _pages(
        self, wanted: Mapping[str, Any], index: str, start: int
    ) -> AsyncIterator[list[Mapping[str, Any]]]:
        order = [("updated.lo", 1), ("id", 1)]
        bounds: dict[str, Any] = {"updated.lo": {"$gte": start}}
        while True:
            found = await self._find(self._resources, {**wanted, **bounds}, order, index)
            if found:
                yield found
            if len(found) < BATCH:
                return
            last = found[-1]
            at = last["updated"]["lo"]
            bounds = {
                "updated.lo": {"$gte": at},
                "$or": [{"updated.lo": {"$gt": at}}, {"id": {"$gt": last["id"]}}],
            }

    async def _notes(self, tenant: Tenant, since: datetime) -> AsyncIterator[list[Mapping[str, Any]]]:
        order = [("at", 1), ("_id", 1)]
        bounds: dict[str, Any] = {"at": {"$gte": since}}
        while True:
            wanted = {"tenant": str(tenant), **bounds}
            found = await self._find(self._departures, wanted, order, "moments")
            if found:
                yield found
            if len(found) < BATCH:
                return
            last = found[-1]
            bounds = {
                "at": {"$gte": last["at"]},
                "$or": [{"at": {"$gt": last["at"]}}, {"_id": {"$gt": last["_id"]}}],
            }

    async def _find(
        self, collection: Collection, wanted: Mapping[str, Any], order: list[tuple[str, int]], index: str
    ) -> list[Mapping[str, Any]]:
        fields = FIELDS if index != "moments" else None
        with guarded(self._metrics, "scan_changes", seconds=self._seconds):
            cursor = collection.find(wanted, fields, sort=order, limit=BATCH, hint=index)
            return await cursor.to_list(None)
