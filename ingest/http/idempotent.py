"""The edge of idempotency: handlers whose requests take effect once, however often they are sent.

`keyed`: with an `Idempotency-Key`, the writes and the memory of the answer are one MongoDB transaction, so
there is no moment at which one of them is there without the other; a plain create does without
(`ingest.writes.create_once`). `remembered`: a Bundle whose parts are safe to repeat; its answer is kept
afterwards.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from ingest.http.app_keys import CLOCK, INGEST_SETTINGS, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.body import body_of
from ingest.http.replies import FHIR_JSON, http_date
from ingest.work import P, T
from ingest.writes import criteria
from ingest.writes.idempotency import (
    CONDITIONS,
    HEADER,
    IF_NONE_EXIST,
    REPLAYED,
    RequestIdentity,
    all_well,
    check,
    effects,
    fingerprint,
    is_of_bundle,
    slot_of_bundle,
    slot_of_key,
    to_remember,
    whole,
)
from store.errors import ServiceError
from store.resources.answers import Remembered, Shown
from store.resources.versions import Stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from aiohttp.typedefs import Handler

    from ingest.http.replies import Reply
    from ingest.writes.push_context import Later
    from store.resources.answers import Slot
    from store.resources.resource_keys import ResourceKey
    from store.resources.resources import ResourceStore, StoreInTransaction
    from store.resources.versions import Gone
    from store.tenancy import Tenant

UNIT: Final[web.RequestKey[StoreInTransaction]] = web.RequestKey("unit")
"""The transaction in which this request is handled."""
SLOT: Final[web.RequestKey[Slot]] = web.RequestKey("slot")
"""Slot of a create that heeds its key by itself."""
LATER: Final[web.RequestKey[Later]] = web.RequestKey("later")
"""Work that the request leaves for the time behind its transaction."""
FINGERPRINT: Final[web.RequestKey[bytes]] = web.RequestKey("fingerprint")
THREAD_BYTES: Final = 1_000_000
"""Size above which bodies are hashed, and answers looked at, beside the event loop."""


def store_of(request: web.Request) -> ResourceStore:
    """The store for this request: within its transaction, if it has one."""
    unit: ResourceStore | None = request.get(UNIT)
    return request.app[RESOURCES] if unit is None else unit


def if_none_exist(request: web.Request) -> str | None:
    """The condition of a create, from `If-None-Exist` or the query; None: it has none."""
    header, query = request.headers.get(IF_NONE_EXIST), request.rel_url.raw_query_string
    return criteria.of_create(request.match_info["type"], header, query)


def keyed(handler: Handler, *, creates: bool = False) -> Handler:
    """The handler, heeding `Idempotency-Key`; one that creates heeds `SLOT` by itself."""

    async def edge(request: web.Request) -> web.StreamResponse:
        key = request.headers.get(HEADER)
        if key is None:
            return await handler(request)
        slot = slot_of_key(key, request[PRINCIPAL].client, await _fingerprint(request))
        if creates and if_none_exist(request) is None:
            request[SLOT] = slot
            return await handler(request)
        return await atomically(request, handler, slot)

    return edge


def remembered(handler: Handler) -> Handler:
    """The handler of a Bundle whose repetition is harmless: sent again whole, it gets the first answer."""

    async def edge(request: web.Request) -> web.StreamResponse:
        if UNIT in request:  # A key is stronger.
            return await handler(request)
        return await remember(request, handler)

    return edge


async def remember(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer that was given before, or the handler's answer, kept for the next time."""
    store, tenant = request.app[RESOURCES], request[TENANT].tenant
    slot = await bundle_slot(request)
    known = await store.recall(tenant, slot)
    if known is not None and await _still_holds(request, store, slot, known):
        return await replay(store, tenant, known)
    response = await handler(request)
    body = response.body if isinstance(response, web.Response) else None
    if not isinstance(body, bytes) or not await _by_size(body, all_well, body):
        return response
    answered = await _by_size(body, _answered, request, slot, response)
    if answered is not None:
        with suppress(ServiceError):  # What it did is durable: it must not be refused for this.
            await store.remember(tenant, slot, answered, anew=known is not None)
    return response


async def _still_holds(request: web.Request, store: ResourceStore, slot: Slot, known: Remembered) -> bool:
    """Whether an answer is that of a key, or the versions that its Bundle made are still the current ones."""
    if not is_of_bundle(slot):
        return True
    body = await body_of(request)
    made = await _by_size(body, partial(effects, base=base_of(request)), known.body, body)
    current = await store.versions(request[TENANT].tenant, list(made))
    return all(current.get(key) == version for key, version in made.items())


