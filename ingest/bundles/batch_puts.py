"""Entries of a batch that are a resource to put and no more: made ready in turns, and put together."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ingest.bundles.shown import entry_of
from ingest.bundles.transaction import LETTERS
from ingest.ids import stable_id
from ingest.pipeline.bundle_entries import interaction
from ingest.pipeline.preconditions import if_match, if_none_match
from ingest.work import unhurried
from ingest.writes import push
from store.errors import ServiceError
from store.files import references_to_files
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.bundles.answer_budget import AnswerBudget
    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.pipeline.prepare import Ready
    from ingest.writes.push_context import PushContext
    from store.resources.versions import PutResult

    Answer = dict[str, Any] | ServiceError
    """Answer to an entry."""
    Made = dict[int, Ready | ServiceError | None]
    """Entries made ready; None: there is more to do for it than to put a resource."""

_PIECE_SECONDS: Final = 0.002
"""Seconds in which entries are made ready before others get a turn: to hand over costs a tenth of it."""


async def put_together(
    ctx: PushContext,
    entries: Sequence[BundleEntry],
    numbers: Iterable[int],
    name: str,
    budget: AnswerBudget,
) -> dict[int, Answer]:
    """The answers to those that are a resource to put and no more; the others are left out."""
    readies: dict[int, Ready] = {}
    done: dict[int, Answer] = {}
    left, issues = deque(numbers), budget.issues
    while left:
        for number, ready in (await _piece(ctx, entries, left, name)).items():
            if isinstance(ready, ServiceError):
                done[number] = refused(ctx, issues.within(ready))
            elif ready is not None:
                readies[number] = ready
        await asyncio.sleep(0)
    if ctx.access is not None:
        ctx.access.stores([ready.prepared for ready in readies.values()])
    results = await ctx.store.put_each(ctx.tenant, [ready.prepared for ready in readies.values()])
    async for (number, ready), result in unhurried(zip(readies.items(), results, strict=True)):
        if push.leaves_labels_out(result):
            continue  # Alone, it takes over what is there.
        try:
            if not _is_repeated(ctx, ready, result):
                pushed = push.pushed(ctx, ready, result)
                done[number] = entry_of(ctx, pushed, budget)
        except ServiceError as error:
            done[number] = refused(ctx, issues.within(error))
    return done


async def _piece(ctx: PushContext, entries: Sequence[BundleEntry], left: deque[int], name: str) -> Made:
    """Next of the entries left, made ready. No more of them than one turn has time for."""
    try:
        return await ctx.work(_ready_for_a_while, ctx, entries, left, name)
    except ServiceError as error:  # The time for the whole body is over.
        late: Made = dict.fromkeys(left, error)
        left.clear()
        return late


def _ready_for_a_while(ctx: PushContext, entries: Sequence[BundleEntry], left: deque[int], name: str) -> Made:
    made: Made = {}
    until = monotonic() + _PIECE_SECONDS
    while left and (not made or monotonic() < until):
        number = left.popleft()
        try:
            made[number] = _ready(ctx, entries[number], f"{name} {number}")
        except ServiceError as error:
            made[number] = error
    return made


def _ready(ctx: PushContext, entry: BundleEntry, name: str) -> Ready | None:
    """The resource that an entry puts, made ready; None when there is more to do for it than that."""
    asked = interaction(entry, base=ctx.base, strict=ctx.strict)
    resource = asked.resource
    if resource is None or asked.query is not None or asked.if_none_exist is not None:
        return None
    if (asked.method == "POST") != (asked.id is None) or ctx.holds_documents(resource):
        return None
    push.check_scope(ctx.caller, asked.type, LETTERS[asked.method])
    if asked.id is None:
        push.check_type(resource, asked.type)
        ready = push.ready_to_create(ctx, resource, as_id=id_of(ctx, name))
    else:
        key = ResourceKey(asked.type, asked.id)
        version, absent = if_match(asked.if_match), if_none_match(asked.if_none_match)
        ready = push.ready_to_update(ctx, key, resource, only_version=version, only_absent=absent)
        ready = ready._replace(prepared=ready.prepared._replace(keeps_labels=True))
    if asked.tolerances:
        ready = ready._replace(tolerances=(*asked.tolerances, *ready.tolerances))
    return None if references_to_files(ready.prepared.body.tail) else ready


def _is_repeated(ctx: PushContext, ready: Ready, result: PutResult | ServiceError) -> bool:
    """Whether a create met what the same batch made so long ago that it is another one by now."""
    if isinstance(result, ServiceError) or not ready.prepared.posted:
        return False
    return result.outcome is Outcome.EXISTS and is_forgotten(ctx, result)


def is_forgotten(ctx: PushContext, result: PutResult) -> bool:
    """Whether what a create met is older than the time for which its key is remembered."""
    window = timedelta(days=ctx.settings.idempotency_days)
    return result.stored.last_updated <= ctx.clock() - window


def id_of(ctx: PushContext, name: str) -> str:
    """The id under which an entry creates: the same when its batch is sent again."""
    return stable_id(ctx.tenant, f"entry {name}", ctx.secret)


def refused(ctx: PushContext, error: ServiceError) -> ServiceError:
    """The refusal of an entry, counted."""
    ctx.metrics.count("refused")
    return error
