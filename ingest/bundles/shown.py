"""Entries of an answer show what is asked for: part of what is read, what was stored if that is preferred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.http import replies

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingest.bundles.answer_budget import AnswerBudget
    from ingest.writes.push import Pushed
    from ingest.writes.push_context import PushContext
    from store.resources.versions import Stored

    Cut = Callable[[Stored, str], bytes]
    """Gives the part of what was read that a query asks for; `api` has it."""


def whole(stored: Stored, query: str) -> bytes:  # noqa: ARG001 -- the shape of a Cut
    """All of what was read, whatever is asked."""
    return stored.raw


async def part_of(ctx: PushContext, stored: Stored, query: str | None, cut: Cut) -> bytes:
    """Bytes to show. Raises ServiceError for a query that is not understood."""
    return await ctx.for_bytes(len(stored.raw)).work(cut, stored, query) if query else stored.raw


def entry_of(ctx: PushContext, done: Pushed, budget: AnswerBudget) -> dict[str, Any]:
    """The entry for a resource that was stored; it is shown to nobody who may write it and not read it."""
    stored = done.result.stored
    shows = ctx.caller.may(stored.key.type, "r") and budget.represents(len(stored.raw))
    return replies.entry_of(done, base=ctx.base, issues=budget.issues, tells=budget.tells, shows=shows)
