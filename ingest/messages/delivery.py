"""Delivery of a message into the store: upserts, late versions, and companions that nothing refers to.

Lenient: what cannot be kept is refused in its own entry, and the rest is stored; when none of the reports can
be kept, the message is refused. Strict: any deviation refuses the message, with every issue.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from ingest.messages.carrying import Delivery
from ingest.messages.message import read_message
from ingest.messages.planning import UNRESOLVED, faults, planner
from ingest.messages.prepared_entries import entries_with_time, reports_of_nobody
from ingest.pipeline.bundle_entries import BundleEntry
from ingest.pipeline.identity.decisions import TEXTS, Finding
from ingest.pipeline.prepare import Ready
from ingest.writes import filing
from ingest.writes.push import Pushed, check_scope
from store.errors import ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.messages.execution import Executed
    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.decisions import Placement
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.resources.resource_keys import ResourceKey

Delivered: TypeAlias = "Pushed | ServiceError"
"""Outcome for one entry."""
_GENERAL: Final = "$process-message"
_LIGHT_ENTRIES: Final = 50
"""Entries of a message that is planned on the event loop: each is compared with each that it may be."""


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
    write = Delivery(ctx, read, planning, partials, strict)
    planned, seen, done = await write.carry_out(planned, seen, filed.files, issues)
    if write.lost_merges(planned, done):
        planned, seen = await planning.plan()
        planned, seen, done = await write.carry_out(planned, seen, before=done)
    if ctx.later is None:
        planned, seen, done = await write.look_behind(planned, seen, done)
    else:  # A transaction sees nothing of others.
        ctx.later(partial(write.look_later, planned, seen, done))
    refused = await _letters(ctx, planned.placements, done.taken.entries)
    envelope = (*read.tolerances, *filed.tolerances)
    return [
        _delivered(ctx, one, done, placement, envelope if n == 0 else (), ahead=entries[n].ahead)
        for n, (one, placement) in enumerate(zip(refused, planned.placements, strict=True))
    ]


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
