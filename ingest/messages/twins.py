"""Records that were made of one person at once: the newest news of her reaches each of them, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.messages.conditions import is_overtaken
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.reader import PATIENT
from ingest.pipeline.prepare import Ready, prepare
from ingest.writes import filing
from store.errors import ServiceError
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored

if TYPE_CHECKING:
    from ingest.messages.prepared_entries import PreparedEntries
    from ingest.pipeline.identity.decisions import Placement, Planned
    from ingest.writes.push_context import PushContext
    from store.resources.versions import Prepared


async def share_news(ctx: PushContext, planned: Planned, taken: PreparedEntries) -> None:
    """Write the newest of a message's news and the stored ones to each of a patient's twins that lags behind.

    A message that is late finds its patient's records made apart, and the newer one's sender may be done.
    """
    for number, placed in enumerate(planned.placements):
        ready = taken.entries[number]
        if placed.key.type != PATIENT or not placed.choice.also or isinstance(ready, ServiceError):
            continue
        copies = await _copies(ctx, placed, ready, taken)
        if not copies:
            continue
        try:
            await filing.put(ctx, copies, (), again=True)
        except ServiceError as error:
            if not is_overtaken(error):  # Else a record has become somebody else's: it is no twin.
                raise


async def _copies(
    ctx: PushContext, placed: Placement, ready: Ready, taken: PreparedEntries
) -> list[Prepared]:
    mine, latest = ready.prepared, placed.choice.latest
    if latest is not None and mine.sourced and mine.sourced < latest.sourced:
        stored = await ctx.store.latest(ctx.tenant, latest.key)
        if not isinstance(stored, Stored):
            return []
        resource = await ctx.beside(decode, stored.raw)
        facts, sourced, lagging = latest.facts, latest.sourced, placed.choice.behind
    else:
        resource, facts, sourced = placed.resource, placed.facts, mine.sourced
        ids = (placed.key.id, *placed.choice.also)
        lagging = tuple(one for one in ids if ResourceKey(PATIENT, one) not in taken.unique)
    conditions = tuple(one for one in mine.provided if one.key.type == PATIENT)
    copies = []
    for name in lagging:
        copy = await ctx.beside(
            prepare,
            resource,
            name,
            base=ctx.base,
            companion=True,
            facts=facts._replace(kin=()),
            entries_max=ctx.settings.index_entries_max,
        )
        copies.append(copy.prepared._replace(sourced=sourced, companion=mine.companion, provided=conditions))
    return copies
