"""The port of `dod verify-data` on one database: plain walks along `_id`, by majority reads."""

from __future__ import annotations

from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId
from typing_extensions import override

from store import verifying
from store.mongo.documents import search_side
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import CHUNKS, FILES, HISTORY, RESOURCES
from store.resources.resource_keys import ResourceKey
from store.search.index import INDEX_VERSION
from store.verifying import StoredFile, StoredVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.search.index import Indexed
    from store.settings import StoreSettings
    from store.tenancy import Tenant

BYTES_MAX: Final = 32_000_000
"""Bytes of contents given out together, unless one alone has more."""
_BEHIND_SLASH: Final = chr(ord("/") + 1)


class MongoVerifying(verifying.Verifying):
    """The port's verbs."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._resources: Collection = majority(database, RESOURCES)
        self._history: Collection = majority(database, HISTORY)
        self._files: Collection = majority(database, FILES)
        self._chunks: Collection = majority(database, CHUNKS)
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics

    @override
    async def current(self, tenant: Tenant, *, after: str, limit: int) -> list[StoredVersion]:
        return await self._walk(self._resources, tenant, after, limit)

    @override
    async def past(self, tenant: Tenant, *, after: str, limit: int) -> list[StoredVersion]:
        return await self._walk(self._history, tenant, after, limit)

    async def _walk(
        self, collection: Collection, tenant: Tenant, after: str, limit: int
    ) -> list[StoredVersion]:
        """Documents that must have content, by the tenant's range of `_id`: all but tombstones."""
        behind = {"_id": {"$gt": after or f"{tenant}/", "$lt": f"{tenant}{_BEHIND_SLASH}"}}
        with guarded(self._metrics, "verify", seconds=self._seconds):
            cursor = collection.find({**behind, "type": {"$exists": True}, "deleted": {"$ne": True}})
            found, size = list[StoredVersion](), 0
            async for document in cursor.sort("_id", 1).hint("_id_").limit(limit):
                found.append(_version(document))
                size += len(document.get("raw", b""))
                if size > BYTES_MAX:
                    break
            await cursor.close()
        return found

    @override
    async def files(self, tenant: Tenant, *, after: str, limit: int) -> list[StoredFile]:
        wanted: dict[str, Any] = {"tenant": str(tenant), "id": {"$exists": True}}
        if after:
            wanted["_id"] = {"$gt": ObjectId(after)}
        with guarded(self._metrics, "verify", seconds=self._seconds):
            heads = await self._files.find(wanted).sort("_id", 1).limit(limit).to_list(None)
        return [await self._file(str(tenant), head) for head in heads]

    async def _file(self, owner: str, head: Mapping[str, Any]) -> StoredFile:
        content, length, number = sha1(usedforsecurity=False), 0, 0
        while True:
            wanted = {"tenant": owner, "files_id": head["_id"], "n": number}
            with guarded(self._metrics, "verify", seconds=self._seconds):
                piece = await self._chunks.find_one(wanted, {"data": 1}, hint="chunks")
            if piece is None:
                break
            content.update(piece["data"])
            length += len(piece["data"])
            number += 1
        return StoredFile(str(head["_id"]), head["sha1"], head["length"], content.digest(), length)


def _version(document: Mapping[str, Any]) -> StoredVersion:
    return StoredVersion(
        document["_id"],
        ResourceKey(document["type"], document["id"]),
        document["version"],
        document.get("raw", b""),
        document.get("digest"),
        document.get("index_version") == INDEX_VERSION and "index" in document,
        partial(_agrees, document),
    )


def _agrees(document: Mapping[str, Any], indexed: Indexed) -> bool:
    """Whether a document has this search side, but for the entries of its identity."""
    side = search_side(indexed)
    own = set((document.get("identity") or {}).get("keys", ()))
    stored = {**document, "keys": [one for one in document["keys"] if one not in own]}
    made = {**side, "keys": [one for one in side["keys"] if one not in own]}
    return all(_plain(stored.get(name)) == _plain(value) for name, value in made.items()) and (
        "inside" in side or "inside" not in document
    )


def _plain(value: Any) -> Any:  # noqa: ANN401 -- anything that BSON has
    """A value as it comes back from BSON: sequences as lists."""
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
