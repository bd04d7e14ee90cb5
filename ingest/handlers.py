"""The HTTP edge of ingest: take things out of the request, call one thing, answer."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from ingest import conditional, delivery, patch, push, replies
from ingest.body import body_of
from ingest.bundles import entries_of, interaction
from ingest.decode import decode, decode_any
from ingest.identity import stable_id
from ingest.keys import (
    ATTACHMENTS,
    CLOCK,
    IDENTITY_SECRET,
    INGEST_METRICS,
    INGEST_SETTINGS,
    LIMITS,
    PRINCIPAL,
    REPLAY,
    RESOURCES,
    SEARCH,
    TENANT,
    base_of,
)
from ingest.once import UNIT, atomically, bundle_slot, remember, store_of
from ingest.preferences import handling, returned
from ingest.push import Pusher
from ingest.refusals import entry_keeper
from ingest.transact import LETTERS, transact
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources import Outcome, ResourceKey, present

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ingest.bundles import BundleEntry, Interaction
    from ingest.push import Pushed
    from ingest.settings import IngestSettings
    from store.fhir.datatypes import JsonObject
    from store.resources import Unit

    Search = Callable[[str, str], Awaitable[bytes]]
    """Answers a search of a batch."""

_IF_MATCH: Final = re.compile(r'(?:W/)?"(\d{1,9})"')
_PHASES: Final = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")
"""The order in which the entries of a batch are processed, whatever order they came in."""
_WRITING: Final = frozenset({"DELETE", "POST", "PUT", "PATCH"})
_READING: Final = frozenset({"GET", "HEAD"})
_ENTRIES_MAX: Final[Mapping[str, Callable[[IngestSettings], int]]] = {
    "batch": lambda settings: settings.bundle_entries_max,
    "transaction": lambda settings: settings.transaction_entries_max,
}
"""Most entries, by the type of the Bundle."""


def _pusher(request: web.Request) -> Pusher:
    app = request.app
    return Pusher(
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
        new_id=request[REPLAY].new_id if REPLAY in request else push.random_id,
        refused=entry_keeper(request),
    )


def _prefer(request: web.Request) -> str:
    return ", ".join(request.headers.getall("Prefer", ()))


def _strict(request: web.Request, to: Pusher) -> bool:
    """Whether deviations refuse: as this request prefers, else as the settings say."""
    asked = handling(_prefer(request))
    return (asked if asked in ("strict", "lenient") else to.settings.validation) == "strict"


async def create(request: web.Request) -> web.StreamResponse:
    """POST {base}/{Type}."""
    return await create_from(request, decode(await body_of(request)))


async def create_from(request: web.Request, resource: JsonObject) -> web.StreamResponse:
    """The create that a request asks for, of what its body stands for."""
    to = _pusher(request)
    condition = request.headers.get("If-None-Exist")
    resource_type = request.match_info["type"]
    done = await push.create(to, resource_type, resource, if_none_exist=condition)
    found = done.result.outcome is Outcome.EXISTS
    prefer = _readable(request, resource_type) if found else _prefer(request)
    return replies.pushed(done, base=to.base, prefer=prefer)


async def update(request: web.Request) -> web.StreamResponse:
    """PUT {base}/{Type}/{id}."""
    return await update_from(request, decode(await body_of(request)))


async def update_from(request: web.Request, resource: JsonObject) -> web.StreamResponse:
    """The update that a request asks for, of what its body stands for."""
    to = _pusher(request)
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    done = await push.update(
        to,
        key,
        resource,
        only_version=_if_match(request.headers.get(hdrs.IF_MATCH)),
        only_absent=_if_none_match(request.headers.get(hdrs.IF_NONE_MATCH)),
    )
    return replies.pushed(done, base=to.base, prefer=_prefer(request))


def _if_match(header: str | None) -> int | None:
    if header is None:
        return None
    match = _IF_MATCH.fullmatch(header.strip())
    if match is None:
        issue = Issue("value", '`If-Match` must be one version, such as `W/"3"`', ("If-Match",))
        raise ServiceError(Category.INCORRECT, issue)
    return int(match[1])


def _if_none_match(header: str | None) -> bool:
    """Whether nothing may be there yet. Of other values none is offered, so none is passed over."""
    if header is not None and header.strip() != "*":
        issue = Issue("value", "`If-None-Match` of an update must be `*`", ("If-None-Match",))
        raise ServiceError(Category.INCORRECT, issue)
    return header is not None


async def delete(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/{Type}/{id}."""
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    version = _if_match(request.headers.get(hdrs.IF_MATCH))
    gone = await push.delete(_pusher(request), key, only_version=version)
    return replies.deleted(gone, prefer=_prefer(request))


