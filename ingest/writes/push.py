"""What a push does to the store: create, update, delete. `delivery` has the upserts of a message."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.http.workshop import at_once
from ingest.pipeline.budget import LIGHT_BYTES
from ingest.pipeline.decode import decode
from ingest.pipeline.documents import holds_documents, refuse_file_id
from ingest.pipeline.prepare import Ready, prepare
from ingest.pipeline.validate import refuse_subset
from ingest.unique import secret_id
from ingest.writes import criteria, filing
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.resource_types import RESOURCE_TYPES
from store.near import near
from store.resources import LABELS, LABELS_LEFT_OUT, Outcome, PutResult, ResourceKey, Stored

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from ingest.http.app_keys import Caller
    from ingest.http.workshop import Work
    from ingest.metrics import IngestMetrics
    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.pipeline.documents import Taken
    from ingest.settings import IngestSettings
    from store.fhir.datatypes import JsonObject
    from store.files import AttachmentStore
    from store.resources import Gone, ResourceStore, SourceTime
    from store.retention.audit import Audit
    from store.search.parse import Limits
    from store.tenancy import Tenant

    RefusedEntry = tuple[BundleEntry, ServiceError]

TURNS_MAX: Final = 20
"""Ids tried for one condition: what was made at the ones before no longer fulfils it."""
IS_THERE: Final = Issue("conflict", "`If-None-Match: *` was asked for, and the resource is there")


class Pushed(NamedTuple):
    """What became of one resource."""

    result: PutResult
    tolerances: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What else is to be said of it."""
    veiled: bool = False
    """It was there, and its sender may not read it: the answer says where it is, and no more."""
    kept: tuple[Issue, ...] = ()
    """Where it deviates from R4 and was kept all the same."""


class Pusher(NamedTuple):
    """One caller at one tenant: what every push needs to know."""

    store: ResourceStore
    attachments: AttachmentStore
    tenant: Tenant
    caller: Caller
    base: str
    """The tenant's base URL."""
    secret: bytes
    clock: Callable[[], datetime]
    settings: IngestSettings
    limits: Limits
    metrics: IngestMetrics
    new_id: Callable[[], str] = secret_id
    """For creates. The replay of a dead letter brings its own, so that it makes no twins."""
    refused: Callable[[Sequence[RefusedEntry]], Awaitable[list[str | None]]] | None = None
    """Keeps refused entries of a Bundle as dead letters; gives each one's letter, where there is one."""
    strict: bool = False
    """Whether deviations from R4 refuse what is pushed."""
    stable_sources: frozenset[str] = frozenset()
    """Sources whose ids the tenant declares stable."""
    audit: Audit | None = None
    """Where it is noted that a report moved; None: nowhere, in tests of the edge."""
    work: Work = at_once
    """How pure work is done on what was pushed: beside the event loop, when it is large."""
    beside: Work = at_once
    """The same for what turns out to be large only later."""
    documents: bool = True
    """Whether there may be documents in what is pushed that are too long to stay inside."""

    def for_bytes(self, size: int) -> Pusher:
        """The caller, with work fit for a body of this size."""
        return self._replace(work=self.beside) if size > LIGHT_BYTES else self

    def holds_documents(self, resource: JsonObject) -> bool:
        """Whether a resource, or a Bundle of them, has documents that must be taken out."""
        longest = self.settings.attachment_inline_bytes_max
        return self.documents and holds_documents(resource, longer_than=longest)


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
    taken = await filing.taken_out_of(to, resource)
    if if_none_exist is not None:
        return await _create_if_none(to, resource_type, taken, if_none_exist)
    return await _create(to, taken, as_id=as_id)


async def _create(to: Pusher, taken: Taken, *, as_id: str | None = None) -> Pushed:
    ready = await to.work(ready_to_create, to, taken.resource, as_id=as_id)
    [result] = await filing.put(to, [ready.prepared], taken.files)
    return _counted(to, Pushed(result, (*taken.tolerances, *ready.tolerances), kept=ready.kept))


def ready_of(to: Pusher, resource: JsonObject, resource_id: str, *, fresh: bool = False) -> Ready:
    """A resource prepared, with no more index entries than there may be."""
    most = to.settings.index_entries_max
    return prepare(resource, resource_id, base=to.base, fresh=fresh, strict=to.strict, entries_max=most)


