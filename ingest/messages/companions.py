"""Companions: they come along with a report, have no life of their own, and leave with its version.

Patients, orders, specimens, organisations stay whatever a report says. Only what a version that is not
current refers to is looked at, only where no current resource refers to it, never what was also pushed by
itself. Who takes a companion away looks afterwards whether somebody has come to refer to it, and who refers
to one looks afterwards whether somebody has taken it away: of two at the same time one sees the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ingest.pipeline.decode import decode, glance
from ingest.writes import filing
from store.fhir.datatypes import Path
from store.fhir.references import parse
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome, Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from ingest.writes.push_context import PushContext
    from store.resources.versions import Gone, Prepared, PutResult, Released, SourceTime

COMPANION_TYPES: Final = frozenset({"Observation", "Media"})
_POINTERS: Final[Mapping[str, tuple[Path, ...]]] = {
    "DiagnosticReport": (Path("result"), Path("media.link")),
    "Observation": (Path("hasMember"), Path("derivedFrom")),
}
"""Elements by which a report, or a companion, refers to companions."""
_ROUNDS_MAX: Final = 20
"""A panel in a panel takes one more; so does whoever interferes."""


@dataclass(slots=True)
class Settled:
    """Outcome for companions behind a message."""

    gone: dict[ResourceKey, ResourceKey] = field(default_factory=dict)
    """Companions that left the current data, each with the entry that let go of it."""
    back: dict[ResourceKey, PutResult] = field(default_factory=dict)
    """Companions that came back with the content that the message has."""


async def settle(
    ctx: PushContext,
    sent: Sequence[Prepared],
    results: Mapping[ResourceKey, PutResult],
    *,
    sourced: SourceTime,
    gone: Sequence[Gone] = (),
) -> Settled:
    """Take away what nothing current refers to any more, bring back what something has come to refer to.

    What was stored already is looked at again: its first sender may have died before this, or another one
    taken it away with a report that is back by now. `gone` are reports that were deleted for this message:
    what they referred to leaves, too.
    """
    done, told = Settled(), {one.key: one.digest for one in sent}
    alone = not any(one.companion for one in sent)
    because = await _left_behind(ctx, results) | await _left_by(ctx, gone)
    left = set(because)
    wanted = {one.key for one in sent if one.key.type in COMPANION_TYPES}
    for turn in range(_ROUNDS_MAX):
        if not (left or wanted):
            break
        back, missed = await _revive(ctx, wanted, alone=alone and not turn)
        for prepared, result in back:
            done.gone.pop(prepared.key, None)
            if told.get(prepared.key) == prepared.digest:
                done.back[prepared.key] = result
        revived = {prepared.key for prepared, _ in back}
        retired = await _retire(ctx, left | revived, sourced)
        for key in retired:
            done.back.pop(key, None)
            done.gone[key] = because.setdefault(key, key)
        left = set()
        for key, before in retired.items():
            members = companions(before, ctx.base) if before else frozenset()
            because |= dict.fromkeys(members, because[key])
            left |= members
        wanted = missed | retired.keys() | {i for _, r in back for i in companions(r.stored, ctx.base)}
    return done


async def bring_back(ctx: PushContext, keys: AbstractSet[ResourceKey]) -> None:
    """Bring back those of them that left, and that something current refers to."""
    await _revive(ctx, keys, alone=False)


async def _left_behind(
    ctx: PushContext, results: Mapping[ResourceKey, PutResult]
) -> dict[ResourceKey, ResourceKey]:
    """Resources that other versions of the entries refer to, and the current ones do not, each with its
    entry.
    """
    because: dict[ResourceKey, ResourceKey] = {}
    mine = {key: result for key, result in results.items() if key.type in _POINTERS}
    late = {key: result.stored for key, result in mine.items() if result.outcome is Outcome.STALE}
    for key, put in late.items():
        said = companions(put, ctx.base)
        current = await ctx.store.get(ctx.tenant, key) if said else None
        kept = companions(current, ctx.base) if isinstance(current, Stored) else frozenset()
        because |= dict.fromkeys(said - kept, key)
    others = {key: result.stored for key, result in mine.items() if key not in late}
    versions = {key: put.version for key, put in others.items() if put.version > 1}
    preceding = await ctx.store.preceding(ctx.tenant, versions) if versions else {}
    for key, before in preceding.items():
        because |= dict.fromkeys(companions(before.stored, ctx.base) - companions(others[key], ctx.base), key)
    return because


async def _left_by(ctx: PushContext, gone: Sequence[Gone]) -> dict[ResourceKey, ResourceKey]:
    """Companions that deleted reports referred to, each with its report."""
    if not gone:
        return {}
    before = await ctx.store.preceding(ctx.tenant, {one.key: one.version for one in gone})
    return {there: key for key, one in before.items() for there in companions(one.stored, ctx.base)}


async def _retire(
    ctx: PushContext, keys: AbstractSet[ResourceKey], sourced: SourceTime
) -> dict[ResourceKey, Stored | None]:
    """Companions among these that left the current data, as they were."""
    free = await ctx.store.unreferenced(ctx.tenant, sorted(keys)) if keys else {}
    if not free:
        return {}
    retired = await ctx.store.retire(ctx.tenant, free, sourced=sourced)
    before = await ctx.store.preceding(ctx.tenant, {key: free[key] + 1 for key in retired})
    return {key: before[key].stored if key in before else None for key in retired}


async def _revive(
    ctx: PushContext, keys: AbstractSet[ResourceKey], *, alone: bool
) -> tuple[list[tuple[Prepared, PutResult]], set[ResourceKey]]:
    """Companions among these that came back, and those that somebody changed meanwhile."""
    released = await ctx.store.released(ctx.tenant, sorted(keys), alone=alone) if keys else []
    again = {one.key: await _as_it_was(ctx, one, companion=not alone) for one in released}
    results = await filing.put(ctx, list(again.values()), (), again=True) if again else []
    back = [(again[result.stored.key], result) for result in results]
    return back, again.keys() - {prepared.key for prepared, _ in back}


async def _as_it_was(ctx: PushContext, one: Released, *, companion: bool) -> Prepared:
    ready = await filing.prepared_again(ctx, await ctx.beside(decode, one.raw), one.key.id)
    return ready._replace(sourced=one.sourced, companion=companion, revives=one.number)


def companions(stored: Stored, base: str) -> frozenset[ResourceKey]:
    """Companions that this version refers to, and that may have come along with it."""
    return frozenset(_companions(stored, base))


def _companions(stored: Stored, base: str) -> Iterable[ResourceKey]:
    resource = glance(stored.raw)
    for path in _POINTERS.get(stored.key.type, ()):
        for reference in path.values(resource):
            text = reference.get("reference") if isinstance(reference, dict) else None
            target = parse(text, base=base) if isinstance(text, str) else None
            if target is not None and target.type in COMPANION_TYPES:
                resource_type, _, resource_id = target.spelling.partition("/")
                if resource_type == target.type:
                    yield ResourceKey(resource_type, resource_id)