async def update_where(request: web.Request) -> web.StreamResponse:
    """PUT {base}/{Type}?criteria."""
    to = _pusher(request)
    resource = decode(await body_of(request))
    done = await conditional.update_where(
        to,
        request.match_info["type"],
        request.rel_url.raw_query_string,
        resource,
        only_version=_if_match(request.headers.get(hdrs.IF_MATCH)),
        only_absent=_if_none_match(request.headers.get(hdrs.IF_NONE_MATCH)),
    )
    return replies.pushed(done, base=to.base, prefer=_prefer(request))


async def delete_where(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/{Type}?criteria."""
    version = _if_match(request.headers.get(hdrs.IF_MATCH))
    resource_type, criteria = request.match_info["type"], request.rel_url.raw_query_string
    gone = await conditional.delete_where(_pusher(request), resource_type, criteria, only_version=version)
    return replies.deleted(gone, prefer=_prefer(request))


async def patch_one(request: web.Request) -> web.StreamResponse:
    """PATCH {base}/{Type}/{id}."""
    to = _pusher(request)
    operations = patch.read(decode_any(await body_of(request)))
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    version = _if_match(request.headers.get(hdrs.IF_MATCH))
    done = await conditional.patch_one(to, key, operations, only_version=version)
    return replies.pushed(done, base=to.base, prefer=_readable(request, key.type))


async def patch_where(request: web.Request) -> web.StreamResponse:
    """PATCH {base}/{Type}?criteria."""
    to = _pusher(request)
    operations = patch.read(decode_any(await body_of(request)))
    resource_type, criteria = request.match_info["type"], request.rel_url.raw_query_string
    version = _if_match(request.headers.get(hdrs.IF_MATCH))
    done = await conditional.patch_where(to, resource_type, criteria, operations, only_version=version)
    return replies.pushed(done, base=to.base, prefer=_readable(request, resource_type))


def _readable(request: web.Request, resource_type: str) -> str:
    """What `Prefer` asks; nothing of a resource is shown to whoever may write it and not read it."""
    prefer = _prefer(request)
    if request[PRINCIPAL].may(resource_type, "r") or returned(prefer) == "operationoutcome":
        return prefer
    return "return=minimal"


async def process_message(request: web.Request) -> web.StreamResponse:
    """POST {base}/$process-message, and upstream's names for it."""
    to = _pusher(request)
    operation, strict = request.path.rpartition("/")[2], _strict(request, to)
    done = await delivery.message(to, decode(await body_of(request)), operation=operation, strict=strict)
    entries = [
        replies.entry_of_error(one) if isinstance(one, ServiceError) else replies.entry_of(one, base=to.base)
        for one in done
    ]
    return replies.fhir_json(replies.response_bundle("transaction-response", entries))


async def batch(request: web.Request) -> web.StreamResponse:
    """POST {base} with a Bundle: a batch, each entry on its own, or a transaction, all or nothing."""
    bundle = decode(await body_of(request))
    kind = bundle.get("type") if bundle.get("resourceType") == "Bundle" else None
    if not isinstance(kind, str) or kind not in _ENTRIES_MAX:
        text = "the body must be a Bundle with `type` `batch` or `transaction`"
        raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, ("Bundle.type",)))
    most = _ENTRIES_MAX[kind](request.app[INGEST_SETTINGS])
    entries = entries_of(bundle, entries_max=most)
    methods = {_method(entry) for entry in entries}
    if kind == "transaction":
        return await _transaction(request, bundle, slot=bool(methods & _WRITING))

    async def answer(_: web.Request) -> web.StreamResponse:
        return await _batch(request, entries)

    # Who reads asks for what is there now, not for what was.
    if UNIT in request or not methods & _WRITING or methods & _READING:
        return await answer(request)
    return await remember(request, answer)


