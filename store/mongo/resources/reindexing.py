"""Resources that an older `INDEX_VERSION` indexed: found by walking the `_id`s, brought up one by one.

There is no index on `index_version`: every push would pay for it, and only an operator's job asks. Several
of these jobs, and the service, may write at once: a search side is replaced only where version, content and
the old `index_version` are still those it was made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import bson
from pymongo import UpdateOne
from typing_extensions import override

from store.mongo.documents import DOCUMENT_BYTES_MAX, search_side
from store.mongo.driver.client import DURABLE, majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import RESOURCES
from store.resources import resources
from store.resources.pages import Outdated, OutdatedBatch, Reindexed
from store.resources.resource_keys import ResourceKey
from store.search.index import INDEX_VERSION
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.search.index import Indexed
    from store.settings import StoreSettings
    from store.tenancy import Tenant

BYTES_MAX: Final = 32_000_000
"""Bytes of resources given out together, unless one alone has more: the caller holds them in memory."""
_BEHIND_SLASH: Final = chr(ord("/") + 1)
_HEAD: Final = {"type": 1, "index_version": 1, "bytes": {"$binarySize": "$raw"}}
_FIELDS: Final = {"type": 1, "id": 1, "version": 1, "digest": 1, "index_version": 1, "raw": 1}


class MongoReindexing(resources.Reindexing):
    """The reindexing verbs of the port."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._read: Collection = majority(database, RESOURCES)
        self._write: Collection = database[RESOURCES].with_options(write_concern=DURABLE)
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics

    @override
    async def outdated(self, tenant: Tenant, *, after: str | None, limit: int) -> OutdatedBatch:
        walk: list[Mapping[str, Any]] = [
            {"$match": {"_id": {"$gt": after or f"{tenant}/", "$lt": f"{tenant}{_BEHIND_SLASH}"}}},
            {"$sort": {"_id": 1}},
            {"$limit": limit},
            {"$project": _HEAD},
        ]
        with guarded(self._metrics, "outdated", seconds=self._seconds):
            heads = await self._read.aggregate(walk, hint="_id_").to_list(None)
            wanted, examined = _within_bytes(heads)
            found = (
                await self._read.find(
                    # Since the walk one may have been deleted, or brought up by somebody else.
                    {"_id": {"$in": wanted}, "type": {"$exists": True}, **_OLDER},
                    _FIELDS,
                    sort=[("_id", 1)],
                    hint="_id_",
                ).to_list(None)
                if wanted
                else []
            )
        done = examined == len(heads) < limit
        return OutdatedBatch(
            examined, tuple(map(_outdated, found)), None if done else heads[examined - 1]["_id"]
        )

    @override
    async def reindex(self, tenant: Tenant, indexed: Sequence[tuple[Outdated, Indexed]]) -> Reindexed:
        operations, too_large = [], []
        for outdated, new in indexed:
            side = search_side(new)
            if len(outdated.raw) + len(bson.encode(side)) > DOCUMENT_BYTES_MAX:
                too_large.append(outdated.key)
            else:
                operations.append(UpdateOne(_unchanged(tenant, outdated), _replacing(side)))
        if not operations:
            return Reindexed(0, tuple(too_large))
        with guarded(self._metrics, "reindex", seconds=self._seconds):
            result = await self._write.bulk_write(operations, ordered=False)
        return Reindexed(result.matched_count, tuple(too_large))


def _replacing(side: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The update: entries of the index that tell who a resource is are no search parameter's, and stay."""
    own = {"$ifNull": ["$identity.keys", []]}
    literal = {name: {"$literal": value} for name, value in side.items()}
    fields = {**literal, "keys": {"$concatArrays": [{"$literal": side["keys"]}, own]}}
    gone: list[Mapping[str, Any]] = [] if "inside" in side else [{"$unset": "inside"}]
    return [{"$set": fields}, *gone]


# A newer one is left alone: while releases change, an older command must not undo what a newer one did.
_OLDER: Final[Mapping[str, Any]] = {
    "$or": [{"index_version": {"$lt": INDEX_VERSION}}, {"index_version": None}]
}


def _is_outdated(head: Mapping[str, Any]) -> bool:
    """Whether an older release indexed a document; a tombstone, which has no type, has nothing to be found
    by.
    """
    version = head.get("index_version")
    return "type" in head and (version is None or version < INDEX_VERSION)


def _within_bytes(heads: Sequence[Mapping[str, Any]]) -> tuple[list[str], int]:
    """The ids to give out, and how many heads that takes."""
    wanted: list[str] = []
    together = 0
    for number, head in enumerate(heads):
        if not _is_outdated(head):
            continue
        together += head["bytes"] or 0
        if wanted and together > BYTES_MAX:
            return wanted, number
        wanted.append(head["_id"])
    return wanted, len(heads)


def _outdated(document: Mapping[str, Any]) -> Outdated:
    key = ResourceKey(document["type"], document["id"])
    return Outdated(
        key, document["version"], document["raw"], document["digest"], document.get("index_version")
    )


def _unchanged(tenant: Tenant, outdated: Outdated) -> dict[str, Any]:
    """Still what it was. The digest too: what expired and was swept away may have come back as version 1."""
    return {
        "_id": document_id(str(tenant), *outdated.key),
        "version": outdated.version,
        "digest": outdated.digest,
        "index_version": outdated.index_version,
    }
