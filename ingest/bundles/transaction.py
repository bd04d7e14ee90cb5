"""Execution of a transaction: everything in one MongoDB transaction, or nothing.

Who interferes meanwhile makes it start over, look-ups included. https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ingest.bundles.answer_budget import AnswerBudget
from ingest.bundles.shown import entry_of, part_of, whole
from ingest.bundles.transaction_actions import Condition, Delete, Existing, Put, Read, Search
from ingest.bundles.transaction_entries import conditions, read_transaction
from ingest.bundles.transaction_plan import patched_keys, place
from ingest.http import replies
from ingest.pipeline import json_patch as patch
from ingest.pipeline.bundle_entries import READING, at_entry
from ingest.pipeline.decode import decode
from ingest.pipeline.preconditions import current, has_it, if_match, not_held, since
from ingest.pipeline.prepare import prepare
from ingest.pipeline.validation.validate import refuse_subset
from ingest.unique import secret_id
from ingest.work import each_of, unhurried
from ingest.writes import criteria, filing
from ingest.writes.conditional import check_tests
from ingest.writes.push import Pushed, check_scope, existing, labelled, leaves_labels_out
from store.errors import ISSUES_MAX, Category, ServiceError
from store.fhir.datatypes import listed
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Deletion, Gone, Outcome, PutResult, Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Mapping, Sequence

    from ingest.bundles.shown import Cut
    from ingest.bundles.transaction_actions import Action, Asked, Found
    from ingest.pipeline.prepare import Ready
    from ingest.writes.criteria import Criteria
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import Json, JsonObject
    from store.resources.resources import ResourceStore, StoreInTransaction
    from store.resources.versions import Prepared

    Searches = Callable[[str, str, int], Awaitable[bytes]]
    """Answers a search: (type, query string, most bytes) → searchset."""

LETTERS: Final[Mapping[str, str]] = {
    "DELETE": "d",
    "POST": "c",
    "PUT": "u",
    "PATCH": "u",
    "GET": "r",
    "HEAD": "r",
}
"""Scope that each method of an entry asks of the caller, in batches too."""


async def transact(  # noqa: PLR0913 -- what it is made of
    ctx: PushContext,
    unit: StoreInTransaction,
    bundle: JsonObject,
    *,
    outside: ResourceStore,
    search: Searches | None = None,
    cut: Cut = whole,
) -> list[dict[str, Any]]:
    """The entries of the answer, in order. `outside` is the store as everybody sees it."""
    taken = await filing.taken_out(ctx, bundle)
    most = ctx.settings.transaction_entries_max
    asked = await ctx.work(
        read_transaction, taken.resource, entries_max=most, base=ctx.base, strict=ctx.strict
    )
    for one in asked:
        check_scope(ctx.caller, one.asks.type, "s" if one.searches else LETTERS[one.asks.method])
    found, derived = await _look_up(ctx, unit, outside, asked)
    patched = {one.number for one in asked if one.asks.method == "PATCH"}
    asked = await _patched(ctx, unit, asked, found)
    actions = await ctx.work(place, asked, found, base=ctx.base, derived=derived.__getitem__)
    readies = await ctx.work(_prepared, ctx, actions)
    # Files are not in the transaction: those of one that fails are orphans, and collected.
    await filing.file_first(ctx, [ready.prepared for ready in readies.values()], taken.files)
    await unit.pin(ctx.tenant, _patients_of(found))
    try:
        done = await _write(unit, ctx, actions, readies, whole=patched)
    except ServiceError as error:
        if not leaves_labels_out(error):
            raise
        actions = [await _labelled(ctx, unit, action, patched) for action in actions]
        readies = await ctx.work(_prepared, ctx, actions)
        done = await _write(unit, ctx, actions, readies)
    budget = AnswerBudget(ctx.limits.bytes_max, ctx.prefer)
    return [
        await _search(action, search, budget)
        if isinstance(action, Search)
        else await _read(ctx, unit, action, budget, cut)
        if isinstance(action, Read)
        else await _answer(ctx, unit, action, readies, done, budget)
        async for action in unhurried(actions)
    ]


async def _search(action: Search, search: Searches | None, budget: AnswerBudget) -> dict[str, Any]:
    """The answer of a search as it would be before the transaction: one that is refused refuses it."""
    path = f"Bundle.entry[{action.number}].request"
    if search is None:
        text = f"`{path}`: a search in a transaction goes over HTTP, and without `Idempotency-Key`"
        raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, (path,)))
    budget.check()
    searchset = await search(action.type, action.query, budget.left)
    budget.spend(len(searchset))
    return replies.entry_of_search(searchset)


async def searched(
    ctx: PushContext, bundle: JsonObject, entries: list[dict[str, Any]], search: Searches
) -> list[dict[str, Any]]:
    """The answer of a transaction with its searches done again behind it: R4 has them see what it stored."""
    if not any(_is_reading(entry) for entry in listed(bundle.get("entry"))):
        return entries
    most, budget = ctx.settings.transaction_entries_max, AnswerBudget(ctx.limits.bytes_max, ctx.prefer)
    read = partial(read_transaction, bundle, entries_max=most, base=ctx.base, strict=ctx.strict)
    for one in await asyncio.to_thread(read):
        if not one.searches:
            continue
        try:
            action = Search(one.number, one.asks.type, one.asks.query or "")
            entries[one.number] = await _search(action, search, budget)
        except ServiceError as error:  # What it stored is durable: it must not be refused for this.
            entries[one.number] = replies.entry_of_error(error)
    return entries


def _is_reading(entry: Json) -> bool:
    request = entry.get("request") if isinstance(entry, dict) else None
    return isinstance(request, dict) and request.get("method") in READING


async def _look_up(
    ctx: PushContext, unit: StoreInTransaction, outside: ResourceStore, asked: Sequence[Asked]
) -> tuple[Found, dict[Condition, str]]:
    """Resources that fulfil each condition, and the id to take should nothing do so."""
    enough = 2 + sum(one.asks.method == "DELETE" for one in asked)  # Deletions fulfil nothing any more.
    creating = {one.condition for one in asked if one.asks.method in ("POST", "PUT")}
    derived: dict[Condition, str] = {}

    async def matches(condition: Condition) -> tuple[ResourceKey, ...]:
        understood = criteria.read(ctx, condition.type, condition.criteria, where="Bundle.entry")
        if condition in creating:
            derived[condition] = await _derived(ctx, outside, understood)
        return await criteria.matches(ctx, understood, enough=enough)

    wanted = sorted(await ctx.work(conditions, asked, ctx.base))
    if wanted:  # Searches are not in the transaction: what changes between them and a write is a conflict.
        await unit.begin()
    found = await each_of(wanted, matches)
    return dict(zip(wanted, found, strict=True)), derived


def _patients_of(found: Found) -> list[ResourceKey]:
    """The Patients that conditions were found to mean: what is filed under one is filed under the right one.

    Of others, such as a Practitioner, many transactions at a time speak, and would wait for each other.
    """
    return sorted({key for keys in found.values() for key in keys if key.type == "Patient"})


async def _derived(ctx: PushContext, outside: ResourceStore, asked: Criteria) -> str:
    """The id that simultaneous twins derive from one condition, and meet at.

    It must be looked at before the search, and outside the transaction: what is there by then, and is not
    found afterwards, was made for this condition once and fulfils it no more.
    """
    derived = criteria.derived_id(ctx, asked, 0)
    there = await outside.get(ctx.tenant, ResourceKey(asked.type, derived))
    return secret_id() if isinstance(there, Stored) else derived


async def _patched(
    ctx: PushContext, unit: StoreInTransaction, asked: Sequence[Asked], found: Found
) -> list[Asked]:
    """Entries with each patch as the update that it comes to, of what is there within the transaction."""
    keys = patched_keys(asked, found)
    done: list[Asked] = []
    for one in asked:
        key = keys.get(one.number)
        if key is None:
            done.append(one)
            continue
        where = f"Bundle.entry[{one.number}].resource"
        there = await unit.get(ctx.tenant, key)
        try:
            before = current(there, if_match(one.asks.if_match))
            operations = patch.carried(one.asks.resource, where)
            check_tests(ctx.caller, key.type, operations)
            work = ctx.for_bytes(len(before.raw)).work
            resource = await work(patch.apply, await work(decode, before.raw), operations)
        except ServiceError as error:
            raise ServiceError(error.category, *(_placed(issue, where) for issue in error.issues)) from None
        if (resource.get("resourceType"), resource.get("id")) != key:
            issue = Issue("invalid", f"`{where}`: a patch must leave type and id as they are", (where,))
            raise ServiceError(Category.INCORRECT, issue)
        asks = one.asks._replace(method="PUT", id=key.id, query=None, resource=resource)
        done.append(one._replace(asks=asks))
    return done


def _placed(issue: Issue, where: str) -> Issue:
    """An issue of a patch with the place of the patch in the Bundle."""
    if any(path.startswith(where) for path in issue.expression):
        return issue
    return replace(issue, text=f"`{where}`: {issue.text}", expression=(where,))


def _prepared(ctx: PushContext, actions: Sequence[Action]) -> dict[int, Ready]:
    """Resources to be stored, by number of entry. Raises ServiceError with every issue of all of them."""
    readies: dict[int, Ready] = {}
    issues: list[Issue] = []
    for action in actions:
        if len(issues) > ISSUES_MAX:
            break
        if not isinstance(action, Put):
            continue
        try:
            if not (action.fresh or action.only_unmatched):
                refuse_subset(action.resource)
            readies[action.number] = prepare(
                action.resource,
                action.key.id,
                base=ctx.base,
                fresh=action.fresh,
                strict=ctx.strict,
                entries_max=ctx.settings.index_entries_max,
            )
        except ServiceError as error:
            issues += [at_entry(issue, action.number) for issue in error.issues]
    if issues:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    total = sum(len(r.prepared.body.head) + len(r.prepared.body.tail) for r in readies.values())
    if total > ctx.settings.transaction_bytes_max:
        text = f"the resources of a transaction may have at most {ctx.settings.transaction_bytes_max} bytes"
        raise ServiceError(Category.TOO_LARGE, Issue("too-long", text, ("Bundle",)))
    return readies


async def _labelled(
    ctx: PushContext, unit: StoreInTransaction, action: Action, whole: Container[int]
) -> Action:
    """An update with the labels that it leaves out, as they are within the transaction."""
    if not isinstance(action, Put) or action.fresh or action.number in whole:
        return action
    there = await unit.get(ctx.tenant, action.key)
    return replace(action, resource=labelled(action.resource, there))


async def _write(
    unit: StoreInTransaction,
    ctx: PushContext,
    actions: Sequence[Action],
    readies: Mapping[int, Ready],
    *,
    whole: Container[int] | None = None,
) -> dict[int, PutResult | Gone | None]:
    writes: dict[int, Prepared | Deletion] = {}
    for action in actions:
        if isinstance(action, Put):
            writes[action.number] = readies[action.number].prepared._replace(
                only_version=if_match(action.if_match),
                only_absent=action.only_absent or action.only_unmatched,
                keeps_labels=whole is not None and action.number not in whole,
                unless_since=ctx.since,
            )
        elif isinstance(action, Delete):
            version = if_match(action.if_match)
            if action.key is not None:
                writes[action.number] = Deletion(action.key, version)
            elif version is not None:
                raise not_held(version)
    done = dict(zip(writes, await unit.write_many(ctx.tenant, list(writes.values())), strict=True))
    for action in actions:
        if isinstance(action, Put) and _exists(done[action.number]):
            if action.only_unmatched:
                raise unit.overtaken()
            path = f"Bundle.entry[{action.number}].request.ifNoneMatch"
            issue = Issue("conflict", f"`{path}` is `*`, and the resource is there", (path,))
            raise ServiceError(Category.PRECONDITION, issue)
    return done


def _exists(result: PutResult | Gone | None) -> bool:
    return isinstance(result, PutResult) and result.outcome is Outcome.EXISTS


async def _answer(  # noqa: PLR0913 -- what one transaction is made of
    ctx: PushContext,
    unit: StoreInTransaction,
    action: Put | Delete | Existing,
    readies: Mapping[int, Ready],
    done: Mapping[int, PutResult | Gone | None],
    budget: AnswerBudget,
) -> dict[str, Any]:
    match action:
        case Put():
            result = done[action.number]
            assert isinstance(result, PutResult)  # noqa: S101 -- a Put has no other result
            tolerances = (*action.tolerances, *readies[action.number].tolerances)
            ctx.metrics.count(result.outcome.value, tolerances)
            kept = readies[action.number].kept
            return entry_of(ctx, Pushed(result, tolerances, kept=kept), budget)
        case Delete():
            gone = done.get(action.number)
            ctx.metrics.count("deleted")
            return replies.entry_of_deletion(gone if isinstance(gone, Gone) else None)
        case Existing():
            there = await unit.get(ctx.tenant, action.key)
            if not isinstance(there, Stored):  # Deleted since it was looked up.
                raise unit.overtaken()
            ctx.metrics.count(Outcome.EXISTS.value)
            return entry_of(ctx, existing(ctx, there), budget)


async def _read(
    ctx: PushContext, unit: StoreInTransaction, action: Read, budget: AnswerBudget, cut: Cut
) -> dict[str, Any]:
    """R4: either each entry ends well, or the transaction does not."""
    budget.check()
    path = f"Bundle.entry[{action.number}].request.url"
    if action.version is None:
        found = await unit.get(ctx.tenant, action.key)
    else:
        found = await unit.get_version(ctx.tenant, action.key, action.version)
    match found:
        case Stored() as stored:
            modified_since = since(action.if_modified_since)
            if has_it(stored, none_match=action.if_none_match, modified_since=modified_since):
                return replies.entry_of_unchanged(stored)
            shown = await part_of(ctx, stored, action.query, cut)
            budget.spend(len(shown))
            return replies.entry_of_read(stored, shown, base=ctx.base)
        case Gone():
            raise ServiceError(Category.GONE, Issue("deleted", f"`{path}`: it was deleted", (path,)))
        case None:
            raise ServiceError(
                Category.NOT_FOUND, Issue("not-found", f"`{path}`: there is no such resource", (path,))
            )
