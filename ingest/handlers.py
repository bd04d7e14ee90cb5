"""The HTTP edge of ingest: take things out of the request, call one thing, answer."""

from __future__ import annotations

from functools import partial
from operator import is_
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from ingest.bundles import batch as batches
from ingest.bundles.transaction import searched, transact
from ingest.http import replies
from ingest.http.answer_room import hold
from ingest.http.app_keys import (
    ATTACHMENTS,
    AUDIT,
    AUDITED,
    CLOCK,
    CUT,
    IDENTITY_SECRET,
    INGEST_METRICS,
    INGEST_SETTINGS,
    LIMITS,
    PRINCIPAL,
    READS,
    RESOURCES,
    SEARCH,
    TENANT,
    WORKSHOP,
    base_of,
)
from ingest.http.body import body_of
from ingest.http.idempotent import (
    LATER,
    SLOT,
    UNIT,
    announced,
    atomically,
    bundle_slot,
    if_none_exist,
    remember,
    replay,
    store_of,
)
from ingest.http.letter_keeper import REPLAY, entry_keeper
from ingest.http.parsing import parsed
from ingest.http.preferences import handling, returned
from ingest.http.workshop import Job
from ingest.issue_budget import IssueBudget
from ingest.messages import delivery
from ingest.pipeline import json_patch as patch
from ingest.pipeline.bundle_entries import READING, entries_of, misplaced
from ingest.pipeline.documents import may_hold_documents
from ingest.pipeline.preconditions import if_match, if_none_match
from ingest.unique import secret_id
from ingest.work import P, T, at_once, unhurried
from ingest.writes import conditional, push
from ingest.writes.create_once import Answered, create_once
from ingest.writes.push_context import PushContext
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ingest.metrics import IngestMetrics
    from ingest.pipeline.bundle_entries import BundleEntry
    from ingest.settings import IngestSettings
    from ingest.work import Work
    from ingest.writes.push import Pushed
    from store.fhir.datatypes import JsonObject
    from store.resources.answers import Remembered
    from store.resources.resources import StoreInTransaction

_WRITING: Final = frozenset({"DELETE", "POST", "PUT", "PATCH"})
_ENTRIES_MAX: Final[Mapping[str, Callable[[IngestSettings], int]]] = {
    "batch": lambda settings: settings.bundle_entries_max,
    "transaction": lambda settings: settings.transaction_entries_max,
}
"""Most entries, by the type of the Bundle."""


