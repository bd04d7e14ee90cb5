"""Giving disk back: what is deleted leaves holes in MongoDB's files, which `compact` closes.

https://www.mongodb.com/docs/manual/reference/command/compact/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.mongo.driver.guard import guarded
from store.mongo.indexes import (
    AUDIT,
    CHUNKS,
    DEAD_LETTER_BODIES,
    DEAD_LETTERS,
    FILES,
    FORGOTTEN_FILES,
    HISTORY,
    IDEMPOTENCY,
    RESOURCES,
)
from store.retention.sweeping import Compacted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database

COLLECTIONS: Final = (
    RESOURCES,
    HISTORY,
    FILES,
    CHUNKS,
    DEAD_LETTERS,
    DEAD_LETTER_BODIES,
    IDEMPOTENCY,
    FORGOTTEN_FILES,
    AUDIT,
)
"""Collections that documents are deleted from, the large ones first."""
SECONDS_MAX: Final = 6 * 3_600
"""Deadline for one collection."""


async def compact(database: Database, *, metrics: StoreMetrics) -> AsyncIterator[Compacted]:
    """Compact one collection after the other.

    It works on the member it is sent to, here the primary (`force`), beside reads and writes; another member
    is reached by a URI with `directConnection=true`.
    """
    there = set(await database.list_collection_names())
    for name in COLLECTIONS:
        if name in there:
            with guarded(metrics, "compact", seconds=SECONDS_MAX):
                before = await _size(database, name)
                await database.command("compact", name, force=True)
                yield Compacted(name, before, await _size(database, name))


async def _size(database: Database, name: str) -> int:
    stats = await database.command("collStats", name)
    return int(stats["storageSize"]) + int(stats["totalIndexSize"])
