"""Conditional update, delete and patch: a condition finds the resource, and its version guards the write.

What was found may change before it is written; then the store refuses the version, and the condition is
tested again. So a write never hits a resource for which its condition no longer holds.
https://hl7.org/fhir/R4/http.html#cond-update
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.pipeline import json_patch as patch
from ingest.pipeline.decode import decode
from ingest.pipeline.preconditions import current, holds, names_version, not_held
from ingest.writes import criteria, push
from ingest.writes.push import Pushed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import ANY_VERSION, Gone, Outcome, Stored
from store.retrying import pause_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.caller import Caller
    from ingest.writes.criteria import Criteria
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject

ATTEMPTS_MAX: Final = 50
"""Attempts at a write when others change what was found; twenty at once need twenty."""


async def update_where(  # noqa: PLR0913 -- the headers are keyword-only
    ctx: PushContext,
    resource_type: str,
    text: str,
    resource: JsonObject,
    *,
    only_version: int | None = None,
    only_absent: bool = False,
) -> Pushed:
    """PUT {Type}?criteria. None: create, under the body's id when that is free; one: update; several: 412."""
    push.check_type(resource, resource_type)
    asked = criteria.read(ctx, resource_type, text, where=criteria.QUERY)
    for attempt in range(ATTEMPTS_MAX):
        await pause_before(attempt)
        found = await criteria.one_match(ctx, asked)
        if found is not None:
            if only_absent:
                raise ServiceError(Category.PRECONDITION, push.IS_THERE)
            done = await _update_found(ctx, found, resource, only_version)
        elif not holds(only_version, None):
            raise not_held(only_version)
        else:
            done = await _create_absent(ctx, asked, text, resource)
        if done is not None:
            return done
    raise _contended()


async def _update_found(
    ctx: PushContext, found: Stored, resource: JsonObject, only_version: int | None
) -> Pushed | None:
    """Update the one match; None when somebody was faster."""
    if resource.get("id", found.key.id) != found.key.id:
        path = f"{found.key.type}.id"
        text = f"`{path}` must be absent or the id of the resource for which the condition holds"
        raise ServiceError(Category.INCORRECT, Issue("invalid", text, (path,)))
    if not holds(only_version, found):
        raise not_held(only_version)
    named = {**resource, "id": found.key.id}
    try:
        return await push.update(ctx, found.key, named, only_version=found.version)
    except ServiceError as error:
        _unless_raced(error, asked=only_version)
        return None


async def _create_absent(ctx: PushContext, asked: Criteria, text: str, resource: JsonObject) -> Pushed | None:
    """Create what no condition found; None when a twin was faster."""
    if "id" not in resource:
        done = await push.create(ctx, asked.type, resource, if_none_exist=text)
        return None if done.result.outcome is Outcome.EXISTS else done
    key = ResourceKey(asked.type, str(resource["id"]))
    try:
        return await push.update(ctx, key, resource, only_absent=True)
    except ServiceError as error:
        if error.category is not Category.PRECONDITION:
            raise
    if await criteria.one_match(ctx, asked) is not None:
        return None  # Whoever was faster stored what the condition asks for.
    path = f"{key.type}.id"
    issue = Issue(
        "conflict", f"`{path}` is taken by a resource for which the condition does not hold", (path,)
    )
    raise ServiceError(Category.CONFLICT, issue)


async def delete_where(
    ctx: PushContext, resource_type: str, text: str, *, only_version: int | None = None
) -> Gone | None:
    """DELETE {Type}?criteria. None: nothing to do; one: delete; several: 412, nothing is deleted."""
    asked = criteria.read(ctx, resource_type, text, where=criteria.QUERY)
    for attempt in range(ATTEMPTS_MAX):
        await pause_before(attempt)
        found = await criteria.one_match(ctx, asked)
        if not holds(only_version, found):
            raise not_held(only_version)
        if found is None:
            return None
        try:
            return await push.delete(ctx, found.key, only_version=found.version)
        except ServiceError as error:
            _unless_raced(error, asked=only_version)
    raise _contended()


async def patch_one(
    ctx: PushContext,
    key: ResourceKey,
    operations: Sequence[patch.Operation],
    *,
    only_version: int | None = None,
) -> Pushed:
    """PATCH {Type}/{id}."""
    check_tests(ctx.caller, key.type, operations)
    for attempt in range(ATTEMPTS_MAX):
        await pause_before(attempt)
        found = current(await ctx.store.get(ctx.tenant, key), only_version)
        done = await _patch_found(ctx, found, operations, only_version)
        if done is not None:
            return done
    raise _contended()


async def patch_where(
    ctx: PushContext,
    resource_type: str,
    text: str,
    operations: Sequence[patch.Operation],
    *,
    only_version: int | None = None,
) -> Pushed:
    """PATCH {Type}?criteria. None: 404; one: patch; several: 412."""
    check_tests(ctx.caller, resource_type, operations)
    asked = criteria.read(ctx, resource_type, text, where=criteria.QUERY)
    for attempt in range(ATTEMPTS_MAX):
        await pause_before(attempt)
        found = await criteria.one_match(ctx, asked)
        if found is None:
            if only_version == ANY_VERSION:
                raise not_held(only_version)
            text = "the condition holds for no resource"
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", text, (criteria.QUERY,)))
        done = await _patch_found(ctx, found, operations, only_version)
        if done is not None:
            return done
    raise _contended()


def check_tests(caller: Caller, resource_type: str, operations: Sequence[patch.Operation]) -> None:
    """Raise ServiceError `forbidden` when a patch compares what its sender may not read."""
    if caller.may(resource_type, "r"):
        return
    tests = [f"[{one.number}]" for one in operations if one.op == "test"]
    if tests:
        text = (
            "the operation `test` tells what is stored: it needs the scope to read this resource type"
            f" (`system/{resource_type}.r`)"
        )
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", text, tuple(tests)))


async def _patch_found(
    ctx: PushContext, found: Stored, operations: Sequence[patch.Operation], only_version: int | None
) -> Pushed | None:
    """Patch this version; None when it is no longer the current one."""
    if not holds(only_version, found):
        raise not_held(only_version)
    ctx = ctx.for_bytes(len(found.raw))
    resource = await ctx.work(decode, found.raw)
    patched = await ctx.work(patch.apply, resource, operations)
    try:
        return await push.update(ctx, found.key, patched, only_version=found.version, whole=True)
    except ServiceError as error:
        _unless_raced(error, asked=only_version)
        return None


def _unless_raced(error: ServiceError, *, asked: int | None) -> None:
    """Raise the error again unless it is that of a lost race, which the caller did not ask to hear of."""
    if names_version(asked) or error.category is not Category.PRECONDITION:
        raise error


def _contended() -> ServiceError:
    text = "the resource was changed by others all the while; try again"
    return ServiceError(Category.CONFLICT, Issue("conflict", text))
