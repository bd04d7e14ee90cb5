"""Delivery of a message into the store: upserts, late versions, and companions that nothing refers to.

Lenient: what cannot be kept is refused in its own entry, and the rest is stored; when none of the reports can
be kept, the message is refused. Strict: any deviation refuses the message, with every issue.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

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
)
from ingest.messages.message import read_message
from ingest.messages.planning import UNRESOLVED, faults, planner
from ingest.messages.prepared_entries import (
    PreparedEntries,
    entries_with_time,
    prepared_entries,
    reports_of_nobody,
)
from ingest.messages.union import add_late_numbers, united
from ingest.pipeline.bundle_entries import BundleEntry
from ingest.pipeline.identity.decisions import TEXTS, Finding
from ingest.pipeline.prepare import Ready
from ingest.writes import filing
from ingest.writes.push import Pushed, check_scope
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.versions import NEWER_BY_NOW
from store.retrying import pause_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.messages.message import Message
    from ingest.messages.planning import Planner, Seen
    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.decisions import Placement, Planned
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.files import NewFile
    from store.resources.resource_keys import ResourceKey
    from store.resources.resources import ResourceStore

Delivered: TypeAlias = "Pushed | ServiceError"
"""Outcome for one entry."""
_GENERAL: Final = "$process-message"
_LIGHT_ENTRIES: Final = 50
"""Entries of a message that is planned on the event loop: each is compared with each that it may be."""
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


async def message(
    ctx: PushContext,
    bundle: JsonObject,
    *,
    operation: str = _GENERAL,
    strict: bool = False,
    partials: Sequence[Partial] = (),
) -> list[Delivered]:
    """Upsert the resources of a message, answered in the order of entries.

    `partials`: entries that keep what they do not speak of. Raises ServiceError when nothing is stored.
    """
    # First of all: what is left is small, however often it is copied from here on.
    filed = await filing.taken_out(ctx, bundle)
    read = await ctx.work(
        read_message,
        filed.resource,
        client=ctx.caller.client,
        entries_max=ctx.settings.bundle_entries_max,
        operation=operation,
        strict=strict,
    )
    if len(read.entries) > _LIGHT_ENTRIES:
        ctx = ctx._replace(work=ctx.beside)
    for entry in read.entries:
        check_scope(ctx.caller, entry.type, "cu")
    entries = await ctx.work(entries_with_time, ctx, filed.resource, read)
    planning = await ctx.work(planner, ctx, read, entries, partials)
    planned, seen = await planning.plan()
    issues = [*read.issues, *(faults(planned) if strict else ())]
    if planned.patientless:
        # A refusal is kept, so that it must be said before that this was erased on purpose.
        await ctx.store.admit(ctx.tenant, await ctx.work(reports_of_nobody, ctx, planned))
    write = _Delivery(ctx, read, planning, partials, strict)
    planned, done = await write.carry_out(planned, filed.files, issues)
    if write.lost_merges(planned, done):
        planned, seen = await planning.plan()
        planned, done = await write.carry_out(planned, (), (), before=done)
    if ctx.later is None:
        planned, done = await write.look_behind(planned, done, seen)
    else:  # A transaction sees nothing of others.
        ctx.later(partial(write.look_later, planned, done, seen))
    refused = await _letters(ctx, planned.placements, done.taken.entries)
    envelope = (*read.tolerances, *filed.tolerances)
    return [
        _delivered(ctx, one, done, placement, envelope if n == 0 else (), ahead=entries[n].ahead)
        for n, (one, placement) in enumerate(zip(refused, planned.placements, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A message on its way into the store, by one plan or another."""

    ctx: PushContext
    read: Message
    planning: Planner
    partials: Sequence[Partial]
    strict: bool

    async def carry_out(
        self,
        planned: Planned,
        files: Sequence[NewFile],
        issues: Sequence[Issue],
        *,
        before: Executed | None = None,
    ) -> tuple[Planned, Executed]:
        """Write what a plan says, completed by what is stored, as often as others write at the same time."""
        overtaken = False
        for attempt in range(_ATTEMPTS_MAX):
            await pause_before(attempt)
            if attempt:
                planned, _ = await self.planning.plan(checked=True)
            whole = await self._completed(planned, trusting=not attempt)
            taken = await self.ctx.work(self._taken, planned, whole, issues)
            try:
                done = await execute(self.ctx, whole.planned, taken, files, before=before)
            except ServiceError as error:
                overtaken = is_overtaken(error)
                if NEWER_BY_NOW in error.issues:
                    raise
                if not overtaken and not (whole.versions and error.category is Category.PRECONDITION):
                    raise
            else:
                await add_late_numbers(self.ctx, whole.planned, done.results, self.planning)
                return whole.planned, replace(done, raced=attempt > 0)
        if overtaken:
            raise ServiceError(Category.UNAVAILABLE, _OVERTAKEN)
        raise ServiceError(Category.CONFLICT, _CHANGING)

    async def look_behind(self, planned: Planned, done: Executed, seen: Seen) -> tuple[Planned, Executed]:
        """Decide again behind the write, when others may have written at the same time.

        Who is who was decided by what was there; whoever writes looks afterwards who else was faster, also
        behind what that made it write.
        """
        raced = is_open(planned, done)
        if not raced:
            await link_again(self.ctx, self.planning, done, seen)
        amended = back = frozenset[str]()
        for _ in range(_DECISIONS_MAX if raced else 0):
            back |= came_back(planned)
            made = made_by(done) - back
            again, seen = await self.planning.plan_again(seen, made - amended, made)
            if again is None:
                break
            before = without_lost(done, again, seen)
            if again.keys == planned.keys and not again.unfinished and before is done:
                break
            planned, done = await self.carry_out(again, (), (), before=before)
            amended |= await withdraw(self.ctx, before, done)
        return planned, done

    async def look_later(self, planned: Planned, done: Executed, seen: Seen, store: ResourceStore) -> None:
        """The same once the transaction of the message is durable, in the store that all see."""
        ctx = self.ctx._replace(store=store, later=None)
        outside = replace(self, ctx=ctx, planning=replace(self.planning, ctx=ctx))
        await outside.look_behind(planned, done, seen)

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
            conditions=conditions_of(planned, self.planning.read.reading),
            issues=issues,
            strict=self.strict,
        )
        for key in taken.unique.keys() & whole.versions.keys():
            one = taken.unique[key]._replace(only_version=whole.versions[key])
            taken.unique[key] = one._replace(sourced="") if key in whole.timeless else one
        return taken


