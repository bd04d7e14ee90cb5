"""Records made of one person at once: the newest news reaches each. And results that came at one moment
by themselves and with a report: that which the report shows stays.

Whoever looks behind its write finds both results. In one transaction the news of the other go to that of the
report, and it leaves as a companion does: who has come to refer to it brings it back.
DECISIONS.md#results-at-once
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.messages.companions import bring_back
from ingest.messages.conditions import is_overtaken
from ingest.messages.union import kept_of
from ingest.pipeline.bundle_references import rewritten
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.decisions import Candidate
from ingest.pipeline.identity.facts import from_stored
from ingest.pipeline.identity.reader import PATIENT
from ingest.pipeline.prepare import Ready
from ingest.writes import filing
from store.errors import Category, ServiceError
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored
from store.retrying import pause_before

if TYPE_CHECKING:
    from ingest.messages.prepared_entries import PreparedEntries
    from ingest.pipeline.identity.decisions import Placement, Planned
    from ingest.writes.push_context import PushContext
    from store.resources.versions import Prepared

_ATTEMPTS_MAX: Final = 6
"""Attempts to write news to a record that others change all the while."""


async def share_news(ctx: PushContext, planned: Planned, taken: PreparedEntries) -> None:
    """Write the newest of a message's news and the stored ones to each of a patient's twins that lags behind.

    A message that is late finds its patient's records made apart, and the newer one's sender may be done.
    """
    for number, placed in enumerate(planned.placements):
        ready = taken.entries[number]
        if placed.key.type != PATIENT or not placed.choice.also or isinstance(ready, ServiceError):
            continue
        await _share(ctx, placed, ready, taken)


async def _share(ctx: PushContext, placed: Placement, ready: Ready, taken: PreparedEntries) -> None:
    """Write the news to what lags behind. Others who change that meanwhile look behind their own write."""
    for attempt in range(_ATTEMPTS_MAX):
        await pause_before(attempt)
        copies = await _copies(ctx, placed, ready, taken)
        if not copies:
            return
        try:
            await filing.put(ctx, copies, (), again=True)
        except ServiceError as error:
            if is_overtaken(error):  # A record has become somebody else's: it is no twin.
                return
            if error.category is not Category.PRECONDITION:
                raise
        else:
            return


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
    for known in await ctx.store.known(ctx.tenant, [ResourceKey(PATIENT, name) for name in lagging]):
        # What another source gave that record is not taken away.
        stands = Candidate(known.key, from_stored(known.identity), known.sourced)
        news = placed._replace(key=known.key, resource=resource, facts=facts)
        news, version = await kept_of(ctx, news, facts, sourced, stands)
        facts_now = news.facts._replace(kin=())
        copy = await filing.prepared_again(ctx, news.resource, known.key.id, facts=facts_now)
        copies.append(
            copy._replace(
                sourced=sourced, companion=mine.companion, provided=conditions, only_version=version
            )
        )
    return copies


# --- results of a report


async def give_news(ctx: PushContext, planned: Planned, placed: Placement, other: Candidate) -> None:
    """Write what an observation by itself says to each that stays, and let it leave."""
    stored = await ctx.store.latest(ctx.tenant, other.key)
    if not isinstance(stored, Stored) or await ctx.store.referring(ctx.tenant, [other.key]):
        return
    stay = {str(gone.key): str(one.key) for one in planned.placements for gone in one.choice.united}
    resource = rewritten(await ctx.work(decode, stored.raw), stay)
    copies = [
        await filing.prepared_again(ctx, resource, name, facts=placed.facts)
        for name in (placed.key.id, *placed.choice.also)
    ]
    news = [one._replace(sourced=other.sourced, companion=False) for one in copies]
    await filing.put(ctx, news, (), again=True)
    await ctx.store.retire(ctx.tenant, {other.key: stored.version}, sourced=other.sourced, alone=True)


async def look_after(ctx: PushContext, planned: Planned) -> None:
    """Bring back those that left in a transaction, and that something had come to refer to meanwhile."""
    if left := planned.left:
        await bring_back(ctx, frozenset(left))
