"""Subscriptions over HTTP: create, read, update, delete, search, `$status`, `$events`, secrets, topics.

A client sees its own subscriptions; with the scope `dod/admin` all of its tenant.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import orjson
from aiohttp import hdrs, web

from api.auth.principal import owner_of
from api.http.app_keys import SETTINGS
from api.middleware.authenticate import refuse_unless
from api.subscriptions.app_keys import RECEIVER_NETWORKS, ROOT_SECRET, SOURCES, SUBSCRIPTIONS
from api.subscriptions.holders import holder_of
from api.subscriptions.interactions import rendering
from api.subscriptions.receivers import refuse_receiver
from api.subscriptions.requested import Requested, Terms, requested
from api.subscriptions.secrets import NO_SECRETS, Sealed, first_generation, seal, unseal
from api.subscriptions.standing import READS
from ingest.http.app_keys import CLOCK, LIMITS, PRINCIPAL, TENANT, base_of
from ingest.http.parsing import parsed
from ingest.http.replies import etag, fhir_json, http_date
from ingest.ids import stable_id
from ingest.pipeline.preconditions import if_match, not_held
from ingest.unique import secret_id
from ingest.writes.idempotency import HEADER, REPLAYED, slot_of_key, used_otherwise
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.fhir.issues import Issue
from store.search.looks import refusals
from store.search.parsing.context import SearchContext
from store.search.parsing.patient_scope import bounded
from store.search.reach import reaches
from store.subscriptions.records import Status, Subscription
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from api.auth.principal import Principal
    from ingest.caller import Caller
    from store.subscriptions.records import Holder

_TAKEN: Final = Issue("conflict", "there is a Subscription of this id that is not yours: choose another id")
_NONE: Final = Issue("not-found", "there is no such Subscription, or it is another client's")
CHANGED: Final = Issue("conflict", "somebody else changed the Subscription at the same time; try again")
_UNBOUNDED: Final = Issue(
    "required",
    "`Subscription.criteria.extension`: the filters must name a patient, as searches of this tenant must:"
    " `patient=…`, `subject=…` or `patient.identifier=…`. To let trusted clients hear of all patients:"
    " `dod tenant create ORG/ENV --search-scope any`",
    ("Subscription.criteria.extension",),
)


async def create(request: web.Request) -> web.StreamResponse:
    """POST {base}/Subscription; with an `Idempotency-Key` once, however often it is sent."""
    key = request.headers.get(HEADER)
    told = await _requested(request)
    new_id = secret_id()
    if key is not None:
        new_id = _id_of_key(request, key)
        there = await request.app[SUBSCRIPTIONS].get(request[TENANT].tenant, new_id)
        if there is not None:
            return _replayed(request, there, told)
    made = await _made(request, new_id, told)
    if not await request.app[SUBSCRIPTIONS].create(made):
        raise ServiceError(Category.CONFLICT, CHANGED)
    return _shown(request, made, created=True)


async def read(request: web.Request) -> web.StreamResponse:
    """GET {base}/Subscription/{id}."""
    return _shown(request, await owned(request))


async def update(request: web.Request) -> web.StreamResponse:
    """PUT {base}/Subscription/{id}: the receiver is asked anew, with the caller's reach of now."""
    tenant, id = request[TENANT].tenant, request.match_info["id"]
    only_version = if_match(request.headers.get(hdrs.IF_MATCH))
    before = await request.app[SUBSCRIPTIONS].get(tenant, id)
    if before is not None and not _may_see(request, before):
        raise ServiceError(Category.CONFLICT, _TAKEN)
    if only_version is not None and (before is None or before.version != only_version):
        raise not_held(only_version)
    root = request.app[ROOT_SECRET]
    kept = NO_SECRETS if before is None else unseal(root, before.name, before.sealed)
    receiver = "" if before is None else before.channel.endpoint
    told = await _requested(request, id=id, before=kept, receiver=receiver)
    made = await _made(request, id, told)
    if before is None:
        if not await request.app[SUBSCRIPTIONS].create(made):
            raise ServiceError(Category.CONFLICT, CHANGED)
        return _shown(request, made, created=True)
    after = _after(before, made)
    # Of what happened while it was off it hears nothing.
    off = before.status is Status.OFF
    if not await request.app[SUBSCRIPTIONS].replace(after, instead_of=before.version, anew=off):
        raise ServiceError(Category.CONFLICT, CHANGED)
    return _shown(request, after)


