"""Answers kept before what they tell of is done: creates with an `Idempotency-Key`, many in one write.

The announcement binds the key to one request and to one id that nothing else has. Whoever sends the same
again, or meanwhile, creates under that id, where only the first one does; so a crash in between loses nothing
and doubles nothing. What is known to be there is marked: it may be deleted, or expire, before the key does.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo.errors import BulkWriteError, DuplicateKeyError
from pymongo.write_concern import WriteConcern
from typing_extensions import override

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.group_commit import GroupCommit
from store.mongo.driver.guard import guarded
from store.mongo.indexes import IDEMPOTENCY
from store.mongo.resources.answers import OVERHEAD_BYTES, document_of, id_of, remembered
from store.mongo.resources.write_decision import DUPLICATE_KEY, write_of
from store.resources.resources import AnnouncedCreates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.mongo.driver.client import Collection, Database
    from store.mongo.resources.write_decision import Write
    from store.mongo.rules.erased_names import ErasedNames
    from store.mongo.rules.policies import Policies
    from store.resources.answers import Remembered, Slot
    from store.resources.versions import Prepared
    from store.retention.policy import Policy
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_ATTEMPTS_MAX: Final = 20
_PAUSE_SECONDS: Final = 0.01
_MARK_SECONDS: Final = 0.1
"""Time in which fulfilled announcements are gathered, to be marked in one write."""
_BUSY: Final = Issue("conflict", "the same request is under way all the while; try again")


class _Word(NamedTuple):
    """Announcement of a create."""

    number: int
    slot: Slot
    answered: Remembered
    write: Write
    """Create that is announced."""

    @property
    def id(self) -> str:
        """`_id` of its document."""
        return id_of(self.write.tenant, self.slot)


class Announcements(AnnouncedCreates):
    """The documents of `idempotency` that are written before their resources."""

    def __init__(  # noqa: PLR0913 (all but the first keyword-only)
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
        erasures: ErasedNames,
        pulse: Pulse | None,
    ) -> None:
        self._answers: Collection = durable(database, IDEMPOTENCY)
        self._marks: Collection = database[IDEMPOTENCY].with_options(write_concern=WriteConcern(1))
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._policies = policies
        self._erasures = erasures
        self._pulse = pulse
        self._fulfilled: set[str] = set()
        self._marking: asyncio.Task[None] | None = None
        self._numbers = count()
        # Twins may go together: which of them was first says the write.
        self._commits: GroupCommit[_Word, Remembered] = GroupCommit(
            self._commit,
            same=lambda word: str(word.number),
            size=lambda word: len(word.answered.body) + OVERHEAD_BYTES,
            settings=settings,
        )

    @override
    async def announce(
        self, tenant: Tenant, slot: Slot, answered: Remembered, prepared: Prepared
    ) -> Remembered:
        if self._pulse is not None:
            self._pulse.check()
        word = _Word(next(self._numbers), slot, answered, write_of(tenant, prepared))
        [kept] = await self._commits.submit([word])
        return kept

    @override
    def fulfil(self, tenant: Tenant, slot: Slot) -> None:
        self._fulfilled.add(id_of(tenant, slot))
        if self._marking is None:
            self._marking = detached(self._mark())

    @override
    async def withdraw(self, tenant: Tenant, slot: Slot) -> None:
        with guarded(self._metrics, "withdraw", seconds=self._seconds):
            await self._answers.delete_one({"_id": id_of(tenant, slot), "done": False})

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._commits.drain()
        if self._marking is not None:
            await self._marking

    async def _mark(self) -> None:
        """Mark the announcements fulfilled of late, in one write; without its mark the next one looks at the
        resource.
        """
        await asyncio.sleep(_MARK_SECONDS)
        ids, self._fulfilled, self._marking = list(self._fulfilled), set(), None
        with suppress(ServiceError), guarded(self._metrics, "fulfil", seconds=self._seconds):
            await self._marks.update_many({"_id": {"$in": ids}, "done": False}, {"$set": {"done": True}})

    async def _commit(self, words: Sequence[_Word]) -> list[Remembered | ServiceError]:
        """Answer kept for each: its own, or the one that was there."""
        with guarded(self._metrics, "announce", seconds=self._seconds):
            # What will be refused must not use up its key.
            refused = await self._erasures.refuse([word.write for word in words])
            left = [word for word in words if word.write.id not in refused]
            policies = await self._policies.of(str(word.write.tenant) for word in left)
            now = self._clock()
            placing = [_until(word, policies[str(word.write.tenant)].policy, now) for word in left]
            met = await self._place(placing) if placing else {}
        kept = {word.number: word.answered for word in placing} | met
        return [refused.get(word.write.id) or kept[word.number] for word in words]

    async def _place(self, words: Sequence[_Word]) -> dict[int, Remembered | ServiceError]:
        """Answers that stand in the place of announcements, by number; an announcement that found room is
        left out.
        """
        try:
            await self._answers.insert_many([_document(word) for word in words], ordered=False)
        except BulkWriteError as error:
            errors = error.details["writeErrors"]
            if error.details.get("writeConcernErrors") or any(e["code"] != DUPLICATE_KEY for e in errors):
                raise
            return await self._taken([words[one["index"]] for one in errors])
        return {}

    async def _taken(self, words: Sequence[_Word]) -> dict[int, Remembered | ServiceError]:
        """Answers that were given before under the ids of these words, by the number of the word.

        One that has expired, or was announced and never given, makes room for the word; `conflict` for a word
        whose place stays taken.
        """
        met: dict[int, Remembered | ServiceError] = {}
        left = list(words)
        for _ in range(_ATTEMPTS_MAX):
            now = self._clock()
            wanted = {"_id": {"$in": sorted({word.id for word in left})}}
            there = {one["_id"]: one async for one in self._answers.find(wanted)}
            again: list[_Word] = []
            for word in left:
                one = there.get(word.id)
                if one is not None and "status" in one and one["expires_at"] > now:
                    met[word.number] = remembered(one)
                elif not await self._placed(word, now):
                    again.append(word)
            if not again:
                return met
            left = again
            await asyncio.sleep(_PAUSE_SECONDS)  # Until what is there is durable, or gone.
        return met | {word.number: ServiceError(Category.CONFLICT, _BUSY) for word in left}

    async def _placed(self, word: _Word, now: datetime) -> bool:
        """Whether it took the place of what counts no more; else somebody was faster."""
        room = {"_id": word.id, "$or": [{"expires_at": {"$lte": now}}, {"status": {"$exists": False}}]}
        try:
            await self._answers.replace_one(room, _document(word), upsert=True)
        except DuplicateKeyError:
            return False
        return True


def _until(word: _Word, policy: Policy, now: datetime) -> _Word:
    """The announcement, remembered no longer than its tenant's policy says."""
    until = policy.answers_until(word.answered.until, now)
    return word._replace(answered=replace(word.answered, until=until))


def _document(word: _Word) -> dict[str, Any]:
    return {"_id": word.id, **document_of(word.write.tenant, word.answered)}
