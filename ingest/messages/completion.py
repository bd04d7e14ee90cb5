"""Entries that say only a part, completed by what is stored: a write replaces nothing unspoken of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.completion import complete
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.facts import facts_of
from store.versions import Stored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.facts import FactContext
    from ingest.pipeline.identity.placements import Placement, Planned
    from ingest.pipeline.identity.reader import Entry
    from ingest.writes.push_context import PushContext
    from store.resource_keys import ResourceKey

_FOUND: Final = frozenset({"Patient", "Encounter", "DiagnosticReport"})
"""Types of which a plan knows whether they are stored; others are looked for under their id."""


class Completed(NamedTuple):
    """A plan whose entries say all that is to be kept."""

    planned: Planned
    versions: Mapping[ResourceKey, int]
    """Versions that were completed: each is replaced, or the entry is completed again."""


async def completed(
    ctx: PushContext,
    planned: Planned,
    entries: Sequence[Entry],
    partials: Sequence[Partial],
    reading: FactContext,
) -> Completed:
    """A plan with what its entries do not speak of. What is older than what is stored stays as it is."""
    told = {one.full_url: one for one in partials}
    placements = list(planned.placements)
    versions: dict[ResourceKey, int] = {}
    for number, placed in enumerate(planned.placements):
        partial = told.get(entries[number].full_url or "")
        known = placed.choice.known
        if partial is None or (known is None and placed.key.type in _FOUND):
            continue
        if known is not None and known.sourced > entries[number].sourced:
            continue
        stored = await ctx.store.get(ctx.tenant, placed.key)
        if isinstance(stored, Stored):
            placements[number] = await ctx.work(_whole, placed, stored, partial, reading)
            versions[placed.key] = stored.version
    return Completed(replace(planned, placements=tuple(placements)), versions)


def _whole(placed: Placement, stored: Stored, partial: Partial, reading: FactContext) -> Placement:
    resource = complete(placed.resource, decode(stored.raw), partial)
    if placed.key.type != "Patient":
        return placed._replace(resource=resource)
    facts = facts_of(resource, reading)
    who = placed.facts._replace(
        numbers=facts.numbers, former=facts.former, names=facts.names, born=facts.born, sex=facts.sex
    )
    return placed._replace(resource=resource, facts=who)
