"""The entries of a batch, each answered on its own; those that are a resource to put are put together.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.bundles.answer_budget import AnswerBudget
from ingest.bundles.transaction import LETTERS
from ingest.http import replies
from ingest.http.reach import check_reading, seen
from ingest.ids import stable_id
from ingest.pipeline import json_patch as patch
from ingest.pipeline.bundle_entries import READING, interaction
from ingest.pipeline.preconditions import has_it, if_match, if_none_match, since
from ingest.writes import conditional, push
from store.audit.patients import answered_with
from store.errors import Category, ServiceError
from store.fair import Asker
from store.fhir.issues import Issue
from store.files import references_to_files
from store.resource_keys import ResourceKey
from store.versions import Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from ingest.pipeline.bundle_entries import BundleEntry, Interaction
    from ingest.pipeline.prepare import Ready
    from ingest.writes.push import Pushed
    from ingest.writes.push_context import PushContext
    from store.fair import Gate
    from store.versions import PutResult, Stored

    Search = Callable[[str, str, int], Awaitable[bytes]]
    """Answers a search of a batch: (resource type, query, bytes that its page may have)."""
    Answer = dict[str, Any] | ServiceError
    """Answer to an entry."""

_PHASES: Final = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")
"""The order in which the entries of a batch are processed, whatever order they came in."""
_UNNAMED: Final = Issue("value", "`request.url` must name one resource", ("Bundle.entry.request.url",))
_PUTTING: Final = frozenset({"POST", "PUT"})
_READ_TOGETHER: Final = 8
"""Searches and reads of one batch under way at once: as many may turn out not to fit."""
_IN_A_ROW: Final = 8
"""Entries made ready before others get a turn of the event loop: about a millisecond."""


class BatchReads(NamedTuple):
    """Collaborators of a batch for its searches and reads, beside the store."""

    search: Search | None = None
    """None: it answers none."""
    places: Gate | None = None
    """Places for its searches and reads, which others need too."""
    hold: Callable[[int], None] = lambda _: None
    """Takes room for what was read; raises ServiceError when there is none. Searches do so themselves."""


async def answers(
    ctx: PushContext, entries: Sequence[BundleEntry], *, name: str, reading: BatchReads
) -> list[dict[str, Any]]:
    """Each entry of a batch on its own. `name` is the same when the batch is sent again."""
    done: dict[int, Answer] = {}
    budget = AnswerBudget(ctx.limits.bytes_max)
    within = _Within(reading, budget, asyncio.Semaphore(_READ_TOGETHER))
    for phase in (*_PHASES, None):
        mine = [
            number
            for number, entry in enumerate(entries)
            if number not in done and phase in (None, method_of(entry))
        ]
        if phase in _PUTTING:
            done |= await _put(ctx, entries, mine, name)
        rest = [number for number in mine if number not in done]
        answered = await asyncio.gather(*(_answer(ctx, entries[n], f"{name} {n}", within) for n in rest))
        done |= dict(zip(rest, answered, strict=True))
    refused = {number: one for number, one in done.items() if isinstance(one, ServiceError)}
    letters: dict[int, str | None] = {}
    if refused and ctx.refused is not None:
        kept = await ctx.refused([(entries[number], error) for number, error in refused.items()])
        letters = dict(zip(refused, kept, strict=True))
    said = {n: replies.entry_of_error(error, letter=letters.get(n)) for n, error in refused.items()}
    whole = {**done, **said}
    return [one for n in range(len(entries)) if not isinstance(one := whole[n], ServiceError)]


def method_of(entry: BundleEntry) -> object:
    """The method an entry asks for, as it came."""
    return entry.request.get("method") if entry.request else None


# --- together


async def _put(
    ctx: PushContext, entries: Sequence[BundleEntry], numbers: Iterable[int], name: str
) -> dict[int, Answer]:
    """The answers to those that are a resource to put and no more; the others are left out."""
    readies: dict[int, Ready] = {}
    done: dict[int, Answer] = {}
    for turn, number in enumerate(numbers):
        if turn % _IN_A_ROW == _IN_A_ROW - 1:
            await asyncio.sleep(0)
        try:
            ready = await ctx.work(_ready, ctx, entries[number], f"{name} {number}")
        except ServiceError as error:
            done[number] = _refused(ctx, error)
        else:
            if ready is not None:
                readies[number] = ready
    if ctx.access is not None:
        ctx.access.stores([ready.prepared for ready in readies.values()])
    results = await ctx.store.put_each(ctx.tenant, [ready.prepared for ready in readies.values()])
    for (number, ready), result in zip(readies.items(), results, strict=True):
        if push.leaves_labels_out(result):
            continue  # Alone, it takes over what is there.
        try:
            if not _is_repeated(ctx, ready, result):
                done[number] = replies.entry_of(push.pushed(ctx, ready, result), base=ctx.base)
        except ServiceError as error:
            done[number] = _refused(ctx, error)
    return done


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
        ready = push.ready_to_create(ctx, resource, as_id=_id_of(ctx, name))
    else:
        key = ResourceKey(asked.type, asked.id)
        version, absent = if_match(asked.if_match), if_none_match(asked.if_none_match)
        ready = push.ready_to_update(ctx, key, resource, only_version=version, only_absent=absent)
        ready = ready._replace(prepared=replace(ready.prepared, keeps_labels=True))
    ready = ready._replace(tolerances=(*asked.tolerances, *ready.tolerances))
    return None if references_to_files(ready.prepared.body.tail) else ready


def _is_repeated(ctx: PushContext, ready: Ready, result: PutResult | ServiceError) -> bool:
    """Whether a create met what the same batch made so long ago that it is another one by now."""
    if isinstance(result, ServiceError) or not ready.prepared.posted:
        return False
    return result.outcome is Outcome.EXISTS and _is_forgotten(ctx, result)


def _is_forgotten(ctx: PushContext, result: PutResult) -> bool:
    window = timedelta(days=ctx.settings.idempotency_days)
    return result.stored.last_updated <= ctx.clock() - window


def _id_of(ctx: PushContext, name: str) -> str:
    """The id under which an entry creates: the same when its batch is sent again."""
    return stable_id(ctx.tenant, f"entry {name}", ctx.secret)


# --- one at a time


class _Within(NamedTuple):
    """Circumstances that the entries of a batch share."""

    reading: BatchReads
    budget: AnswerBudget
    together: asyncio.Semaphore


async def _answer(ctx: PushContext, entry: BundleEntry, name: str, within: _Within) -> Answer:
    """Answer to an entry of a batch, whatever becomes of it. `name`: equal when the entry is sent again."""
    try:
        if method_of(entry) not in READING:
            return await _interact(ctx, entry, name)
        async with within.together:
            return await _read_or_search(ctx, entry, within)
    except ServiceError as error:
        # Its traceback would keep what was read for the entry until the batch is answered.
        return _refused(ctx, error.with_traceback(None))


def _refused(ctx: PushContext, error: ServiceError) -> ServiceError:
    ctx.metrics.count("refused")
    return error


async def _read_or_search(ctx: PushContext, entry: BundleEntry, within: _Within) -> dict[str, Any]:
    asked, budget = interaction(entry, base=ctx.base, strict=ctx.strict), within.budget
    budget.check()
    search, places, hold = within.reading
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
    budget.spend(len(found.raw))
    return replies.entry_of_read(found, base=ctx.base)


async def _interact(ctx: PushContext, entry: BundleEntry, name: str) -> dict[str, Any]:
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
        done = await _create(ctx, asked, name)
        return replies.entry_of(_told(done, asked), base=ctx.base)
    if asked.id is None:
        raise ServiceError(Category.UNPROCESSABLE, _UNNAMED)
    key = ResourceKey(asked.type, asked.id)
    if asked.method == "PUT" and asked.resource is not None:
        only_version, only_absent = if_match(asked.if_match), if_none_match(asked.if_none_match)
        done = await push.update(ctx, key, asked.resource, only_version=only_version, only_absent=only_absent)
        return replies.entry_of(_told(done, asked), base=ctx.base)
    if asked.method == "DELETE":
        gone = await push.delete(ctx, key, only_version=if_match(asked.if_match))
        return replies.entry_of_deletion(gone)
    if asked.method == "PATCH":
        done = await conditional.patch_one(ctx, key, _patch_of(asked), only_version=if_match(asked.if_match))
        return replies.entry_of(done, base=ctx.base)
    issue = Issue("required", "the entry has no resource", ("Bundle.entry.resource",))
    raise ServiceError(Category.UNPROCESSABLE, issue)


async def _interact_where(ctx: PushContext, asked: Interaction, criteria: str) -> dict[str, Any]:
    """A conditional update, patch or deletion; creates have `ifNoneExist`."""
    version, absent = if_match(asked.if_match), if_none_match(asked.if_none_match)
    if asked.method == "PUT" and asked.resource is not None:
        done = await conditional.update_where(
            ctx, asked.type, criteria, asked.resource, only_version=version, only_absent=absent
        )
        return replies.entry_of(done, base=ctx.base)
    if asked.method == "DELETE":
        gone = await conditional.delete_where(ctx, asked.type, criteria, only_version=version)
        return replies.entry_of_deletion(gone)
    if asked.method == "PATCH":
        done = await conditional.patch_where(
            ctx, asked.type, criteria, _patch_of(asked), only_version=version
        )
        return replies.entry_of(done, base=ctx.base)
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
    done = await push.create(ctx, asked.type, resource, as_id=_id_of(ctx, name))
    if done.result.outcome is Outcome.EXISTS and _is_forgotten(ctx, done.result):
        return await push.create(ctx, asked.type, resource)
    return done


async def _found(ctx: PushContext, key: ResourceKey, version: int | None) -> Stored:
    store, tenant = ctx.store, ctx.tenant
    found = await (store.get(tenant, key) if version is None else store.get_version(tenant, key, version))
    return await seen(ctx.caller, found, base=lambda: ctx.base)