async def bundle_slot(request: web.Request) -> Slot:
    """The place of the whole Bundle that is the body."""
    return slot_of_bundle(request[PRINCIPAL].client, await _fingerprint(request))


async def atomically(request: web.Request, handler: Handler, slot: Slot | None) -> web.StreamResponse:
    """The handler within one MongoDB transaction, its answer remembered in it."""
    tenant = request[TENANT].tenant

    async def work(unit: StoreInTransaction) -> web.StreamResponse:
        request.pop(LATER, None)  # Of an attempt that others interfered with.
        if slot is not None:
            known = await unit.recall(tenant, slot)
            if known is not None and await _still_holds(request, unit, slot, known):
                check(known, slot)
                return await replay(unit, tenant, known)
            await unit.claim(tenant, slot, _until(request))
        request[UNIT] = unit
        response = await handler(request)
        answered = None if slot is None else _answered(request, slot, response)
        if slot is not None and answered is not None:
            await unit.remember(tenant, slot, answered)
        return response

    await body_of(request)  # A slow sender must not hold a transaction open.
    store = request.app[RESOURCES]
    try:
        response = await store.atomically(work)
    finally:
        if UNIT in request:
            del request[UNIT]
    if LATER in request:
        with suppress(ServiceError):  # What the request did is durable: it must not be refused for this.
            await request[LATER](store)
    return response


async def _fingerprint(request: web.Request) -> bytes:
    """Taken once: hashing 40 MB takes a fifth of a second, in which others want to be served."""
    if FINGERPRINT not in request:
        conditions = [f"{name}: {', '.join(request.headers.getall(name, ()))}" for name in CONDITIONS]
        body = await body_of(request)
        asked = RequestIdentity(request.method, request.rel_url.raw_path_qs, conditions, body)
        request[FINGERPRINT] = await _by_size(body, fingerprint, asked)
    return request[FINGERPRINT]


async def _by_size(body: bytes | bytearray, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Result of a function of a body, called beside the event loop when that is large."""
    if len(body) > THREAD_BYTES:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)


def _until(request: web.Request) -> datetime:
    return request.app[CLOCK]() + timedelta(days=request.app[INGEST_SETTINGS].idempotency_days)


def _answered(request: web.Request, slot: Slot, response: web.StreamResponse) -> Remembered | None:
    """The answer as it is remembered; None: it is a refusal, and the same may be tried again."""
    if not isinstance(response, web.Response) or response.status >= web.HTTPBadRequest.status_code:
        return None
    body = response.body if isinstance(response.body, bytes) else b""
    return to_remember(
        slot, status=response.status, headers=response.headers, body=body, until=_until(request)
    )


def announced(request: web.Request, slot: Slot, created: ResourceKey, reply: Reply) -> Remembered:
    """The answer to a create, as it is remembered before anything is created."""
    headers = {**reply.headers, hdrs.CONTENT_TYPE: FHIR_JSON}
    del headers[hdrs.LAST_MODIFIED]  # It will be that of the first version.
    shown = (Shown(None, created, 1),) if reply.body is None else ()
    return Remembered(
        slot.fingerprint,
        reply.status,
        headers,
        reply.body or b"",
        shown,
        _until(request),
        creates=created,
        done=False,
    )


async def replay(
    store: ResourceStore, tenant: Tenant, known: Remembered, *, again: bool = True
) -> web.Response:
    """The answer that is remembered; marked when it is not the first time."""
    headers = {**known.headers, **({REPLAYED: "true"} if again else {})}
    versions: dict[tuple[ResourceKey, int], Stored | Gone | None] = {}
    if known.creates is not None:  # Remembered when nobody knew yet when that would be.
        first = versions[known.creates, 1] = await store.get_version(tenant, known.creates, 1)
        if first is not None:
            headers[hdrs.LAST_MODIFIED] = http_date(first.last_updated)
    resources = {}
    for one in known.shown:
        named = (one.key, one.version)
        if named not in versions:
            versions[named] = await store.get_version(tenant, *named)
        version = versions[named]
        if isinstance(version, Stored):
            resources[one] = version.raw
    return web.Response(body=whole(known, resources), status=known.status, headers=headers)