async def _transaction(request: web.Request, bundle: JsonObject, *, slot: bool) -> web.StreamResponse:
    async def answer(_: web.Request) -> web.StreamResponse:
        to = _pusher(request)
        outside = request.app[RESOURCES]
        entries = await transact(to, request[UNIT], bundle, outside=outside, version_of=_if_match)
        return replies.fhir_json(replies.response_bundle("transaction-response", entries))

    if UNIT in request:  # An `Idempotency-Key` has opened it.
        return await answer(request)
    return await atomically(request, answer, await bundle_slot(request) if slot else None)


async def _batch(request: web.Request, entries: Sequence[BundleEntry]) -> web.StreamResponse:
    slot = await bundle_slot(request)
    search = partial(request.app[SEARCH], request)
    answered = await _answers(_pusher(request), entries, name=f"{slot.client} {slot.name}", search=search)
    return replies.fhir_json(replies.response_bundle("batch-response", answered))


async def answer_bundle(to: Pusher, bundle: JsonObject, *, name: str) -> list[dict[str, Any]]:
    """The answer to each entry of a batch or transaction, in order. `dod load` asks here."""
    if bundle.get("type") == "transaction":

        async def work(unit: Unit) -> list[dict[str, Any]]:
            within = replace(to, store=unit)
            return await transact(within, unit, bundle, outside=to.store, version_of=_if_match)

        return await to.store.atomically(work)
    entries = entries_of(bundle, entries_max=to.settings.bundle_entries_max)
    return await _answers(to, entries, name=name, search=None)


async def _answers(
    to: Pusher, entries: Sequence[BundleEntry], *, name: str, search: Search | None
) -> list[dict[str, Any]]:
    """Each entry of a batch on its own. `name` is the same when the batch is sent again."""
    done: dict[int, dict[str, Any] | ServiceError] = {}
    for phase in (*_PHASES, None):
        mine = [
            number
            for number, entry in enumerate(entries)
            if number not in done and phase in (None, _method(entry))
        ]
        answers = await asyncio.gather(*(_answer(to, entries[n], f"{name} {n}", search) for n in mine))
        done |= dict(zip(mine, answers, strict=True))
    refused = {number: one for number, one in done.items() if isinstance(one, ServiceError)}
    letters: dict[int, str | None] = {}
    if refused and to.refused is not None:
        kept = await to.refused([(entries[number], error) for number, error in refused.items()])
        letters = dict(zip(refused, kept, strict=True))
    answered = {n: replies.entry_of_error(error, letter=letters.get(n)) for n, error in refused.items()}
    whole = {**done, **answered}
    return [one for n in range(len(entries)) if not isinstance(one := whole[n], ServiceError)]


def _method(entry: BundleEntry) -> object:
    return entry.request.get("method") if entry.request else None


async def _answer(
    to: Pusher, entry: BundleEntry, name: str, search: Search | None
) -> dict[str, Any] | ServiceError:
    """One entry of a batch, whatever becomes of it. `name`: the same when it is sent again."""
    try:
        return await _interact(to, entry, name, search)
    except ServiceError as error:
        to.metrics.count("refused")
        return error


