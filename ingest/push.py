"""What a push does to the store: create, update, delete. `delivery` has the upserts of a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl
from uuid import uuid4

from ingest.identity import stable_id
from ingest.prepare import prepare
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.fhir.issues import Issue
from store.resources import Outcome, PutResult, ResourceKey, Stored
from store.search.criteria import Total
from store.search.parse import Context, parse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ingest.keys import Caller
    from ingest.metrics import IngestMetrics
    from ingest.settings import IngestSettings
    from store.fhir.datatypes import JsonObject
    from store.resources import Gone, ResourceStore
    from store.search.parse import Limits
    from store.tenancy import Tenant


class Pushed(NamedTuple):
    """What became of one resource."""

    result: PutResult
    tolerances: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What else is to be said of it."""


@dataclass(frozen=True, slots=True)
class Pusher:
    """One caller at one tenant: what every push needs to know."""

    store: ResourceStore
    tenant: Tenant
    caller: Caller
    base: str
    """The tenant's base URL."""
    secret: bytes
    clock: Callable[[], datetime]
    settings: IngestSettings
    limits: Limits
    metrics: IngestMetrics


async def create(
    to: Pusher, resource_type: str, resource: JsonObject, *, if_none_exist: str | None = None
) -> Pushed:
    """Store under a new id; the id in the body is not looked at. https://hl7.org/fhir/R4/http.html#create"""
    _check_type(resource, resource_type)
    if if_none_exist is not None:
        return await _create_if_none(to, resource_type, resource, if_none_exist)
    ready = prepare(resource, str(uuid4()), base=to.base, fresh=True)
    [result] = await to.store.put_many(to.tenant, [ready.prepared])
    return _counted(to, Pushed(result, ready.tolerances))


async def _create_if_none(to: Pusher, resource_type: str, resource: JsonObject, criteria: str) -> Pushed:
    """Conditional create: simultaneous twins derive one id from the condition, and one of them is stored."""
    found = await _one_match(to, resource_type, criteria)
    if found is None:
        derived = stable_id(to.tenant, f"if-none-exist {resource_type}?{criteria}", to.secret)
        ready = prepare(resource, derived, base=to.base)
        [result] = await to.store.put_many(to.tenant, [replace(ready.prepared, only_absent=True)])
        if result.outcome is not Outcome.EXISTS:
            return _counted(to, Pushed(result, ready.tolerances))
        found = await _one_match(to, resource_type, criteria)
    if found is None:
        # What was once made for this condition no longer fulfils it.
        return await create(to, resource_type, resource)
    return _counted(to, Pushed(PutResult(Outcome.EXISTS, found)))


async def _one_match(to: Pusher, resource_type: str, criteria: str) -> Stored | None:
    """The one resource for which a condition holds. Raises ServiceError `precondition` when several do."""
    context = Context(to.limits, to.base, from_datetime(to.clock()).start, strict=True)
    pairs = [(n, v) for n, v in parse_qsl(criteria.removeprefix("?")) if not n.startswith("_") or n == "_id"]
    understood = parse(resource_type, pairs, context)
    if not understood.query.clauses:
        issue = Issue("required", "the condition names no search parameter", ("If-None-Exist",))
        raise ServiceError(Category.INCORRECT, issue)
    page = await to.store.search(to.tenant, replace(understood.query, count=1, total=Total.NONE))
    if page.next is not None:
        issue = Issue(
            "multiple-matches", "the condition holds for more than one resource", ("If-None-Exist",)
        )
        raise ServiceError(Category.PRECONDITION, issue)
    stored = await to.store.get(to.tenant, page.entries[0].key) if page.entries else None
    return stored if isinstance(stored, Stored) else None


async def update(
    to: Pusher,
    key: ResourceKey,
    resource: JsonObject,
    *,
    only_version: int | None = None,
    only_absent: bool = False,
) -> Pushed:
    """Store under the client's id, creating it when it is new. https://hl7.org/fhir/R4/http.html#update"""
    _check_type(resource, key.type)
    if resource.get("id") != key.id:
        path = f"{key.type}.id"
        issue = Issue("invalid", f"`{path}` must be the id in the URL", (path,))
        raise ServiceError(Category.INCORRECT, issue)
    ready = prepare(resource, key.id, base=to.base)
    conditions = replace(ready.prepared, only_version=only_version, only_absent=only_absent)
    [result] = await to.store.put_many(to.tenant, [conditions])
    if result.outcome is Outcome.EXISTS:
        issue = Issue("conflict", "`If-None-Match: *` was asked for, and the resource is there")
        raise ServiceError(Category.PRECONDITION, issue)
    return _counted(to, Pushed(result, ready.tolerances))


async def delete(to: Pusher, key: ResourceKey, *, only_version: int | None = None) -> Gone | None:
    """Delete; not an error when there is nothing. https://hl7.org/fhir/R4/http.html#delete"""
    gone = await to.store.delete(to.tenant, key, only_version=only_version)
    to.metrics.count("deleted")
    return gone


def check_scope(caller: Caller, resource_type: str, letters: str) -> None:
    """Raise ServiceError `forbidden` unless the token allows these interactions on the type."""
    if not caller.may(resource_type, letters):
        text = f"the token's scopes do not allow `{letters}` on this resource type"
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", text))


def at_entry(issue: Issue, number: int) -> Issue:
    """An issue of a resource as one of its Bundle."""
    where = f"Bundle.entry[{number}].resource"
    inner = tuple(f"{where}{path[path.find('.') :] if '.' in path else ''}" for path in issue.expression)
    return replace(issue, text=f"`{where}`: {issue.text}", expression=inner or (where,))


def _check_type(resource: JsonObject, resource_type: str) -> None:
    if resource.get("resourceType") != resource_type:
        issue = Issue("invalid", "`resourceType` must be the type in the URL", ("resourceType",))
        raise ServiceError(Category.INCORRECT, issue)


def _counted(to: Pusher, pushed: Pushed) -> Pushed:
    to.metrics.count(pushed.result.outcome.value, pushed.tolerances)
    return pushed