async def delete(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/Subscription/{id}: nothing is sent from then on, and its events are forgotten."""
    tenant, id = request[TENANT].tenant, request.match_info["id"]
    found = await request.app[SUBSCRIPTIONS].get(tenant, id)
    if found is not None and _may_see(request, found):
        await request.app[SUBSCRIPTIONS].delete(tenant, id)
    return web.Response(status=204)


async def search(request: web.Request) -> web.StreamResponse:
    """GET {base}/Subscription?status=…, and by POST: those of the caller."""
    pairs = await rendering.pairs_in(request)
    rendering.refuse_unknown(pairs)
    found = [one for one in await seen(request) if rendering.matches(one, pairs)]
    return fhir_json(rendering.searchset(found, base=base_of(request), pairs=pairs))


async def seen(request: web.Request) -> list[Subscription]:
    """The subscriptions that the caller may see, by id."""
    every = await request.app[SUBSCRIPTIONS].of_tenant(request[TENANT].tenant)
    return [one for one in every if _may_see(request, one)]


async def owned(request: web.Request) -> Subscription:
    """The subscription in the URL. Raises ServiceError `not-found`, also for that of another client."""
    found = await request.app[SUBSCRIPTIONS].get(request[TENANT].tenant, request.match_info["id"])
    if found is None or not _may_see(request, found):
        raise ServiceError(Category.NOT_FOUND, _NONE)
    return found


def _may_see(request: web.Request, found: Subscription) -> bool:
    caller = request[PRINCIPAL]
    if not found.resource:  # Set up by an operator: no client's to see, change or delete.
        return False
    return caller.is_admin or (found.holder is not None and _owner(caller) == _owner(found.holder))


def _owner(of: Caller | Holder) -> tuple[str, ...]:
    return owner_of(of.client, of.token_id)


async def _requested(
    request: web.Request, *, id: str | None = None, before: Sealed = NO_SECRETS, receiver: str = ""
) -> Requested:
    """The Subscription in the body, checked against the terms and the caller's reach. Raises ServiceError."""
    resource = (await parsed(request)).resource
    if resource.get("resourceType") != "Subscription":
        issue = Issue("invalid", "`resourceType` must be `Subscription`, as in the URL", ("resourceType",))
        raise ServiceError(Category.INCORRECT, issue)
    if id is not None and resource.get("id") != id:
        issue = Issue("invalid", "`Subscription.id` must be the id in the URL", ("Subscription.id",))
        raise ServiceError(Category.INCORRECT, issue)
    told = requested(resource, terms_of(request), before=before, receiver=receiver)
    caller = request[PRINCIPAL]
    refuse_unless(caller, told.topic.type, READS)
    unseen = refusals(told.query, partial(reaches, caller))
    if unseen:
        raise ServiceError(Category.FORBIDDEN, *unseen)
    if request[TENANT].search_scope is SearchScope.PATIENT and bounded(told.query) is None:
        raise ServiceError(Category.UNPROCESSABLE, _UNBOUNDED)
    return told


def terms_of(request: web.Request) -> Terms:
    """Terms on which subscriptions of this tenant are carried out."""
    app, now = request.app, request.app[CLOCK]()
    return Terms(
        SearchContext(app[LIMITS], base_of(request), from_datetime(now).start, strict=True),
        now,
        partial(refuse_receiver, allowed=app[RECEIVER_NETWORKS]),
    )


async def _made(request: web.Request, id: str, told: Requested) -> Subscription:
    """The record of a new subscription. Raises ServiceError when the tenant has as many as it may."""
    app, tenant, now = request.app, request[TENANT].tenant, request.app[CLOCK]()
    most = app[SETTINGS].subscriptions_max
    there = await app[SUBSCRIPTIONS].of_tenant(tenant)
    if len(there) >= most and all(one.id != id for one in there):
        text = f"a tenant has at most {most} subscriptions (`DOD_SUBSCRIPTIONS_MAX`): delete one first"
        raise ServiceError(Category.CONFLICT, Issue("too-costly", text))
    caller = cast("Principal", request[PRINCIPAL])
    return Subscription(
        tenant=tenant,
        id=id,
        version=1,
        created=now,
        updated=now,
        status=told.wanted,
        topic=told.topic.canonical,
        filters=told.filters,
        channel=told.channel,
        start=await app[SOURCES].changes.head(tenant),
        base=base_of(request),
        resource=told.resource,
        holder=holder_of(caller, now=now),
        sealed=seal(app[ROOT_SECRET], f"{tenant}/{id}", told.sealed),
        generation=first_generation(),
        ends=told.ends,
    )


def _after(before: Subscription, made: Subscription) -> Subscription:
    """The record in the place of another one: its numbers and signing secrets go on."""
    same_receiver = before.channel == made.channel and before.status is Status.ACTIVE
    status = Status.ACTIVE if same_receiver and made.status is Status.REQUESTED else made.status
    return replace(
        made,
        version=before.version + 1,
        created=before.created,
        status=status,
        start=made.start if before.status is Status.OFF else before.start,
        generation=before.generation,
        earlier=before.earlier,
        paused=before.paused,
        progress=before.progress,
    )


def _id_of_key(request: web.Request, key: str) -> str:
    """The id of what is made with this key by this caller. Raises ServiceError for a key that is none."""
    owner = "\0".join(_owner(request[PRINCIPAL]))
    name = slot_of_key(key, owner, b"").name
    return stable_id(request[TENANT].tenant, f"subscription {owner}\0{name}", request.app[ROOT_SECRET])


def _replayed(request: web.Request, there: Subscription, told: Requested) -> web.Response:
    if there.version == 1 and there.resource != told.resource:  # Later ones say nothing of what was sent.
        raise used_otherwise()
    response = _shown(request, there, created=True)
    response.headers[REPLAYED] = "true"
    return response


def _shown(request: web.Request, one: Subscription, *, created: bool = False) -> web.Response:
    headers: dict[str, str] = {hdrs.ETAG: etag(one.version), hdrs.LAST_MODIFIED: http_date(one.updated)}
    if created:
        headers[hdrs.LOCATION] = f"{base_of(request)}/Subscription/{one.id}"
    return fhir_json(orjson.dumps(rendering.resource(one)), status=201 if created else 200, headers=headers)
