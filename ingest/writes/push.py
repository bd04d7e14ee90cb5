"""Pushes of single resources: create, update, delete. `delivery` has the upserts of a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.decode import decode
from ingest.pipeline.documents import refuse_file_id
from ingest.pipeline.prepare import Ready, prepare
from ingest.pipeline.validation.validate import refuse_subset
from ingest.unique import secret_id
from ingest.writes import criteria, filing
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.resource_types import RESOURCE_TYPES
from store.near import near
from store.resources.resource_keys import ResourceKey
from store.resources.versions import LABELS, LABELS_LEFT_OUT, Outcome, PutResult, Stored

if TYPE_CHECKING:
    from ingest.access import Access
    from ingest.caller import Caller
    from ingest.pipeline.documents import Taken
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.resources.versions import Gone, SourceTime


TURNS_MAX: Final = 20
"""Ids tried for one condition: what was made at the ones before no longer fulfils it."""
IS_THERE: Final = Issue("conflict", "`If-None-Match: *` was asked for, and the resource is there")


class Pushed(NamedTuple):
    """Outcome for one resource."""

    result: PutResult
    tolerances: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Further notes for the reply."""
    veiled: bool = False
    """Whether it was there, and its sender may not read it: the answer says where it is, and no more."""
    kept: tuple[Issue, ...] = ()
    """Deviations from R4 that were kept all the same."""


async def create(
    ctx: PushContext,
    resource_type: str,
    resource: JsonObject,
    *,
    if_none_exist: str | None = None,
    as_id: str | None = None,
) -> Pushed:
    """Store under a new id; the id in the body is not looked at. https://hl7.org/fhir/R4/http.html#create

    `as_id` is that of an earlier attempt at the same: what it stored answers with `Outcome.EXISTS`.
    """
    check_type(resource, resource_type)
    taken = await filing.taken_out_of(ctx, resource)
    if if_none_exist is not None:
        return await _create_if_none(ctx, resource_type, taken, if_none_exist)
    return await _create(ctx, taken, as_id=as_id)


async def _create(ctx: PushContext, taken: Taken, *, as_id: str | None = None) -> Pushed:
    ready = await ctx.work(ready_to_create, ctx, taken.resource, as_id=as_id)
    [result] = await filing.put(ctx, [ready.prepared], taken.files)
    return _counted(ctx, Pushed(result, (*taken.tolerances, *ready.tolerances), kept=ready.kept))


def ready_of(ctx: PushContext, resource: JsonObject, resource_id: str, *, fresh: bool = False) -> Ready:
    """A resource prepared, with no more index entries than there may be."""
    most = ctx.settings.index_entries_max
    ready = prepare(resource, resource_id, base=ctx.base, fresh=fresh, strict=ctx.strict, entries_max=most)
    if ctx.since is None:
        return ready
    return ready._replace(prepared=ready.prepared._replace(unless_since=ctx.since))


def ready_to_create(ctx: PushContext, resource: JsonObject, *, as_id: str | None = None) -> Ready:
    """Resource as a create puts it into the store."""
    # An id of an earlier attempt is hardly ever there: that shows when it is written.
    fresh = as_id is not None or ctx.new_id is secret_id
    ready = ready_of(ctx, resource, as_id or ctx.new_id(), fresh=fresh)
    return ready._replace(prepared=ready.prepared._replace(posted=True, only_absent=as_id is not None))


async def _create_if_none(ctx: PushContext, resource_type: str, taken: Taken, text: str) -> Pushed:
    """Conditional create: simultaneous twins derive one id from the condition, and one of them is stored."""
    asked = criteria.read(ctx, resource_type, text, where="If-None-Exist")
    for turn in range(TURNS_MAX):
        found = await criteria.one_match(ctx, asked)
        if found is not None:
            return _counted(ctx, existing(ctx, found))
        derived = criteria.derived_id(ctx, asked, turn)
        ready = await ctx.work(ready_of, ctx, taken.resource, derived)
        if criteria.surely_misses(asked, ready.prepared):
            break
        prepared = ready.prepared._replace(only_absent=True, posted=True)
        [result] = await filing.put(ctx, [prepared], taken.files)
        if result.outcome is not Outcome.EXISTS:
            return _counted(ctx, Pushed(result, (*taken.tolerances, *ready.tolerances), kept=ready.kept))
        # A twin was faster; or what was once made for this condition no longer fulfils it.
    found = await criteria.one_match(ctx, asked)
    if found is not None:
        return _counted(ctx, existing(ctx, found))
    return await _create(ctx, taken)


def existing(ctx: PushContext, found: Stored) -> Pushed:
    """Answer to a create whose condition found something; nothing is stored."""
    veiled = not ctx.caller.may(found.key.type, "r")
    return Pushed(PutResult(Outcome.EXISTS, found), veiled=veiled)


