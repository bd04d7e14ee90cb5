"""Message carried into the store by one plan or another, and looked at again behind its write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.messages.completion import Completed, completed, is_lost_merge
from ingest.messages.conditions import conditions_of, is_overtaken
from ingest.messages.execution import (
    Executed,
    came_back,
    execute,
    is_open,
    link_again,
    made_by,
    withdraw,
    without_lost,
    written_by,
)
from ingest.messages.prepared_entries import PreparedEntries, prepared_entries
from ingest.messages.twins import look_after
from ingest.messages.union import add_late_numbers, united
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.versions import NEWER_BY_NOW
from store.retrying import pause_before

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ingest.messages.candidates import Seen
    from ingest.messages.message import Message
    from ingest.messages.planning import Planner
    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.decisions import Planned
    from ingest.writes.push_context import PushContext
    from store.files import NewFile
    from store.resources.resources import ResourceStore, StoreInTransaction

    Decide = Callable[[Planner], Awaitable[tuple[Planned | None, Seen]]]

_DECISIONS_MAX: Final = 4
"""Looks behind a write; each further one takes another sender who was faster."""
_ATTEMPTS_MAX: Final = 24
"""Attempts to write a plan while others change what it found, or what its entries were completed by.

Of twenty senders of one patient's news at once the last may be overtaken by each of the others.
"""
_CHANGING: Final = Issue(
    "conflict", "what the message leaves unsaid kept changing in the store; send it again"
)
_OVERTAKEN: Final = Issue(
    "transient", "records that the message was found to mean kept becoming others'; send it again shortly"
)


class Done(NamedTuple):
    """A plan that was carried out."""

    planned: Planned
    seen: Seen
    """The candidates upon which it was decided."""
    executed: Executed


class _Again(NamedTuple):
    """Another plan that was carried out."""

    done: Done
    amended: frozenset[str]
    """Ids of reports that another message has amended meanwhile, and that stay."""


async def _again(
    seen: Seen, mine: frozenset[str], made: frozenset[str], wrote: frozenset[str], planning: Planner
) -> tuple[Planned | None, Seen]:
    return await planning.plan_again(seen, mine, made, wrote)


def _differs(again: Planned, planned: Planned, seen: Seen, done: Executed) -> bool:
    """Whether another plan leaves something to write."""
    return again.keys != planned.keys or again.unfinished or without_lost(done, again, seen) is not done


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message on its way into the store, by one plan or another."""

    ctx: PushContext
    read: Message
    planning: Planner
    partials: Sequence[Partial]
    strict: bool
    tried: frozenset[str] = frozenset()
    """Ids of what attempts before were to make, and may have made."""

    async def carry_out(
        self,
        planned: Planned,
        seen: Seen,
        files: Sequence[NewFile] = (),
        issues: Sequence[Issue] = (),
        *,
        before: Executed | None = None,
    ) -> Done:
        """Write what a plan says.

        A plan that takes a report from another patient is made again in the transaction in which it is
        written: of two such plans upon the same reports one is decided behind the other.
        DECISIONS.md#decided-at-once
        """
        if self.ctx.unit is not None or not planned.takes:
            return await self.written(planned, seen, files, issues, before)

        async def work(unit: StoreInTransaction) -> Done:
            inside = self._in(self.ctx._replace(store=unit, unit=unit))
            again, now = await replace(inside.planning, tried=self.tried).plan(checked=True)
            return await inside.written(again, now, files, issues, before)

        return await self.ctx.store.atomically(work)

    def _in(self, ctx: PushContext) -> Delivery:
        """The message on its way into another store."""
        return replace(self, ctx=ctx, planning=replace(self.planning, ctx=ctx))

    async def written(
        self,
        planned: Planned,
        seen: Seen,
        files: Sequence[NewFile],
        issues: Sequence[Issue],
        before: Executed | None,
    ) -> Done:
        """Write a plan, completed by what is stored, as often as others write at the same time."""
        overtaken, unit = False, self.ctx.unit
        tried = self.tried if before is None else self.tried | before.tried
        for attempt in range(_ATTEMPTS_MAX):
            await pause_before(attempt)
            met = seen
            if attempt:
                planned, met = await replace(self.planning, tried=tried).plan(checked=True)
            if planned.takes and unit is None:
                return await replace(self, tried=tried).carry_out(planned, seen, files, issues, before=before)
            if unit is not None and (planned.takes or met.came):
                await unit.pin(self.ctx.tenant, met.reports)
            whole = await self._completed(planned, trusting=not attempt)
            taken = await self.ctx.work(self._taken, planned, whole, issues)
            try:
                done = await execute(self.ctx, whole.planned, taken, files, before=before)
            except ServiceError as error:
                overtaken = is_overtaken(error)
                tried |= {one.key.id for one in whole.planned.placements if one.choice.known is None}
                if NEWER_BY_NOW in error.issues:
                    raise
                if not overtaken and not (whole.versions and error.category is Category.PRECONDITION):
                    raise
            else:
                await add_late_numbers(self.ctx, whole.planned, done.results, self.planning)
                return Done(whole.planned, seen, replace(done, raced=attempt > 0, tried=tried))
        if overtaken:
            raise ServiceError(Category.UNAVAILABLE, _OVERTAKEN)
        raise ServiceError(Category.CONFLICT, _CHANGING)

    async def look_behind(self, planned: Planned, seen: Seen, done: Executed) -> Done:
        """Decide again behind the write, when others may have written at the same time.

        Who is who was decided by what was there; whoever writes looks afterwards who else was faster, also
        behind what that made it write.
        """
        await look_after(self.ctx, planned)
        raced = is_open(planned, done)
        if not raced:
            await link_again(self.ctx, self.planning, done, seen)
        amended = back = frozenset[str]()
        for _ in range(_DECISIONS_MAX if raced else 0):
            back |= came_back(planned)
            made = made_by(done) - back
            again = partial(_again, seen, made - amended, made, written_by(done))
            now = await self._decided_again(planned, done, again)
            if now is None:
                break
            planned, seen, done = now.done
            await look_after(self.ctx, planned)
            amended |= now.amended
        return Done(planned, seen, done)

    async def _decided_again(self, planned: Planned, done: Executed, decide: Decide) -> _Again | None:
        """Decide again and write that; None: the decision stands.

        What others' reports made another one is decided, and written, in one transaction, and noted on these:
        who wrote them finds that they were decided upon as they are. DECISIONS.md#decided-at-once
        """
        again, seen = await decide(self.planning)
        if again is None or not _differs(again, planned, seen, done):
            return None
        if not (again.takes or seen.came):
            return await self.written_again(again, seen, done)

        async def work(unit: StoreInTransaction) -> _Again | None:
            inside = self._in(self.ctx._replace(store=unit, unit=unit))
            again, seen = await decide(inside.planning)
            if again is None or not _differs(again, planned, seen, done):
                return None
            now = await inside.written_again(again, seen, done)
            mine = {key.id for key in now.done.executed.results}
            gone = {one.key.id for placed in again.placements for one in placed.choice.united}
            settled = frozenset(mine | gone)
            await unit.pin(self.ctx.tenant, seen.came, behind=sorted(settled))
            return now._replace(done=now.done._replace(seen=seen.decided(settled)))

        return await self.ctx.store.atomically(work)

    async def written_again(self, again: Planned, seen: Seen, done: Executed) -> _Again:
        """Write another plan, and take back the reports that it does not have."""
        before = without_lost(done, again, seen)
        now = await self.written(again, seen, (), (), before)
        return _Again(now, await withdraw(self.ctx, before, now.executed))

    async def look_later(self, planned: Planned, seen: Seen, done: Executed, store: ResourceStore) -> None:
        """The same once the transaction of the message is durable, in the store that all see."""
        await self._in(self.ctx._replace(store=store, unit=None, later=None)).look_behind(planned, seen, done)

    def lost_merges(self, planned: Planned, done: Executed) -> bool:
        """Whether something newer came between the plan and the write of a merge, which it must take."""
        placed = planned.placements if self.partials else ()
        return any(is_lost_merge(one, done.results.get(one.key)) for one in placed)

    async def _completed(self, planned: Planned, *, trusting: bool) -> Completed:
        whole = Completed(planned, {})
        if self.partials:
            whole = await completed(self.ctx, planned, self.planning.read, self.partials, trusting=trusting)
        partial = frozenset(one.full_url for one in self.partials)
        return await united(self.ctx, whole, self.planning, partial)

    def _taken(self, planned: Planned, whole: Completed, issues: Sequence[Issue]) -> PreparedEntries:
        entries = self.planning.read.entries
        taken = prepared_entries(
            self.ctx,
            self.read,
            entries,
            whole.planned,
            # By the plan alone: what an entry was completed by may be another's by now.
            conditions=conditions_of(planned, self.planning.read),
            issues=issues,
            strict=self.strict,
        )
        for key in taken.unique.keys() & whole.versions.keys():
            one = taken.unique[key]._replace(only_version=whole.versions[key])
            taken.unique[key] = one._replace(sourced="") if key in whole.timeless else one
        return taken
