"""What a push does to the store: create, update, delete, and the upserts of a message."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import uuid4

from ingest import criteria
from ingest.bundles import at_entry
from ingest.messages import place, read_message
from ingest.prepare import prepare
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources import Outcome, PutResult, ResourceKey

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from ingest.bundles import BundleEntry
    from ingest.keys import Caller
    from ingest.metrics import IngestMetrics
    from ingest.settings import IngestSettings
    from store.fhir.datatypes import JsonObject
    from store.resources import Gone, ResourceStore
    from store.search.parse import Limits
    from store.tenancy import Tenant

TURNS_MAX: Final = 20
"""Ids tried for one condition: what was made at the ones before no longer fulfils it."""
IS_THERE: Final = Issue("conflict", "`If-None-Match: *` was asked for, and the resource is there")


class Pushed(NamedTuple):
    """What became of one resource."""

    result: PutResult
    tolerances: tuple[str, ...] = ()


def random_id() -> str:
    """A new id."""
    return str(uuid4())


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
    new_id: Callable[[], str] = random_id
    """For creates. The replay of a dead letter brings its own, so that it makes no twins."""
    refused: Callable[[BundleEntry, ServiceError], Awaitable[str | None]] | None = None
    """Keeps a refused entry of a batch as a dead letter; gives the letter's id."""


async def create(
    to: Pusher,
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
    if if_none_exist is not None:
        return await _create_if_none(to, resource_type, resource, if_none_exist)
    fresh = as_id is None and to.new_id is random_id
    ready = prepare(resource, as_id or to.new_id(), base=to.base, fresh=fresh)
    prepared = replace(ready.prepared, posted=True, only_absent=as_id is not None)
    [result] = await to.store.put_many(to.tenant, [prepared])
    return _counted(to, Pushed(result, ready.tolerances))


async def _create_if_none(to: Pusher, resource_type: str, resource: JsonObject, text: str) -> Pushed:
    """Conditional create: simultaneous twins derive one id from the condition, and one of them is stored."""
    asked = criteria.read(to, resource_type, text, where="If-None-Exist")
    for turn in range(TURNS_MAX):
        found = await criteria.one_match(to, asked)
        if found is not None:
            return _counted(to, Pushed(PutResult(Outcome.EXISTS, found)))
        ready = prepare(resource, criteria.derived_id(to, asked, turn), base=to.base)
        if criteria.surely_misses(asked, ready.prepared):
            break
        [result] = await to.store.put_many(
            to.tenant, [replace(ready.prepared, only_absent=True, posted=True)]
        )
        if result.outcome is not Outcome.EXISTS:
            return _counted(to, Pushed(result, ready.tolerances))
        # A twin was faster; or what was once made for this condition no longer fulfils it.
    found = await criteria.one_match(to, asked)
    if found is not None:
        return _counted(to, Pushed(PutResult(Outcome.EXISTS, found)))
    return await create(to, resource_type, resource)


async def update(
    to: Pusher,
    key: ResourceKey,
    resource: JsonObject,
    *,
    only_version: int | None = None,
    only_absent: bool = False,
) -> Pushed:
    """Store under the client's id, creating it when it is new. https://hl7.org/fhir/R4/http.html#update"""
    check_type(resource, key.type)
    if resource.get("id") != key.id:
        path = f"{key.type}.id"
        issue = Issue("invalid", f"`{path}` must be the id in the URL", (path,))
        raise ServiceError(Category.INCORRECT, issue)
    ready = prepare(resource, key.id, base=to.base)
    conditions = replace(ready.prepared, only_version=only_version, only_absent=only_absent)
    [result] = await to.store.put_many(to.tenant, [conditions])
    if result.outcome is Outcome.EXISTS:
        raise ServiceError(Category.PRECONDITION, IS_THERE)
    return _counted(to, Pushed(result, ready.tolerances))


async def delete(to: Pusher, key: ResourceKey, *, only_version: int | None = None) -> Gone | None:
    """Delete; not an error when there is nothing. https://hl7.org/fhir/R4/http.html#delete"""
    gone = await to.store.delete(to.tenant, key, only_version=only_version)
    to.metrics.count("deleted")
    return gone


async def message(to: Pusher, bundle: JsonObject) -> list[Pushed]:
    """Upsert all resources of a message; when one is refused, nothing is stored. In the order of entries."""
    read = read_message(bundle, client=to.caller.client, entries_max=to.settings.bundle_entries_max)
    for entry in read.entries:
        check_scope(to.caller, str(entry.resource["resourceType"]), "cu")
    known = await to.store.identified(to.tenant, read.identifiers)
    placed = place(read, to.tenant, known=known, secret=to.secret)
    readies, issues = [], []
    for number, (resource, resource_id) in enumerate(placed):
        try:
            readies.append(prepare(resource, resource_id, base=to.base))
        except ServiceError as error:
            issues += [at_entry(issue, number) for issue in error.issues]
    if issues:
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    # Reports last: whoever finds one finds what it refers to. Twins within the message are put once.
    unique = {ready.prepared.key: ready.prepared for ready in readies}
    ordered = sorted(unique.values(), key=lambda one: one.key.type == "DiagnosticReport")
    results = await to.store.put_many(to.tenant, ordered)
    by_key = {result.stored.key: result for result in results}
    return [
        _counted(to, Pushed(by_key[ready.prepared.key], (*read.tolerances, *ready.tolerances)))
        for ready in readies
    ]


def check_scope(caller: Caller, resource_type: str, letters: str) -> None:
    """Raise ServiceError `forbidden` unless the token allows these interactions on the type."""
    if not caller.may(resource_type, letters):
        text = f"the token's scopes do not allow `{letters}` on this resource type"
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", text))


def check_type(resource: JsonObject, resource_type: str) -> None:
    """Raise ServiceError `incorrect` unless the body is of the type in the URL."""
    if resource.get("resourceType") != resource_type:
        issue = Issue("invalid", "`resourceType` must be the type in the URL", ("resourceType",))
        raise ServiceError(Category.INCORRECT, issue)


def _counted(to: Pusher, pushed: Pushed) -> Pushed:
    to.metrics.count(pushed.result.outcome.value, pushed.tolerances)
    return pushed
