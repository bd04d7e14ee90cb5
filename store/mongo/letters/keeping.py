"""Refusals on their way into the letters: many in one write, each a new letter or an open one again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pymongo import ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from store.mongo.driver.client import durable
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import guarded
from store.mongo.indexes import DEAD_LETTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.settings import StoreSettings


class KeptRefusal(NamedTuple):
    """Refusal on its way: the open letter that it may be already, how that changes, the letter it makes."""

    same: Mapping[str, Any]
    again: Mapping[str, Any]
    kept: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the letter: two refusals of one name are one letter, and go one after the other."""
        return f"{self.same['tenant']} {self.same['digest']}"

    @property
    def size(self) -> int:
        """Bytes of the body in the letter; pieces are written before."""
        return len(self.kept["body"] or b"")

    @property
    def change(self) -> dict[str, Any]:
        """Update that makes the letter, or counts the refusal in the one that is there."""
        return {**self.again, "$setOnInsert": self.kept}


class Keeping:
    """Group commits of refusals. `submit` gives the id of the letter that each is, or became."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._letters: Collection = durable(database, DEAD_LETTERS)
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics
        self._commits: GroupCommit[KeptRefusal, str] = GroupCommit(
            self._commit, same=lambda one: one.name, size=lambda one: one.size, settings=settings
        )

    async def submit(self, work: KeptRefusal) -> str:
        """Id of the letter."""
        [done] = await self._commits.submit([work])
        return done

    async def drain(self) -> None:
        """Wait for the group commits under way."""
        await self._commits.drain()

    async def _commit(self, works: Sequence[KeptRefusal]) -> list[str]:
        """The ids of the letters that these are, or became."""
        with guarded(self._metrics, "keep_dead_letter", seconds=self._seconds):
            ids = await self._upsert_together(works) if len(works) > 1 else {}
            for number, work in enumerate(works):
                if number not in ids:
                    ids[number] = await self._upsert(work)
        return [ids[number] for number in range(len(works))]

    async def _upsert_together(self, works: Sequence[KeptRefusal]) -> dict[int, str]:
        """Ids by number, in one write; a work is left out where somebody else kept, or closed, its letter
        meanwhile.
        """
        operations = [UpdateOne(one.same, one.change, upsert=True) for one in works]
        try:
            done: Mapping[str, Any] = (
                await self._letters.bulk_write(operations, ordered=False)
            ).bulk_api_result
        except BulkWriteError as error:
            if error.details.get("writeConcernErrors"):
                raise
            done = error.details
        ids = {one["index"]: str(one["_id"]) for one in done["upserted"]}
        failed = {error["index"] for error in done["writeErrors"]}
        old = {n: one.same for n, one in enumerate(works) if n not in ids and n not in failed}
        if old:
            found = await self._letters.find({"$or": list(old.values())}, {"tenant": 1, "digest": 1}).to_list(
                None
            )
            named = {(one["tenant"], one["digest"]): str(one["_id"]) for one in found}
            names = {number: (same["tenant"], same["digest"]) for number, same in old.items()}
            ids |= {number: named[name] for number, name in names.items() if name in named}
        return ids

    async def _upsert(self, work: KeptRefusal) -> str:
        try:
            return await self._upsert_once(work)
        except DuplicateKeyError:  # A twin came first; it is there now.
            return await self._upsert_once(work)

    async def _upsert_once(self, work: KeptRefusal) -> str:
        document = await self._letters.find_one_and_update(
            work.same, work.change, {"_id": 1}, upsert=True, return_document=ReturnDocument.AFTER
        )
        return str(document["_id"])