def ready_to_create(to: Pusher, resource: JsonObject, *, as_id: str | None = None) -> Ready:
    """What a create puts into the store."""
    # An id of an earlier attempt is hardly ever there: that shows when it is written.
    fresh = as_id is not None or to.new_id is secret_id
    ready = ready_of(to, resource, as_id or to.new_id(), fresh=fresh)
    return ready._replace(prepared=replace(ready.prepared, posted=True, only_absent=as_id is not None))


async def _create_if_none(to: Pusher, resource_type: str, taken: Taken, text: str) -> Pushed:
    """Conditional create: simultaneous twins derive one id from the condition, and one of them is stored."""
    asked = criteria.read(to, resource_type, text, where="If-None-Exist")
    for turn in range(TURNS_MAX):
        found = await criteria.one_match(to, asked)
        if found is not None:
            return _counted(to, existing(to, found))
        derived = criteria.derived_id(to, asked, turn)
        ready = await to.work(ready_of, to, taken.resource, derived)
        if criteria.surely_misses(asked, ready.prepared):
            break
        prepared = replace(ready.prepared, only_absent=True, posted=True)
        [result] = await filing.put(to, [prepared], taken.files)
        if result.outcome is not Outcome.EXISTS:
            return _counted(to, Pushed(result, (*taken.tolerances, *ready.tolerances), kept=ready.kept))
        # A twin was faster; or what was once made for this condition no longer fulfils it.
    found = await criteria.one_match(to, asked)
    if found is not None:
        return _counted(to, existing(to, found))
    return await _create(to, taken)


def existing(to: Pusher, found: Stored) -> Pushed:
    """What the condition of a create found; nothing is stored."""
    veiled = not to.caller.may(found.key.type, "r")
    return Pushed(PutResult(Outcome.EXISTS, found), veiled=veiled)


async def update(  # noqa: PLR0913 -- the conditions are keyword-only
    to: Pusher,
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
    taken = await filing.taken_out_of(to, resource)
    body = taken.resource
    for attempt in range(TURNS_MAX):
        ready = await to.work(
            ready_to_update, to, key, body, only_version=only_version, only_absent=only_absent
        )
        keeps = not (whole or sourced)
        ready = ready._replace(prepared=replace(ready.prepared, sourced=sourced, keeps_labels=keeps))
        try:
            [result] = await filing.put(to, [ready.prepared], taken.files)
        except ServiceError as error:
            if not leaves_labels_out(error) or attempt + 1 == TURNS_MAX:
                raise
            body = labelled(taken.resource, await to.store.get(to.tenant, key))
        else:
            return pushed(to, ready._replace(tolerances=(*taken.tolerances, *ready.tolerances)), result)
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
    to: Pusher, key: ResourceKey, resource: JsonObject, *, only_version: int | None, only_absent: bool
) -> Ready:
    """What an update puts into the store."""
    _check_id(resource, key)
    refuse_subset(resource)
    ready = ready_of(to, resource, key.id)
    if only_version is None and not only_absent:
        return ready
    return ready._replace(
        prepared=replace(ready.prepared, only_version=only_version, only_absent=only_absent)
    )


def _check_id(resource: JsonObject, key: ResourceKey) -> None:
    check_type(resource, key.type)
    if resource.get("id") != key.id:
        path = f"{key.type}.id"
        given = "" if "id" in resource else "; it is missing"
        issue = Issue("invalid", f"`{path}` must be the id in the URL{given}", (path,))
        raise ServiceError(Category.INCORRECT, issue)
    refuse_file_id(*key)


def pushed(to: Pusher, ready: Ready, result: PutResult | ServiceError) -> Pushed:
    """What became of a resource, counted. Raises what the store refused it with, or what `*` forbids."""
    if isinstance(result, ServiceError):
        raise result
    if result.outcome is Outcome.EXISTS and not ready.prepared.posted:
        raise ServiceError(Category.PRECONDITION, IS_THERE)
    return _counted(to, Pushed(result, ready.tolerances, kept=ready.kept))


async def delete(
    to: Pusher, key: ResourceKey, *, only_version: int | None = None, sourced: SourceTime = ""
) -> Gone | None:
    """Delete; not an error when there is nothing. https://hl7.org/fhir/R4/http.html#delete"""
    gone = await to.store.delete(to.tenant, key, only_version=only_version, sourced=sourced)
    to.metrics.count("deleted")
    return gone


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


def _counted(to: Pusher, pushed: Pushed) -> Pushed:
    to.metrics.count(pushed.result.outcome.value, pushed.tolerances)
    return pushed