async def update(  # noqa: PLR0913 -- the conditions are keyword-only
    ctx: PushContext,
    key: ResourceKey,
    resource: JsonObject,
    *,
    only_version: int | None = None,
    only_absent: bool = False,
    sourced: SourceTime = "",
    whole: bool = False,
) -> Pushed:
    """Store under the client's id, creating it when it is new. https://hl7.org/fhir/R4/http.html#update

    Tags, security labels and profiles that it leaves out stay, unless it is `whole`, as what a patch leaves.
    """
    _check_id(resource, key)
    taken = await filing.taken_out_of(ctx, resource)
    body = taken.resource
    for attempt in range(TURNS_MAX):
        ready = await ctx.work(
            ready_to_update, ctx, key, body, only_version=only_version, only_absent=only_absent
        )
        keeps = not (whole or sourced)
        ready = ready._replace(prepared=ready.prepared._replace(sourced=sourced, keeps_labels=keeps))
        try:
            [result] = await filing.put(ctx, [ready.prepared], taken.files)
        except ServiceError as error:
            if not leaves_labels_out(error) or attempt + 1 == TURNS_MAX:
                raise
            body = labelled(taken.resource, await ctx.store.get(ctx.tenant, key))
        else:
            return pushed(ctx, ready._replace(tolerances=(*taken.tolerances, *ready.tolerances)), result)
    raise AssertionError


def leaves_labels_out(error: object) -> bool:
    """Whether an update was refused for the labels that it does not repeat."""
    return isinstance(error, ServiceError) and LABELS_LEFT_OUT in error.issues


def labelled(resource: JsonObject, there: Stored | Gone | None) -> JsonObject:
    """An update with the labels that it leaves out, as they are there."""
    if not isinstance(there, Stored):
        return resource
    before, meta = decode(there.raw).get("meta"), resource.get("meta")
    own = meta if isinstance(meta, dict) else {}
    kept = {name: before[name] for name in LABELS if name in before} if isinstance(before, dict) else {}
    return {**resource, "meta": {**kept, **{name: value for name, value in own.items() if value}}}


def ready_to_update(
    ctx: PushContext, key: ResourceKey, resource: JsonObject, *, only_version: int | None, only_absent: bool
) -> Ready:
    """Resource as an update puts it into the store."""
    _check_id(resource, key)
    refuse_subset(resource)
    ready = ready_of(ctx, resource, key.id)
    if only_version is None and not only_absent:
        return ready
    return ready._replace(
        prepared=ready.prepared._replace(only_version=only_version, only_absent=only_absent)
    )


def _check_id(resource: JsonObject, key: ResourceKey) -> None:
    check_type(resource, key.type)
    if resource.get("id") != key.id:
        path = f"{key.type}.id"
        given = "" if "id" in resource else "; it is missing"
        issue = Issue("invalid", f"`{path}` must be the id in the URL{given}", (path,))
        raise ServiceError(Category.INCORRECT, issue)
    refuse_file_id(*key)


def pushed(ctx: PushContext, ready: Ready, result: PutResult | ServiceError) -> Pushed:
    """Outcome for a resource, after counting it. Raises the store's ServiceError, or what `*` forbids."""
    if isinstance(result, ServiceError):
        raise result
    if result.outcome is Outcome.EXISTS and not ready.prepared.posted:
        raise ServiceError(Category.PRECONDITION, IS_THERE)
    return _counted(ctx, Pushed(result, ready.tolerances, kept=ready.kept))


async def delete(
    ctx: PushContext, key: ResourceKey, *, only_version: int | None = None, sourced: SourceTime = ""
) -> Gone | None:
    """Delete a resource, and return its tombstone; None: there was nothing to delete, which is no error.

    https://hl7.org/fhir/R4/http.html#delete
    """
    if ctx.access is not None:
        await _note_patient(ctx, ctx.access, key)
    gone = await ctx.store.delete(ctx.tenant, key, only_version=only_version, sourced=sourced)
    ctx.metrics.count("deleted")
    return gone


async def _note_patient(ctx: PushContext, access: Access, key: ResourceKey) -> None:
    """Note in the audit whom a resource is about that is to be deleted."""
    there = await ctx.store.get(ctx.tenant, key)
    if isinstance(there, Stored):
        access.answers(key, there.raw)


def check_scope(caller: Caller, resource_type: str, letters: str) -> None:
    """Raise ServiceError `forbidden` unless the token allows these interactions on the type."""
    if not caller.may(resource_type, letters):
        text = f"the token's scopes do not allow `{letters}` on this resource type"
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", text))


def check_type(resource: JsonObject, resource_type: str) -> None:
    """Raise ServiceError `incorrect` unless the body is of the type in the URL."""
    if resource.get("resourceType") != resource_type:
        raise ServiceError(
            Category.INCORRECT, Issue("invalid", _other_type(resource, resource_type), ("resourceType",))
        )


def _other_type(resource: JsonObject, resource_type: str) -> str:
    """The rule, and where a body of this type belongs."""
    rule = f"`resourceType` must be the type in the URL, `{resource_type}`"
    given = resource.get("resourceType")
    if not isinstance(given, str):
        return f"{rule}; it is missing"
    if given == "Bundle":
        return f"{rule}; a batch or transaction is posted to the base itself, a message to `$process-message`"
    return (
        f"{rule}; a `{given}` is pushed to `{given}`"
        if given in RESOURCE_TYPES
        else rule + near(given, RESOURCE_TYPES)
    )


def _counted(ctx: PushContext, pushed: Pushed) -> Pushed:
    ctx.metrics.count(pushed.result.outcome.value, pushed.tolerances)
    return pushed
