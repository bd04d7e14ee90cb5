"""`AttachmentStore` in GridFS: `attachments.files` and `attachments.chunks`, in GridFS's own layout.

files   _id, length, chunkSize, uploadDate, filename, contentType, sha1, tenant, touched; once whole: id.
        held: until when an upload waits for a resource to refer to it
chunks  _id, files_id, n, data, tenant

A copy under way, and one condemned by the collector, has no `id`: nobody finds it, no other upload meets it,
and the collector removes it once it was not touched for an hour. So each chunk belongs to a document of
`files` at all times, whatever breaks in between. GridFS's own writer is not used: it knows neither of these
states, nor deadlines, and sends up to 48 MB at once.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId
from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from store.audit.patients import of_keys
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.files import CHUNK_BYTES, GRACE_SECONDS, AttachmentStore, Collected, File
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import CHUNKS, FILES, HISTORY, RESOURCES
from store.mongo.resources.histories import living
from store.mongo.rules.policies import Policies
from store.retention.erased_names import closed_tenant
from store.search.planning.conditions import condition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime

    from store.files import NewFile
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.search.criteria import Clause
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_CHUNKS_AT_ONCE: Final = 4
"""Chunks in one command: some 4 MB in memory, twice that while the driver encodes them."""
_REFERRING_MAX: Final = 100
"""Resources that are asked whom a file is about."""
_LOST: Final = Issue("transient", "storing the attachment took too long; send it again")
_BROKEN: Final = Issue("exception", "a stored attachment is incomplete")


class MongoAttachments(AttachmentStore):
    """The port's verbs on one database."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies | None = None,
    ) -> None:
        self._policies = policies or Policies(database, settings=settings, metrics=metrics)
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._files: Collection = durable(database, FILES)
        self._chunks: Collection = durable(database, CHUNKS)
        self._resources: Collection = durable(database, RESOURCES)
        self._history: Collection = durable(database, HISTORY)

    # --- writing

    @override
    async def put(self, tenant: Tenant, files: Sequence[NewFile]) -> None:
        for file in {file.id: file for file in files}.values():
            if not await self._touch(tenant, [file.id]):
                await self._upload(tenant, file)

    @override
    async def keep(self, tenant: Tenant, ids: Sequence[str]) -> None:
        if ids:
            await self._touch(tenant, ids)

    @override
    async def hold(self, tenant: Tenant, ids: Sequence[str], *, until: datetime) -> None:
        held = {"touched": until - timedelta(seconds=GRACE_SECONDS), "held": until}
        await self._touch(tenant, ids, {"$max": held})

    @override
    async def release(self, tenant: Tenant, ids: Sequence[str]) -> None:
        if ids:
            await self._touch(tenant, ids, {"$min": {"touched": self._clock()}, "$unset": {"held": ""}})

    async def _touch(
        self, tenant: Tenant, ids: Sequence[str], change: Mapping[str, Any] | None = None
    ) -> int:
        """Mark these files as young again, durably. Returns how many of them are there."""
        wanted = {"tenant": str(tenant), "id": {"$in": list(ids)}}
        young = change or {"$max": {"touched": self._clock()}}
        with guarded(self._metrics, "touch_file", seconds=self._seconds):
            done = await self._files.update_many(wanted, young, hint="files")
        return done.matched_count

    async def _upload(self, tenant: Tenant, file: NewFile) -> None:
        with guarded(self._metrics, "policy", seconds=self._seconds):
            if (await self._policies.of((str(tenant),)))[str(tenant)].closed:
                raise closed_tenant()
        owner, upload, now = str(tenant), ObjectId(), self._clock()
        document = {
            "_id": upload,
            "tenant": owner,
            "touched": now,
            "filename": f"{owner}/{file.id}",
            "length": file.size,
            "chunkSize": CHUNK_BYTES,
            "uploadDate": now,
            "contentType": file.content_type,
            "sha1": file.sha1,
        }
        with guarded(self._metrics, "begin_file", seconds=self._seconds):
            await self._files.insert_one(document)
        waiting: list[dict[str, Any]] = []
        for number, piece in enumerate(file.pieces()):
            waiting.append({"files_id": upload, "n": number, "data": piece, "tenant": owner})
            if len(waiting) == _CHUNKS_AT_ONCE:
                await self._send(waiting)
                waiting = []
        if waiting:
            await self._send(waiting)
        await self._finish(owner, upload, file.id)

    async def _send(self, chunks: Sequence[dict[str, Any]]) -> None:
        # Durable each time: the name that follows must never outlive them in a change of primary.
        with guarded(self._metrics, "put_chunks", seconds=self._seconds):
            await self._chunks.insert_many(chunks)

    async def _finish(self, owner: str, upload: ObjectId, file_id: str) -> None:
        """Give the copy its name; the first of two twins gets it, the other is removed."""
        named = {"$set": {"id": file_id, "touched": self._clock()}}
        with guarded(self._metrics, "finish_file", seconds=self._seconds):
            try:
                done = await self._files.update_one({"_id": upload, "tenant": owner}, named)
            except DuplicateKeyError:
                done = await self._files.update_one(
                    {"tenant": owner, "id": file_id}, {"$max": {"touched": self._clock()}}, hint="files"
                )
                await self._remove(owner, upload)
        if not done.matched_count:  # The collector took it, or its twin, away; or the tenant has left.
            with guarded(self._metrics, "finish_file", seconds=self._seconds):
                await self._remove(owner, upload)  # Pieces sent since belong to nothing that leads to them.
            raise ServiceError(Category.UNAVAILABLE, _LOST)

    async def _remove(self, owner: str, upload: object) -> None:
        """Chunks first: while the document is there, another run finds what is left of them."""
        await self._chunks.delete_many({"tenant": owner, "files_id": upload})
        await self._files.delete_one({"_id": upload, "tenant": owner})

    # --- reading

    @override
    async def find(self, tenant: Tenant, file_id: str) -> File | None:
        with guarded(self._metrics, "find_file", seconds=self._seconds):
            found = await self._files.find_one({"tenant": str(tenant), "id": file_id}, hint="files")
        return None if found is None else _file(found)

    @override
    async def is_referred_to(
        self,
        tenant: Tenant,
        file_id: str,
        *,
        types: Sequence[str],
        within: Sequence[tuple[str, Clause]] = (),
        names: Sequence[str] = (),
    ) -> bool:
        own = {name.partition("/")[0] for name in names}
        wanted: dict[str, Any] = {
            "tenant": str(tenant),
            "files": file_id,
            "type": {"$in": [*types, *(name for name, _ in within), *own]},
            "expires_at": {"$gt": self._clock()},
        }
        if within or names:
            parts = [{"type": name, "$and": [condition(clause, {})]} for name, clause in within]
            by_name = [{"_id": {"$in": [f"{tenant}/{name}" for name in names]}}] if names else []
            wanted["$or"] = [{"type": {"$in": list(types)}}, *parts, *by_name]
        with guarded(self._metrics, "is_referred_to", seconds=self._seconds):
            return await self._resources.find_one(wanted, {"_id": 1}, hint="referring") is not None

    @override
    async def is_shown(self, tenant: Tenant, file_id: str) -> bool:
        now = self._clock()
        wanted = {"tenant": str(tenant), "files": file_id, "expires_at": {"$gt": now}}
        past = [{"$match": wanted}, *living(now), {"$limit": 1}, {"$project": {"_id": 1}}]
        with guarded(self._metrics, "is_shown", seconds=self._seconds):
            if await self._resources.find_one(wanted, {"_id": 1}, hint="referring") is not None:
                return True
            return bool(await self._history.aggregate(past, hint="referring").to_list(1))

    @override
    async def patients_of(self, tenant: Tenant, file_id: str) -> tuple[str, ...]:
        wanted = {"tenant": str(tenant), "files": file_id}
        fields = {"type": 1, "id": 1, "keys": 1, "of": 1}
        found: list[Mapping[str, Any]] = []
        with guarded(self._metrics, "patients_of_file", seconds=self._seconds):
            for collection in (self._resources, self._history):
                cursor = collection.find(wanted, fields, hint="referring", limit=_REFERRING_MAX)
                found += await cursor.to_list(None)
        names = [of_keys(one["type"], one["id"], one.get("keys") or one.get("of", ())) for one in found]
        return tuple(dict.fromkeys(chain.from_iterable(names)))

    @override
    async def read(self, tenant: Tenant, file: File, *, start: int, end: int) -> AsyncIterator[bytes]:
        last = -(-end // CHUNK_BYTES)
        for first in range(start // CHUNK_BYTES, last, _CHUNKS_AT_ONCE):
            until = min(first + _CHUNKS_AT_ONCE, last)
            wanted = {"tenant": str(tenant), "files_id": file.upload, "n": {"$gte": first, "$lt": until}}
            with guarded(self._metrics, "read_chunks", seconds=self._seconds):
                cursor = self._chunks.find(wanted, {"_id": 0, "n": 1, "data": 1}, hint="chunks").sort("n", 1)
                chunks = await cursor.to_list(None)
            if [chunk["n"] for chunk in chunks] != list(range(first, until)):
                raise ServiceError(Category.FAULT, _BROKEN)
            for chunk in chunks:
                at = chunk["n"] * CHUNK_BYTES
                yield chunk["data"][max(start - at, 0) : end - at]

    # --- collecting

    @override
    async def collect(
        self, tenant: Tenant, *, now: datetime, grace: timedelta, after: object | None, limit: int
    ) -> Collected:
        owner, old = str(tenant), {"$lt": now - grace}
        wanted: dict[str, Any] = {"tenant": owner, "touched": old}
        if after is not None:
            wanted["_id"] = {"$gt": after}
        fields = {"id": 1, "length": 1}
        with guarded(self._metrics, "collect_find", seconds=self._seconds):
            cursor = self._files.find(wanted, fields, hint="uploads").sort("_id", 1).limit(limit)
            found = await cursor.to_list(None)
        deleted = freed = 0
        for one in found:
            with guarded(self._metrics, "collect_file", seconds=self._seconds):
                if "id" in one and await self._is_needed(owner, one["id"]):
                    continue
                # Who is about to refer to it has touched it before: then it stays. Else it is gone for
                # all that come later, who send it again under another `_id`.
                condemned = await self._files.update_one(
                    {"_id": one["_id"], "tenant": owner, "touched": old}, {"$unset": {"id": ""}}
                )
                if condemned.matched_count:
                    await self._remove(owner, one["_id"])
                    deleted, freed = deleted + 1, freed + one["length"]
        return Collected(len(found), deleted, freed, found[-1]["_id"] if len(found) == limit else None)

    async def _is_needed(self, owner: str, file_id: str) -> bool:
        """Whether a version refers to the file, current or past."""
        wanted = {"tenant": owner, "files": file_id}
        for collection in (self._resources, self._history):
            if await collection.find_one(wanted, {"_id": 1}, hint="referring") is not None:
                return True
        return False


def _file(document: Mapping[str, Any]) -> File:
    return File(
        id=document["id"],
        size=document["length"],
        sha1=document["sha1"],
        content_type=document["contentType"],
        stored_at=document["uploadDate"],
        upload=document["_id"],
        held="held" in document,
    )
