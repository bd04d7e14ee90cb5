"""Erasure under way: erased names, batches with exact counts, files.

The current version of a resource goes together with its past ones, so that what is left after a crash can
be found again. Only the ids of files, which nothing leads to any more by then, are kept with the run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from store.changes.kinds import Kind
from store.mongo.indexes import (
    CHUNKS,
    DEAD_LETTER_BODIES,
    DEAD_LETTERS,
    FILES,
    FORGOTTEN_FILES,
    HISTORY,
    IDEMPOTENCY,
    RESOURCES,
)
from store.mongo.retention.departures import Departure, note
from store.retention.erased_names import KEY, OWN, PATIENT, Name
from store.retention.policy import after
from store.retention.runs import Batch, Reason, Row
from store.retention.sweep import HoldPlaced

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from store.mongo.driver.client import Database, Session
    from store.mongo.erasure.belongings import Belongings, Item
    from store.mongo.retention.lease import Lease
    from store.mongo.retention.runs import Runs
    from store.mongo.rules.erased_names import ErasedNames
    from store.retention.erasure import Demand, KnownAs
    from store.retention.holds import Holds
    from store.retention.policy import PolicyStore
    from store.retention.runs import Run
    from store.retention.subjects import Subject

BATCH: Final = 200
"""Documents deleted in one transaction, and not many more."""


@dataclass(frozen=True, slots=True)
class ErasureTools:
    """Collaborators of all erasures on one database."""

    database: Database
    erasures: ErasedNames
    holds: Holds
    policies: PolicyStore
    runs: Runs
    clock: Callable[[], datetime]
    wait_seconds: float
    """Time until every replica knows that a tenant forgets."""
    late_seconds: float
    """Time until what was being stored when the names were placed is there."""


class ErasureRun:
    """The batches of one run."""

    def __init__(self, tools: ErasureTools, demand: Demand, group: str, lease: Lease, run: Run) -> None:
        self._tools = tools
        self._tenant = demand.tenant
        self._subject = demand.subject
        self._group = group
        self._lease = lease
        self._run = run
        position = run.position or {}
        self._files: set[str] = set(position.get("files", ()))
        self._since: datetime = position.get("since") or tools.clock()
        self._counted_held: bool = position.get("held", False)
        """An attempt before this one counted what is held."""
        self._held: set[str] = set()
        self.has_begun = False
        """Whether something was deleted, or was about to be."""
        self.names_placed_at = inf
        """Moment, on the monotonic clock, at which the erased names were placed first."""
        self._placed = 0
        """Number of holds placed before it was looked what is held."""
        self._policy = 0

    # --- what stays

    async def skip(self, items: Sequence[Item]) -> None:
        """Count resources that a hold keeps from this erasure, each once."""
        new = [one for one in items if one.id not in self._held]
        self._held |= {one.id for one in new}
        if not new or self._counted_held:
            return
        counts = Counter(self._row(one.type, Reason.HELD) for one in new)
        await self._tools.runs.batch(
            self._lease, self._run, lambda _: _done(Batch({}, counts, self._position()))
        )

    async def _held_among(self, found: Belongings) -> set[str]:
        """The `_id`s of what is held, and of current ones that those refer to."""
        everything = found.everything()
        documents = [
            {"_id": one.id, "type": one.type, "id": one.name.partition("/")[2], "keys": list(one.keys)}
            for one in everything.values()
        ]
        held = set(await self._tools.holds.held(self._tenant, documents, self._tools.clock()))
        by_name = {one.name: one.id for one in (*found.current.values(), *found.patients.values())}
        step = set(held)
        while step:
            step = {by_name[to] for one in step for to in everything[one].refers if to in by_name} - held
            held |= step
        return held

    # --- what goes

    async def delete(
        self, found: Belongings, letters: Sequence[str], answers: Sequence[str], *, placed: int, first: bool
    ) -> int:
        """Delete what was found; how many documents went.

        `placed`: number of holds before it was looked whether all is held. Raises HoldPlaced when there are
        more by now: then it must be found anew.
        """
        self._placed, self.has_begun = placed, True
        everything = found.everything()
        held = await self._held_among(found)
        await self.skip([everything[one] for one in sorted(held)])
        going = [one for one in everything.values() if one.id not in held]
        await self._place_erased_names(found, going)
        if first:  # What was written before each replica knew of them is found in the next round.
            await asyncio.sleep(self._tools.wait_seconds)
        deleted = 0
        for some in _cut(letters):
            deleted += await self._delete_letters(some)
        for some in _cut(answers):
            deleted += await self._delete_answers(some)
        for items in _together(going, found.own):
            deleted += await self._delete_items(items)
        return deleted

    async def _place_erased_names(self, found: Belongings, going: Sequence[Item]) -> None:
        retention = await self._tools.policies.retention(self._tenant)
        self._policy = retention.policy.version
        now = self._tools.clock()
        names = found.own.names | {name_of(self._subject)} | _own_names(going)
        until = after(now, retention.policy.erasure_days)
        await self._tools.erasures.place(self._tenant, names, group=self._group, now=now, until=until)
        self.names_placed_at = min(self.names_placed_at, monotonic())

    async def _delete_items(self, items: Sequence[Item]) -> int:
        """Each only as it was seen; how many went."""
        self._files |= {file for one in items for file in one.files}
        alike: dict[tuple[str, str, Reason], list[Item]] = {}
        for one in items:
            reason = Reason.WITH_RESOURCE if one.past else Reason.DELETED if one.gone else Reason.ERASURE
            alike.setdefault((HISTORY if one.past else RESOURCES, one.type, reason), []).append(one)

        async def work(session: Session) -> Batch:
            counts: Counter[Row] = Counter()
            for (collection, resource_type, reason), those in alike.items():
                same = {"$or": [{"_id": one.id, "version": one.version} for one in those]}
                done = await self._tools.database[collection].delete_many(same, session=session)
                counts[self._row(resource_type, reason)] += done.deleted_count
            await note(
                self._tools.database,
                str(self._tenant),
                [_departure(one) for one in items if not one.past],
                Kind.ERASED,
                now=self._tools.clock(),
                session=session,
            )
            return Batch(counts, {}, self._position())

        return await self._batch(work)

    async def _delete_letters(self, ids: Sequence[str]) -> int:
        async def work(session: Session) -> Batch:
            database, some = self._tools.database, {"$in": list(ids)}
            done = await database[DEAD_LETTERS].delete_many({"_id": some}, session=session)
            await database[DEAD_LETTER_BODIES].delete_many({"letter": some}, session=session)
            return Batch({self._row("", Reason.DEAD_LETTER): done.deleted_count})

        return await self._batch(work)

    async def _delete_answers(self, ids: Sequence[str]) -> int:
        async def work(session: Session) -> Batch:
            wanted = {"_id": {"$in": list(ids)}}
            done = await self._tools.database[IDEMPOTENCY].delete_many(wanted, session=session)
            return Batch({self._row("", Reason.ERASURE): done.deleted_count})

        return await self._batch(work)

    async def delete_files(self) -> None:
        """Delete the files that what went referred to, unless anything else does.

        One that was touched since the run began is being pushed by somebody else, about somebody else.
        """
        for file in sorted(self._files):
            await self._delete_file(file)

    async def _delete_file(self, file: str) -> None:
        owner, database = str(self._tenant), self._tools.database

        async def work(session: Session) -> Batch:
            referring = {"tenant": owner, "files": file}
            for name in (RESOURCES, HISTORY):
                if await database[name].count_documents(referring, limit=1, session=session):
                    return Batch({})
            wanted = {"tenant": owner, "id": file}
            found = await database[FILES].find(wanted, {"touched": 1}, session=session).to_list(None)
            copies = [copy for copy in found if copy["touched"] <= self._since]
            if len(copies) < len(found):  # The sweep looks after it when nobody pushes it any more.
                note = {"_id": f"{owner}/{file}", **wanted}
                await database[FORGOTTEN_FILES].replace_one(
                    {"_id": note["_id"]}, note, upsert=True, session=session
                )
            for copy in copies:
                pieces = {"tenant": owner, "files_id": copy["_id"]}
                await database[CHUNKS].delete_many(pieces, session=session)
                await database[FILES].delete_one({"_id": copy["_id"]}, session=session)
            return Batch({self._row("", Reason.FILE): len(copies)})

        await self._batch(work)

    async def _batch(self, work: Callable[[Session], Awaitable[Batch]]) -> int:
        async def unless_held(session: Session) -> Batch:
            if await self._tools.holds.placed(session) != self._placed:
                raise HoldPlaced
            return await work(session)

        done = await self._tools.runs.batch(self._lease, self._run, unless_held)
        return sum(done.deleted.values())

    def _row(self, resource_type: str, reason: Reason) -> Row:
        return Row(str(self._tenant), self._policy, resource_type, reason.value)

    def _position(self) -> dict[str, Any]:
        held = self._counted_held or bool(self._held)
        return {"files": sorted(self._files), "since": self._since, "held": held}


def _departure(item: Item) -> Departure:
    return Departure(item.id, item.type, item.name.partition("/")[2], item.version)


async def _done(batch: Batch) -> Batch:
    return batch


def _together(items: Iterable[Item], own: KnownAs) -> Iterator[list[Item]]:
    """All of one resource in one batch; what leads to others goes after them, the Patients last."""
    by_name: dict[str, list[Item]] = {}
    for one in items:
        by_name.setdefault(one.name, []).append(one)
    keys = set(own.keys)

    def turn(name: str) -> tuple[bool, bool, bool, int, str]:
        named = any(not keys.isdisjoint(one.keys) for one in by_name[name])
        depth = max(one.depth for one in by_name[name])
        # What tells of others first; of what others lead to, the farthest first.
        return name.startswith("Patient/"), named, depth > 0, -depth, name

    batch: list[Item] = []
    for name in sorted(by_name, key=turn):
        batch += by_name[name]
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _cut(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]


# --- names


def name_of(subject: Subject) -> Name:
    """Name by which a subject is known."""
    return Name(PATIENT, subject.identifier) if subject.identifier else Name(KEY, subject.reference)


def names_of(found: Belongings) -> set[Name]:
    """Names by which other documents may mention the resources being erased."""
    return found.own.names | {Name(KEY, one.name) for one in found.everything().values()}


def _own_names(going: Sequence[Item]) -> set[Name]:
    """Names under which each of these could come again; a resource that stays, about another patient, may."""
    names = {Name(KEY, one.name) for one in going if not one.past}
    own = ((one.type, spelling) for one in going for spelling in one.identifiers if one.type != "Patient")
    return names | {Name(OWN, f"{resource_type} {spelling}") for resource_type, spelling in own}
