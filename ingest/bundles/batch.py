"""The entries of a batch, each answered on its own; those that are a resource to put are put together.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.bundles.answer_budget import AnswerBudget
from ingest.bundles.batch_puts import id_of, is_forgotten, put_together, refused
from ingest.bundles.shown import entry_of, part_of, whole
from ingest.bundles.transaction import LETTERS
from ingest.http import replies
from ingest.http.reach import check_reading, seen
from ingest.pipeline import json_patch as patch
from ingest.pipeline.bundle_entries import READING, interaction
from ingest.pipeline.preconditions import has_it, if_match, if_none_match, since
from ingest.work import each_of, unhurried
from ingest.writes import conditional, push
from ingest.writes.push import Pushed
from store.audit.patients import answered_with
from store.errors import Category, ServiceError
from store.fair import Asker
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ingest.bundles.batch_puts import Answer
    from ingest.bundles.shown import Cut
    from ingest.pipeline.bundle_entries import BundleEntry, Interaction
    from ingest.writes.push_context import PushContext
    from store.fair import Gate
    from store.resources.versions import Gone, Stored

    Search = Callable[[str, str, int], Awaitable[bytes]]
    """Answers a search of a batch: (resource type, query, bytes that its page may have)."""

_PHASES: Final = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")
"""The order in which the entries of a batch are processed, whatever order they came in."""
_UNNAMED: Final = Issue("value", "`request.url` must name one resource", ("Bundle.entry.request.url",))
_PUTTING: Final = frozenset({"POST", "PUT"})


class BatchReads(NamedTuple):
    """Collaborators of a batch for its searches and reads, beside the store."""

    search: Search | None = None
    """None: it answers none."""
    places: Gate | None = None
    """Places for its searches and reads, which others need too."""
    hold: Callable[[int], None] = lambda _: None
    """Takes room for what was read; raises ServiceError when there is none. Searches do so themselves."""
    cut: Cut = whole
    """Part of what was read that is asked for."""


async def answers(
    ctx: PushContext, entries: Sequence[BundleEntry], *, name: str, reading: BatchReads
) -> list[dict[str, Any]]:
    """Entries of the answer to a batch, in order; each request stands or falls alone.

    `name` is the same when the batch is sent again.
    """
    done: dict[int, Answer] = {}
    budget = AnswerBudget(ctx.limits.bytes_max, ctx.prefer)
    within = _Within(reading, budget)
    for phase in (*_PHASES, None):
        mine = [
            number
            for number, entry in enumerate(entries)
            if number not in done and phase in (None, method_of(entry))
        ]
        if phase in _PUTTING:
            done |= await put_together(ctx, entries, mine, name, budget)
        rest = [number for number in mine if number not in done]
        answered = await each_of(rest, lambda n: _answer(ctx, entries[n], f"{name} {n}", within))
        done |= dict(zip(rest, answered, strict=True))
    errors = {number: one for number, one in done.items() if isinstance(one, ServiceError)}
    letters: dict[int, str | None] = {}
    if errors and ctx.refused is not None:
        kept = await ctx.refused([(entries[number], error) for number, error in errors.items()])
        letters = dict(zip(errors, kept, strict=True))
    said = {
        n: replies.entry_of_error(error, letter=letters.get(n))
        async for n, error in unhurried(errors.items())
    }
    whole = {**done, **said}
    return [one for n in range(len(entries)) if not isinstance(one := whole[n], ServiceError)]


def method_of(entry: BundleEntry) -> object:
    """The method an entry asks for, as it came."""
    return entry.request.get("method") if entry.request else None


class _Within(NamedTuple):
    """Circumstances that the entries of a batch share."""

    reading: BatchReads
    budget: AnswerBudget


async def _answer(ctx: PushContext, entry: BundleEntry, name: str, within: _Within) -> Answer:
    """Answer to an entry of a batch, whatever becomes of it. `name`: equal when the entry is sent again."""
    try:
        if method_of(entry) not in READING:
            done = await _interact(ctx, entry, name)
            if isinstance(done, Pushed):
                return entry_of(ctx, done, within.budget)
            return replies.entry_of_deletion(done)
        return await _read_or_search(ctx, entry, within)
    except ServiceError as error:
        # Its traceback would keep what was read for the entry until the batch is answered.
        return refused(ctx, within.budget.issues.within(error.with_traceback(None)))


async def _read_or_search(ctx: PushContext, entry: BundleEntry, within: _Within) -> dict[str, Any]:
    asked, budget = interaction(entry, base=ctx.base, strict=ctx.strict), within.budget
    budget.check()
    search, places, hold, cut = within.reading
    place = places and places.turn(Asker(str(ctx.tenant), ctx.caller.client))
    if asked.id is None and search is not None:
        check_reading(ctx.caller, asked.type, "s")
        async with place or nullcontext():
            searchset = await search(asked.type, asked.query or "", budget.left)
        budget.spend(len(searchset))
        return replies.entry_of_search(searchset)
    check_reading(ctx.caller, asked.type, LETTERS[asked.method])
    if asked.id is None:
        raise ServiceError(Category.UNPROCESSABLE, _UNNAMED)
    modified_since = since(asked.if_modified_since)
    async with place or nullcontext():
        found = await _found(ctx, ResourceKey(asked.type, asked.id), asked.version)
    if ctx.access is not None:
        patients = answered_with(found.key.type, found.key.id, found.raw)
        ctx.access.entry("read" if asked.version is None else "vread", str(found.key), patients=patients)
    if has_it(found, none_match=asked.if_none_match, modified_since=modified_since):
        return replies.entry_of_unchanged(found)
    hold(len(found.raw))
    shown = await part_of(ctx, found, asked.query, cut)
    budget.spend(len(shown))
    return replies.entry_of_read(found, shown, base=ctx.base)


async def _interact(ctx: PushContext, entry: BundleEntry, name: str) -> Pushed | Gone | None:
    """Result of an entry that changes something; None: there was nothing to delete."""
    asked = interaction(entry, base=ctx.base, strict=ctx.strict)
    if asked.method not in LETTERS:
        issue = Issue(
            "not-supported", "`request.method` is not offered in a batch", ("Bundle.entry.request",)
        )
        raise ServiceError(Category.UNSUPPORTED, issue)
    push.check_scope(ctx.caller, asked.type, LETTERS[asked.method])
    if asked.query is not None:
        return await _interact_where(ctx, asked, asked.query)
    if asked.method == "POST" and asked.id is None and asked.resource is not None:
        return _told(await _create(ctx, asked, name), asked)
    if asked.id is None:
        raise ServiceError(Category.UNPROCESSABLE, _UNNAMED)
    key = ResourceKey(asked.type, asked.id)
    if asked.method == "PUT" and asked.resource is not None:
        only_version, only_absent = if_match(asked.if_match), if_none_match(asked.if_none_match)
        done = await push.update(ctx, key, asked.resource, only_version=only_version, only_absent=only_absent)
        return _told(done, asked)
    if asked.method == "DELETE":
        return await push.delete(ctx, key, only_version=if_match(asked.if_match))
    if asked.method == "PATCH":
        version = if_match(asked.if_match)
        return await conditional.patch_one(ctx, key, _patch_of(asked), only_version=version)
    issue = Issue("required", "the entry has no resource", ("Bundle.entry.resource",))
    raise ServiceError(Category.UNPROCESSABLE, issue)


async def _interact_where(ctx: PushContext, asked: Interaction, criteria: str) -> Pushed | Gone | None:
    """A conditional update, patch or deletion; creates have `ifNoneExist`."""
    version, absent = if_match(asked.if_match), if_none_match(asked.if_none_match)
    if asked.method == "PUT" and asked.resource is not None:
        return await conditional.update_where(
            ctx, asked.type, criteria, asked.resource, only_version=version, only_absent=absent
        )
    if asked.method == "DELETE":
        return await conditional.delete_where(ctx, asked.type, criteria, only_version=version)
    if asked.method == "PATCH":
        return await conditional.patch_where(
            ctx, asked.type, criteria, _patch_of(asked), only_version=version
        )
    text = "a condition in `request.url` goes with PUT, PATCH and DELETE; a POST has `ifNoneExist`"
    raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, ("Bundle.entry.request.url",)))


def _told(done: Pushed, asked: Interaction) -> Pushed:
    """Answer with what was tolerated in the entry itself."""
    return done._replace(tolerances=(*asked.tolerances, *done.tolerances)) if asked.tolerances else done


def _patch_of(asked: Interaction) -> tuple[patch.Operation, ...]:
    return patch.carried(asked.resource, "Bundle.entry.resource")


async def _create(ctx: PushContext, asked: Interaction, name: str) -> Pushed:
    """A create that makes no twin when its batch is sent again, though the first answer got lost."""
    resource = asked.resource or {}
    if asked.if_none_exist is not None:
        return await push.create(ctx, asked.type, resource, if_none_exist=asked.if_none_exist)
    done = await push.create(ctx, asked.type, resource, as_id=id_of(ctx, name))
    if done.result.outcome is Outcome.EXISTS and is_forgotten(ctx, done.result):
        return await push.create(ctx, asked.type, resource)
    return done


async def _found(ctx: PushContext, key: ResourceKey, version: int | None) -> Stored:
    store, tenant = ctx.store, ctx.tenant
    found = await (store.get(tenant, key) if version is None else store.get_version(tenant, key, version))
    return await seen(ctx.caller, found, base=lambda: ctx.base)
