"""A create that takes effect once by its `Idempotency-Key`, without a transaction of its own.

announce ─▶ put ─▶ fulfil. The key is bound to this request and to one id before anything is stored under
it. Whoever sends the same again, or meanwhile, puts under that id too, where only the first one creates.
Each step is one of a group, so that a create with a key costs little more than one without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ingest.writes import filing, push
from ingest.writes.idempotency import check
from ingest.writes.push import Pushed
from store.errors import Category, ServiceError
from store.resources.versions import Outcome, PutResult, Stored

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.pipeline.documents import Taken
    from ingest.pipeline.prepare import Ready
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.resources.answers import Remembered, Slot


class Answered(NamedTuple):
    """Answer that the key was given."""

    answer: Remembered
    again: bool
    """Whether it was done before."""


async def create_once(
    ctx: PushContext,
    resource_type: str,
    resource: JsonObject,
    slot: Slot,
    *,
    answer: Callable[[Pushed], Remembered],
) -> Pushed | Answered:
    """Outcome of a create; or, when another request came first with the key, the answer that it was to get.

    `answer` gives the answer to be remembered. Raises ServiceError `unprocessable` when the key was used for
    something else.
    """
    push.check_type(resource, resource_type)
    taken = await filing.taken_out_of(ctx, resource)
    ready = await ctx.work(_ready, ctx, taken, ctx.new_id())
    tolerances = (*taken.tolerances, *ready.tolerances)
    expected = Stored(ready.prepared.key, 1, ctx.clock(), b"")
    first = answer(Pushed(PutResult(Outcome.CREATED, expected), tolerances, kept=ready.kept))
    kept = await ctx.store.announce(ctx.tenant, slot, first, ready.prepared)
    check(kept, slot)
    if kept.done or kept.creates is None:
        return Answered(kept, again=True)
    ours = kept.creates == ready.prepared.key
    if not ours:  # A twin was faster, or died before this.
        ready = await ctx.work(_ready, ctx, taken, kept.creates.id)
    try:
        [result] = await filing.put(ctx, [ready.prepared], taken.files)
    except ServiceError as error:
        if error.category is Category.TOO_LARGE:  # It is for whoever sends it.
            await ctx.store.withdraw(ctx.tenant, slot)
        raise
    ctx.store.fulfil(ctx.tenant, slot)
    ctx.metrics.count(result.outcome.value, tolerances)
    created = result.outcome is Outcome.CREATED
    return (
        Pushed(result, tolerances, kept=ready.kept) if created and ours else Answered(kept, again=not created)
    )


def _ready(ctx: PushContext, taken: Taken, chosen: str) -> Ready:
    ready = push.ready_to_create(ctx, taken.resource, as_id=chosen)
    return ready._replace(prepared=ready.prepared._replace(only_once=True))