async def _letters(
    ctx: PushContext, placed: Sequence[Placement], taken: Sequence[Ready | ServiceError]
) -> list[Ready | ServiceError]:
    """Entries as taken, with companions that were refused kept as dead letters: updates, under their ids."""
    refused = {n: one for n, one in enumerate(taken) if isinstance(one, ServiceError)}
    if not refused or ctx.refused is None:
        return list(taken)
    there = await ctx.store.versions(ctx.tenant, [placed[n].key for n in refused])
    letters = await ctx.refused([(_as_update(placed[n], there), error) for n, error in refused.items()])
    told: dict[int, ServiceError] = {}
    for (n, error), letter in zip(refused.items(), letters, strict=True):
        said = Issue("informational", f"Dead-Letter: {letter}", severity="information")
        told[n] = error if letter is None else ServiceError(error.category, *error.issues, said)
    return [told.get(n, one) for n, one in enumerate(taken)]


def _as_update(placed: Placement, there: Mapping[ResourceKey, int]) -> BundleEntry:
    """Update that an entry stands for, of what is there now: replayed later it must replace nothing newer."""
    resource = {**placed.resource, "id": placed.key.id}
    version = there.get(placed.key)
    condition = {"ifNoneMatch": "*"} if version is None else {"ifMatch": f'W/"{version}"'}
    return BundleEntry(resource, None, {"method": "PUT", "url": str(placed.key), **condition})


def _delivered(  # noqa: PLR0913 -- all that is told of an entry
    ctx: PushContext,
    ready: Ready | ServiceError,
    done: Executed,
    placed: Placement,
    envelope: tuple[str, ...],
    *,
    ahead: bool,
) -> Delivered:
    if isinstance(ready, ServiceError):
        ctx.metrics.count("refused", ("faulty-companion",))
        return ready
    result = done.results[ready.prepared.key]
    retired = done.retired.get(ready.prepared.key, 0)
    notes = [f"{retired} resources that nothing current refers to any more left the current data."]
    findings = [*placed.choice.findings, *([Finding.REFERENCE_UNRESOLVED] if placed.unresolved else [])]
    findings += [Finding.TIME_AHEAD] if ahead else []
    said = (*(notes if retired else ()), *(TEXTS[one] for one in findings))
    told = (*envelope, *ready.tolerances, *((UNRESOLVED,) if placed.unresolved else ()))
    for finding in findings:
        ctx.metrics.decided(finding)
    ctx.metrics.count(result.outcome.value, told)
    for _ in range(retired):
        ctx.metrics.count("retired")
    return Pushed(result, told, said, kept=ready.kept)
