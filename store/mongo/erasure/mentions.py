"""Mentions of a patient in bodies that were never taken apart: refused pushes, and remembered answers."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

from store.mongo.driver.client import durable, majority
from store.mongo.driver.guard import guarded
from store.mongo.erasure.reads import SCAN_BATCH
from store.mongo.indexes import DEAD_LETTER_BODIES, DEAD_LETTERS, IDEMPOTENCY
from store.mongo.letters.bodies import Bodies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.erasure.reads import Heartbeat
    from store.retention.erasure import Wanted
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_LETTERS: Final = 20
"""Letters read at once: their bodies come along."""
_READ_SECONDS: Final = 300.0
"""Deadline of a batch: it is read from disk, and nobody waits at a screen."""


class Mentions:
    """Reads all of a tenant's letters and answers."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._letters: Collection = majority(database, DEAD_LETTERS)
        self._bodies = Bodies(database)
        self._pieces: Collection = durable(database, DEAD_LETTER_BODIES)
        self._answers: Collection = majority(database, IDEMPOTENCY)
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics

    async def letters(self, tenant: Tenant, wanted: Wanted, heartbeat: Heartbeat) -> list[str]:
        """The ids of the letters that are about the patient."""
        fields = {"body": 1, "pieces": 1, "set": 1, "path": 1, "headers": 1}
        cursor = self._letters.find({"tenant": str(tenant)}, fields, hint="newest", batch_size=_LETTERS)
        found: list[str] = []
        async for batch in self._batches(cursor, _LETTERS):
            await heartbeat()
            for one in batch:
                body = await self._body(tenant, one)
                if await asyncio.to_thread(wanted.in_letter, body, one["path"], one["headers"]):
                    found.append(one["_id"])
        return found

    async def _body(self, tenant: Tenant, letter: Mapping[str, Any]) -> bytes:
        with guarded(self._metrics, "erasure_read", seconds=self._seconds):
            packed = await self._bodies.packed(tenant, letter)
        return await asyncio.to_thread(_unpacked, packed) if packed else b""

    async def strays(self, tenant: Tenant) -> frozenset[str]:
        """The ids of pieces of bodies that no letter names: a crash came in between, or the letter is on its
        way.
        """
        fields = {"letter": 1, "set": 1}
        with guarded(self._metrics, "stray_pieces", seconds=max(self._seconds, _READ_SECONDS)):
            cursor = self._pieces.find({"tenant": str(tenant)}, fields, hint="overdue")
            pieces = await cursor.to_list(None)
            named = {"_id": {"$in": sorted({one["letter"] for one in pieces})}}
            letters = await self._letters.find(named, {"set": 1}).to_list(None)
        sets = {one["_id"]: one["set"] for one in letters}
        return frozenset(one["_id"] for one in pieces if sets.get(one["letter"]) != one["set"])

    async def drop(self, pieces: Iterable[str]) -> None:
        """Delete pieces."""
        with guarded(self._metrics, "drop_pieces", seconds=self._seconds):
            await self._pieces.delete_many({"_id": {"$in": sorted(pieces)}})

    async def answers(self, tenant: Tenant, wanted: Wanted, heartbeat: Heartbeat) -> list[str]:
        """Ids of remembered answers that mention a resource being erased."""
        of_tenant = {"_id": {"$gt": f"{tenant}/", "$lt": f"{tenant}0"}}  # `0` comes after `/`.
        fields = {"body": 1, "headers": 1, "shown": 1}
        cursor = self._answers.find(of_tenant, fields, hint="_id_", batch_size=SCAN_BATCH)
        found: list[str] = []
        async for batch in self._batches(cursor, SCAN_BATCH):
            await heartbeat()
            for one in batch:
                shown = [f"{name['type']}/{name['id']}" for name in one.get("shown", ())]
                if wanted.in_answer(one.get("body") or b"", one.get("headers", ()), shown):
                    found.append(one["_id"])
        return found

    async def _batches(self, cursor: Any, size: int) -> AsyncIterator[list[Mapping[str, Any]]]:  # noqa: ANN401 -- Motor's
        try:
            while True:
                with guarded(self._metrics, "erasure_read", seconds=max(self._seconds, _READ_SECONDS)):
                    batch = await cursor.to_list(size)
                if not batch:
                    return
                yield batch
        finally:
            await cursor.close()


def _unpacked(packed: bytes) -> bytes:
    try:
        return zlib.decompress(packed)
    except zlib.error:
        return packed