async def _interact(to: Pusher, entry: BundleEntry, name: str, search: Search | None) -> dict[str, Any]:
    asked = interaction(entry)
    if asked.method not in LETTERS:
        issue = Issue(
            "not-supported", "`request.method` is not offered in a batch", ("Bundle.entry.request",)
        )
        raise ServiceError(Category.UNSUPPORTED, issue)
    if asked.method in _READING and asked.id is None and search is not None:
        push.check_scope(to.caller, asked.type, "s")
        found = await search(asked.type, asked.query or "")
        return replies.entry_of_search(found)
    push.check_scope(to.caller, asked.type, LETTERS[asked.method])
    if asked.query is not None:
        return await _interact_where(to, asked, asked.query)
    if asked.method == "POST" and asked.id is None and asked.resource is not None:
        done = await _create(to, asked, name)
        return replies.entry_of(done, base=to.base)
    if asked.id is None:
        issue = Issue("value", "`request.url` must name one resource", ("Bundle.entry.request.url",))
        raise ServiceError(Category.UNPROCESSABLE, issue)
    key = ResourceKey(asked.type, asked.id)
    if asked.method == "PUT" and asked.resource is not None:
        only_version, only_absent = _if_match(asked.if_match), _if_none_match(asked.if_none_match)
        done = await push.update(to, key, asked.resource, only_version=only_version, only_absent=only_absent)
        return replies.entry_of(done, base=to.base)
    if asked.method == "DELETE":
        gone = await push.delete(to, key, only_version=_if_match(asked.if_match))
        return replies.entry_of_deletion(gone)
    if asked.method == "PATCH":
        done = await conditional.patch_one(to, key, _patch_of(asked), only_version=_if_match(asked.if_match))
        return replies.entry_of(done, base=to.base)
    if asked.method in ("GET", "HEAD"):
        return await _read(to, key)
    issue = Issue("required", "the entry has no resource", ("Bundle.entry.resource",))
    raise ServiceError(Category.UNPROCESSABLE, issue)


async def _interact_where(to: Pusher, asked: Interaction, criteria: str) -> dict[str, Any]:
    """A conditional update, patch or deletion; creates have `ifNoneExist`."""
    version, absent = _if_match(asked.if_match), _if_none_match(asked.if_none_match)
    if asked.method == "PUT" and asked.resource is not None:
        done = await conditional.update_where(
            to, asked.type, criteria, asked.resource, only_version=version, only_absent=absent
        )
        return replies.entry_of(done, base=to.base)
    if asked.method == "DELETE":
        gone = await conditional.delete_where(to, asked.type, criteria, only_version=version)
        return replies.entry_of_deletion(gone)
    if asked.method == "PATCH":
        done = await conditional.patch_where(to, asked.type, criteria, _patch_of(asked), only_version=version)
        return replies.entry_of(done, base=to.base)
    text = "a condition in `request.url` goes with PUT, PATCH and DELETE; a POST has `ifNoneExist`"
    raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, ("Bundle.entry.request.url",)))


def _patch_of(asked: Interaction) -> tuple[patch.Operation, ...]:
    return patch.carried(asked.resource, "Bundle.entry.resource")


async def _create(to: Pusher, asked: Interaction, name: str) -> Pushed:
    """A create that makes no twin when its batch is sent again, though the first answer got lost."""
    resource = asked.resource or {}
    if asked.if_none_exist is not None:
        return await push.create(to, asked.type, resource, if_none_exist=asked.if_none_exist)
    as_id = stable_id(to.tenant, f"entry {name}", to.secret)
    done = await push.create(to, asked.type, resource, as_id=as_id)
    window = timedelta(days=to.settings.idempotency_days)
    if done.result.outcome is Outcome.EXISTS and done.result.stored.last_updated <= to.clock() - window:
        return await push.create(to, asked.type, resource)
    return done


async def _read(to: Pusher, key: ResourceKey) -> dict[str, Any]:
    return replies.entry_of_read(present(await to.store.get(to.tenant, key)), base=to.base)
