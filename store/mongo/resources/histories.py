"""Versions of a resource or of a type, newest first: current ones, tombstones and the history together.

The three are read in this order. A version is copied to the history before it is replaced, so what is no
longer current when the first is read is in the last; what is in both is one version. A page is found by
keys first, and the bytes of those that are shown are fetched after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.mongo.documents import READ, from_document
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import HISTORY, RESOURCES
from store.resources.pages import HistoryEntry, HistoryPage
from store.resources.resource_keys import ResourceKey
from store.search.criteria import Position
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.rules.policies import Policies
    from store.resources.pages import HistoryQuery
    from store.settings import StoreSettings
    from store.tenancy import Tenant

Filter = dict[str, Any]

_KEYS: Final = {"_id": 0, "id": 1, "version": 1, "updated.lo": 1}
_ORDER: Final = (("updated.lo", -1), ("id", -1))
"""Total: the versions of one resource are strictly later than one another."""


class Source(NamedTuple):
    """Place where versions are, with the index that gives them in order."""

    collection: str
    filter: Filter
    hint: str
    sort: tuple[tuple[str, int], ...] = _ORDER
    living: tuple[Filter, ...] = ()
    """Stages that leave out the versions of a resource that has expired."""


class _Key(NamedTuple):
    """A version's place in the order."""

    updated: int
    id: str
    version: int


def _name(tenant: str, resource_type: str, key: _Key) -> str:
    """The `_id` of a version in the history."""
    return f"{document_id(tenant, resource_type, key.id)}/{key.version}"