class _Timed:
    """Work on what was pushed, with its time counted: a `Work`."""

    __slots__ = ("_metrics", "_work")

    def __init__(self, work: Work, metrics: IngestMetrics) -> None:
        self._work = work
        self._metrics = metrics

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of the function."""
        start = perf_counter()
        try:
            return await self._work(function, *args, **kwargs)
        finally:
            self._metrics.phase("prepare", perf_counter() - start)


def push_context(request: web.Request, *, documents: bool = True, work: Work = at_once) -> PushContext:
    """The context of the push that a request is."""
    app = request.app
    return PushContext(
        store=store_of(request),
        attachments=app[ATTACHMENTS],
        tenant=request[TENANT].tenant,
        caller=request[PRINCIPAL],
        base=base_of(request),
        secret=app[IDENTITY_SECRET],
        clock=app[CLOCK],
        settings=app[INGEST_SETTINGS],
        limits=app[LIMITS],
        metrics=app[INGEST_METRICS],
        new_id=request[REPLAY].new_id if REPLAY in request else secret_id,
        refused=entry_keeper(request),
        since=request[REPLAY].since if REPLAY in request else None,
        strict=_strict(request),
        prefer=_prefer(request),
        stable_sources=request[TENANT].stable_sources,
        audit=app.get(AUDIT),
        access=request.get(AUDITED),
        work=_Timed(work, app[INGEST_METRICS]),
        beside=_Timed(Job(app[WORKSHOP], str(request[TENANT].tenant)), app[INGEST_METRICS]),
        documents=documents,
        unit=request.get(UNIT),
        later=partial(request.__setitem__, LATER) if UNIT in request else None,
    )


async def _pushed(request: web.Request) -> tuple[PushContext, JsonObject]:
    """Caller of a push, and the JSON object that is its body."""
    body = await body_of(request)
    longest = request.app[INGEST_SETTINGS].attachment_inline_bytes_max
    documents = may_hold_documents(body, longer_than=longest)
    start = perf_counter()
    found = await parsed(request)
    request.app[INGEST_METRICS].phase("parse", perf_counter() - start)
    return push_context(request, documents=documents, work=found.work), found.resource


async def _pusher_of(request: web.Request) -> PushContext:
    """Caller of a push whose body is no JSON."""
    return push_context(request).for_bytes(len(await body_of(request)))


async def _patched(request: web.Request) -> tuple[PushContext, Sequence[patch.Operation]]:
    """Caller of a patch, and the patch that is its body."""
    found = await parsed(request)
    if patch.is_fhirpath(found.json):
        raise web.HTTPUnsupportedMediaType(text=f"FHIRPath Patch is not offered: send `{patch.FORMAT}`.")
    read = patch.read if request.content_type == patch.FORMAT else patch.read_any
    return push_context(request, work=found.work), await found.work(read, found.json)


def _prefer(request: web.Request) -> str:
    return ", ".join(request.headers.getall("Prefer", ()))


def _strict(request: web.Request) -> bool:
    """Whether deviations refuse: as this request prefers, else its tenant, else the settings."""
    asked = handling(_prefer(request))
    if asked not in ("strict", "lenient"):
        asked = request[TENANT].handling or request.app[INGEST_SETTINGS].validation
    return asked == "strict"


async def create(request: web.Request) -> web.StreamResponse:
    """POST {base}/{Type}."""
    return await _create(request, *await _pushed(request))


async def create_from(request: web.Request, resource: JsonObject) -> web.StreamResponse:
    """The create that a request asks for, of what its body stands for."""
    return await _create(request, await _pusher_of(request), resource)


async def _create(request: web.Request, ctx: PushContext, resource: JsonObject) -> web.StreamResponse:
    condition = if_none_exist(request)
    resource_type = request.match_info["type"]
    if SLOT in request:
        return await _create_once(request, ctx, resource)
    done = await push.create(ctx, resource_type, resource, if_none_exist=condition)
    found = done.result.outcome is Outcome.EXISTS
    prefer = _readable(request, resource_type) if found else _prefer(request)
    return replies.pushed(done, base=ctx.base, prefer=prefer)


async def _create_once(request: web.Request, ctx: PushContext, resource: JsonObject) -> web.StreamResponse:
    """Create once, with an `Idempotency-Key`."""
    slot, prefer = request[SLOT], _prefer(request)

    def answer(done: Pushed) -> Remembered:
        reply = replies.reply(done, base=ctx.base, prefer=prefer)
        return announced(request, slot, done.result.stored.key, reply)

    done = await create_once(ctx, request.match_info["type"], resource, slot, answer=answer)
    if isinstance(done, Answered):
        return await replay(ctx.store, ctx.tenant, done.answer, again=done.again)
    return replies.pushed(done, base=ctx.base, prefer=prefer)


async def update(request: web.Request) -> web.StreamResponse:
    """PUT {base}/{Type}/{id}."""
    return await _update(request, *await _pushed(request))


async def update_from(request: web.Request, resource: JsonObject) -> web.StreamResponse:
    """The update that a request asks for, of what its body stands for."""
    return await _update(request, await _pusher_of(request), resource)


async def _update(request: web.Request, ctx: PushContext, resource: JsonObject) -> web.StreamResponse:
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    done = await push.update(
        ctx,
        key,
        resource,
        only_version=_only_version(request),
        only_absent=_only_absent(request),
    )
    return replies.pushed(done, base=ctx.base, prefer=_prefer(request))


async def delete(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/{Type}/{id}."""
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    version = _only_version(request)
    gone = await push.delete(push_context(request), key, only_version=version)
    return replies.deleted(gone, prefer=_prefer(request))


async def update_where(request: web.Request) -> web.StreamResponse:
    """PUT {base}/{Type}?criteria."""
    ctx, resource = await _pushed(request)
    done = await conditional.update_where(
        ctx,
        request.match_info["type"],
        request.rel_url.raw_query_string,
        resource,
        only_version=_only_version(request),
        only_absent=_only_absent(request),
    )
    return replies.pushed(done, base=ctx.base, prefer=_prefer(request))