class Histories:
    """The verb `history` of the port."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
    ) -> None:
        self._collections: Mapping[str, Collection] = {
            name: majority(database, name) for name in (RESOURCES, HISTORY)
        }
        self._settings = settings
        self._policies = policies
        self._clock = clock
        self._metrics = metrics

    async def page(self, tenant: Tenant, query: HistoryQuery) -> HistoryPage:
        """A page of versions, newest first, deletions among them."""
        with guarded(self._metrics, "history", seconds=self._settings.search_timeout_seconds):
            retention = (await self._policies.of((str(tenant),)))[str(tenant)]
            found = sources(str(tenant), query, now=self._clock(), expiring=bool(retention.policy.version))
            keys = await self._keys(found, query) if query.count else []
            shown = keys[: query.count]
            entries = await self._entries(str(tenant), query, shown)
            if entries is None:
                shown = await self._fitting(str(tenant), query, shown)
                entries = await self._entries(str(tenant), query, shown, whole=True) or []
            more = len(keys) > len(shown)
            total = None
            if query.total:
                complete = query.count and not more and query.position is None
                total = len(entries) if complete else await self._total(found, query)
        following = Position((shown[-1].updated, shown[-1].id)) if more and shown else None
        return HistoryPage(tuple(entries), total, following)

    async def _keys(self, found: Sequence[Source], query: HistoryQuery) -> list[_Key]:
        """The first `count + 1` after the position."""
        limit = query.count + 1
        if query.at is not None:
            order = {"$sort": {"lo": -1, "id": -1}}
            stages = [*_at(found, query), *_after(query, "lo"), order, {"$limit": limit}]
            return [_Key(d["lo"], d["id"], d["version"]) async for d in self._aggregate(found, stages)]
        keys: set[_Key] = set()
        for source in found:
            for d in await self._first(source, query, limit):
                keys.add(_Key(d["updated"]["lo"], d["id"], d["version"]))
        return sorted(keys, reverse=True)[:limit]

    async def _first(self, source: Source, query: HistoryQuery, limit: int) -> Sequence[Mapping[str, Any]]:
        """The keys of the first ones of a source."""
        collection, (wanted, fields) = self._collections[source.collection], finds(source, query)
        if not source.living:
            cursor = collection.find(wanted, fields, sort=list(source.sort))
            found: Sequence[Mapping[str, Any]] = await cursor.hint(source.hint).limit(limit).to_list(None)
            return found
        order = {"$sort": dict(source.sort)}
        stages = [{"$match": wanted}, order, *source.living, {"$limit": limit}, {"$project": fields}]
        return [one async for one in collection.aggregate(stages, hint=source.hint)]

    async def _entries(
        self, tenant: str, query: HistoryQuery, keys: Sequence[_Key], *, whole: bool = False
    ) -> list[HistoryEntry] | None:
        """The versions of these keys; what was purged meanwhile is left out.

        None as soon as they turn out to have more bytes than a page, unless they are wanted as a `whole`.
        """
        wanted = {_name(tenant, query.type, key) for key in keys}
        found: dict[str, HistoryEntry] = {}
        left = query.bytes_max
        for collection, ids in self._places(tenant, query.type, keys):
            missing = [one for one in ids if one not in found]
            if not missing or found.keys() == wanted:
                continue
            fields = {**READ, "_id": 0, "id": 1, "created_by": 1, "stale": 1}
            async for d in collection.find({"_id": {"$in": missing}}, fields):
                left -= len(d.get("raw", b""))
                if left < 0 and not whole:
                    return None
                key = ResourceKey(query.type, d["id"])
                name = f"{document_id(tenant, *key)}/{d['version']}"
                found[name] = HistoryEntry(from_document(key, d), _created_by(d), stale=d.get("stale", False))
        return [found[name] for key in keys if (name := _name(tenant, query.type, key)) in found]

    async def _fitting(self, tenant: str, query: HistoryQuery, keys: Sequence[_Key]) -> list[_Key]:
        """The first of these keys whose versions fit on a page; one at least."""
        sizes: dict[str, int] = {}
        measured = {"id": 1, "version": 1, "size": {"$binarySize": {"$ifNull": ["$raw", ""]}}}
        for collection, ids in self._places(tenant, query.type, keys):
            stages: list[Filter] = [
                {"$match": {"_id": {"$in": list(ids)}}},
                {"$project": {"_id": 0, **measured}},
            ]
            async for d in collection.aggregate(stages):
                name = f"{document_id(tenant, query.type, d['id'])}/{d['version']}"
                sizes.setdefault(name, d["size"])
        left = query.bytes_max
        for number, key in enumerate(keys):
            left -= sizes.get(_name(tenant, query.type, key), 0)
            if left < 0:
                return list(keys[: max(number, 1)])
        return list(keys)

    def _places(
        self, tenant: str, resource_type: str, keys: Sequence[_Key]
    ) -> Iterator[tuple[Collection, Iterable[str]]]:
        """Places of the versions of these keys, and their `_id` there."""
        current = dict.fromkeys(document_id(tenant, resource_type, key.id) for key in keys)
        yield self._collections[RESOURCES], current
        yield self._collections[HISTORY], [_name(tenant, resource_type, key) for key in keys]

    async def _total(self, found: Sequence[Source], query: HistoryQuery) -> int | None:
        """Number of versions that match; None: more than may be counted."""
        bound = self._settings.count_max
        stages = (
            _at(found, query)
            if query.at is not None
            else [*_together(found, query, limit=bound + 1), {"$group": {"_id": _VERSION}}]
        )
        counted = [*stages, {"$limit": bound + 1}, {"$count": "n"}]
        count = 0
        async for document in self._aggregate(found, counted):
            count = document["n"]
        return None if count > bound else count

    def _aggregate(self, found: Sequence[Source], stages: Sequence[Filter]) -> Any:  # noqa: ANN401 -- Motor's cursor
        collection = self._collections[found[0].collection]
        return collection.aggregate(list(stages), hint=found[0].hint, allowDiskUse=True)


_VERSION: Final = {"id": "$id", "version": "$version"}


def sources(tenant: str, query: HistoryQuery, *, now: datetime, expiring: bool = False) -> list[Source]:
    """Places of the versions that a query asks for, in the order of reading; `expiring`: resources expire."""
    kept: Filter = {"expires_at": {"$gt": now}}
    alive = living(now) if expiring else ()
    if query.id is not None:
        one = document_id(tenant, query.type, query.id)
        past = {"tenant": tenant, "type": query.type, "id": query.id, **kept}
        return [
            Source(RESOURCES, {"_id": one, **kept}, "_id_", ()),
            Source(HISTORY, past, "versions", (("version", -1),), alive),
        ]
    of_type = {"tenant": tenant, "type": query.type, **kept}
    return [
        Source(RESOURCES, of_type, "updated"),
        Source(RESOURCES, {"tenant": tenant, "was": query.type, **kept}, "deleted"),
        Source(HISTORY, of_type, "changed", living=alive),
    ]


def living(now: datetime) -> tuple[Filter, ...]:
    """Pipeline stages that leave out past versions whose resource has expired: they go with it."""
    lookup = {
        "from": RESOURCES,
        "localField": "current",
        "foreignField": "_id",
        "pipeline": [{"$match": {"expires_at": {"$gt": now}}}, {"$project": {"_id": 1}}],
        "as": "current",
    }
    name = {"$concat": ["$tenant", "/", "$type", "/", "$id"]}
    return {"$set": {"current": name}}, {"$lookup": lookup}, {"$match": {"current": {"$ne": []}}}


def finds(source: Source, query: HistoryQuery) -> tuple[Filter, Filter]:
    """Filter and fields of the find for a page of one source."""
    conditions = [*_since(query, "updated.lo"), *_after(query, "updated.lo")]
    narrowed = [stage["$match"] for stage in conditions]
    return ({**source.filter, "$and": narrowed} if narrowed else source.filter), _KEYS


def _since(query: HistoryQuery, field: str) -> list[Filter]:
    return [] if query.since is None else [{"$match": {field: {"$gte": query.since}}}]


def _after(query: HistoryQuery, field: str) -> list[Filter]:
    """Filter for versions behind the position, led by a bound that keeps the scan short."""
    if query.position is None:
        return []
    updated, resource_id = query.position.values
    later = {"$or": [{field: {"$lt": updated}}, {field: updated, "id": {"$lt": resource_id}}]}
    return [{"$match": {field: {"$lte": updated}}}, {"$match": later}]


def _together(found: Sequence[Source], query: HistoryQuery, *, limit: int | None = None) -> list[Filter]:
    """The stages that bring the versions of all sources together; one may come twice."""
    fields = {"_id": 0, "id": 1, "version": 1, "lo": "$updated.lo", "deleted": 1, "stale": 1}
    bound: Iterable[Filter] = [] if limit is None else [{"$limit": limit}]
    narrowed = _since(query, "updated.lo") if query.at is None else []
    parts = [
        [{"$match": source.filter}, *narrowed, *source.living, *bound, {"$project": fields}]
        for source in found
    ]
    unions = [
        {"$unionWith": {"coll": source.collection, "pipeline": part}}
        for source, part in zip(found[1:], parts[1:], strict=True)
    ]
    return [*parts[0], *unions]


def _at(found: Sequence[Source], query: HistoryQuery) -> list[Filter]:
    """Stages that leave versions that were current at some time of `at`: each ends where the next begins.

    Looks at every version before the end of the period, for the next one is not written down. What came too
    late by its source's time never was current.
    """
    if query.at is None:
        return []
    following = {"$shift": {"output": "$lo", "by": 1}}
    return [
        *_together(found, query),
        {"$match": {"lo": {"$lt": query.at.end}, "stale": {"$ne": True}}},
        {"$group": {"_id": _VERSION, "lo": {"$first": "$lo"}, "deleted": {"$first": "$deleted"}}},
        {"$project": {"_id": 0, "id": "$_id.id", "version": "$_id.version", "lo": 1, "deleted": 1}},
        {
            "$setWindowFields": {
                "partitionBy": "$id",
                "sortBy": {"version": 1},
                "output": {"until": following},
            }
        },
        {"$match": {"$or": [{"until": None}, {"until": {"$gt": query.at.start}}]}},
        {"$match": {"$or": [{"deleted": {"$ne": True}}, {"lo": {"$gte": query.at.start}}]}},
        *_since(query, "lo"),
    ]


def _created_by(document: Mapping[str, Any]) -> str | None:
    if "created_by" in document:
        return str(document["created_by"])
    return "PUT" if document["version"] == 1 and not document.get("deleted") else None