async def delete_where(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/{Type}?criteria."""
    version = _only_version(request)
    resource_type, criteria = request.match_info["type"], request.rel_url.raw_query_string
    ctx = push_context(request)
    gone = await conditional.delete_where(ctx, resource_type, criteria, only_version=version)
    return replies.deleted(gone, prefer=_prefer(request))


async def patch_one(request: web.Request) -> web.StreamResponse:
    """PATCH {base}/{Type}/{id}."""
    ctx, operations = await _patched(request)
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    version = _only_version(request)
    done = await conditional.patch_one(ctx, key, operations, only_version=version)
    return replies.pushed(done, base=ctx.base, prefer=_readable(request, key.type))


async def patch_where(request: web.Request) -> web.StreamResponse:
    """PATCH {base}/{Type}?criteria."""
    ctx, operations = await _patched(request)
    resource_type, criteria = request.match_info["type"], request.rel_url.raw_query_string
    version = _only_version(request)
    done = await conditional.patch_where(ctx, resource_type, criteria, operations, only_version=version)
    return replies.pushed(done, base=ctx.base, prefer=_readable(request, resource_type))


def _only_version(request: web.Request) -> int | None:
    """The version that must be current. Raises ServiceError for a condition that is not offered."""
    if hdrs.IF_UNMODIFIED_SINCE in request.headers:
        rule = "is not offered here: two writes may share a second; send `If-Match` with the `ETag`"
        issue = Issue("not-supported", f"`{hdrs.IF_UNMODIFIED_SINCE}` {rule}", (hdrs.IF_UNMODIFIED_SINCE,))
        raise ServiceError(Category.INCORRECT, issue)
    return if_match(_joined(request, hdrs.IF_MATCH))


def _only_absent(request: web.Request) -> bool:
    return if_none_match(_joined(request, hdrs.IF_NONE_MATCH))


def _joined(request: web.Request, name: str) -> str | None:
    """All fields of a header as the one list that they are (RFC 9110, 5.3)."""
    fields = request.headers.getall(name, ())
    return ", ".join(fields) if fields else None


def _readable(request: web.Request, resource_type: str) -> str:
    """Preferences of a request; nothing of a resource is shown to whoever may write it and not read it."""
    prefer = _prefer(request)
    if request[PRINCIPAL].may(resource_type, "r") or returned(prefer) == "operationoutcome":
        return prefer
    return "return=minimal"


async def process_message(request: web.Request) -> web.StreamResponse:
    """POST {base}/$process-message, and upstream's names for it."""
    ctx, bundle = await _pushed(request)
    operation = request.path.rpartition("/")[2]
    done = await delivery.message(ctx, bundle, operation=operation, strict=ctx.strict)
    issues = IssueBudget()
    entries = [
        replies.entry_of_error(one)
        if isinstance(one, ServiceError)
        else replies.entry_of(one, base=ctx.base, issues=issues)
        async for one in unhurried(done)
    ]
    return replies.fhir_json(replies.response_bundle("transaction-response", entries))


async def batch(request: web.Request) -> web.StreamResponse:
    """POST {base} with a Bundle: a batch, each entry on its own, or a transaction, all or nothing."""
    ctx, bundle = await _pushed(request)
    kind = bundle.get("type") if bundle.get("resourceType") == "Bundle" else None
    if not isinstance(kind, str) or kind not in _ENTRIES_MAX:
        text = misplaced(bundle, "`batch` or `transaction`")
        raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, ("Bundle.type",)))
    most = _ENTRIES_MAX[kind](request.app[INGEST_SETTINGS])
    entries = entries_of(bundle, entries_max=most, apart=kind == "batch")
    methods = {batches.method_of(entry) for entry in entries}
    if kind == "transaction":
        return await _transaction(request, bundle, slot=bool(methods & _WRITING), work=ctx.work)

    async def answer(_: web.Request) -> web.StreamResponse:
        return await _batch(request, ctx, entries)

    # Who reads asks for what is there now, not for what was.
    if UNIT in request or not methods & _WRITING or methods & READING:
        return await answer(request)
    return await remember(request, answer)


async def _transaction(
    request: web.Request, bundle: JsonObject, *, slot: bool, work: Work
) -> web.StreamResponse:
    made: list[list[dict[str, Any]]] = []
    search = partial(request.app[SEARCH], request)
    keyed = UNIT in request  # An `Idempotency-Key` has opened it, and ends it behind this.

    async def answer(_: web.Request) -> web.StreamResponse:
        ctx, outside = push_context(request, work=work), request.app[RESOURCES]
        asked = None if keyed else search
        made.append(
            await transact(ctx, request[UNIT], bundle, outside=outside, search=asked, cut=request.app[CUT])
        )
        return _transacted(made[-1])

    if keyed:
        return await answer(request)
    response = await atomically(request, answer, await bundle_slot(request) if slot else None)
    if not made:
        return response
    before = list(made[-1])
    after = await searched(push_context(request), bundle, made[-1], search)
    # Nothing was searched: the answer is the one that is remembered, its id too.
    return response if all(map(is_, before, after)) else _transacted(after)


def _transacted(entries: Sequence[dict[str, Any]]) -> web.Response:
    return replies.fhir_json(replies.response_bundle("transaction-response", entries))


async def _batch(
    request: web.Request, ctx: PushContext, entries: Sequence[BundleEntry]
) -> web.StreamResponse:
    slot = await bundle_slot(request)
    reading = batches.BatchReads(
        partial(request.app[SEARCH], request), request.app[READS], partial(hold, request), request.app[CUT]
    )
    answered = await batches.answers(ctx, entries, name=f"{slot.client} {slot.name}", reading=reading)
    return replies.fhir_json(replies.response_bundle("batch-response", answered))


async def answer_bundle(ctx: PushContext, bundle: JsonObject, *, name: str) -> list[dict[str, Any]]:
    """The answer to each entry of a batch or transaction, in order. `dod load` asks here."""
    if bundle.get("type") == "transaction":

        async def work(unit: StoreInTransaction) -> list[dict[str, Any]]:
            within = ctx._replace(store=unit)
            return await transact(within, unit, bundle, outside=ctx.store)

        return await ctx.store.atomically(work)
    entries = entries_of(bundle, entries_max=ctx.settings.bundle_entries_max, apart=True)
    return await batches.answers(ctx, entries, name=name, reading=batches.BatchReads())
