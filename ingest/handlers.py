"""The HTTP edge of ingest: take things out of the request, call one thing, answer."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import hdrs, web

from ingest import delivery, push, replies
from ingest.bundles import entries_of, interaction
from ingest.decode import decode
from ingest.keys import (
    CLOCK,
    IDENTITY_SECRET,
    INGEST_METRICS,
    INGEST_SETTINGS,
    LIMITS,
    PRINCIPAL,
    RESOURCES,
    TENANT,
    base_of,
)
from ingest.push import Pusher
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources import Gone, ResourceKey, Stored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.bundles import BundleEntry

_IF_MATCH: Final = re.compile(r'(?:W/)?"(\d{1,9})"')
_HANDLING: Final = re.compile(r"\bhandling\s*=\s*\"?(strict|lenient)\b")
_PHASES: Final = ("DELETE", "POST", "PUT", "GET", "HEAD")
"""The order in which the entries of a batch are processed, whatever order they came in."""
_LETTERS: Final[Mapping[str, str]] = {"DELETE": "d", "POST": "c", "PUT": "u", "GET": "r", "HEAD": "r"}


def _pusher(request: web.Request) -> Pusher:
    app = request.app
    return Pusher(
        store=app[RESOURCES],
        tenant=request[TENANT].tenant,
        caller=request[PRINCIPAL],
        base=base_of(request),
        secret=app[IDENTITY_SECRET],
        clock=app[CLOCK],
        settings=app[INGEST_SETTINGS],
        limits=app[LIMITS],
        metrics=app[INGEST_METRICS],
    )


def _prefer(request: web.Request) -> str:
    return ", ".join(request.headers.getall("Prefer", ()))


def _strict(request: web.Request, to: Pusher) -> bool:
    """Whether deviations refuse: as this request prefers, else as the settings say."""
    handling = _HANDLING.search(_prefer(request).lower())
    return handling[1] == "strict" if handling else to.settings.validation == "strict"


async def create(request: web.Request) -> web.StreamResponse:
    """POST {base}/{Type}."""
    to = _pusher(request)
    resource = decode(await request.read())
    condition = request.headers.get("If-None-Exist")
    done = await push.create(to, request.match_info["type"], resource, if_none_exist=condition)
    return replies.pushed(done, base=to.base, prefer=_prefer(request))


async def update(request: web.Request) -> web.StreamResponse:
    """PUT {base}/{Type}/{id}."""
    to = _pusher(request)
    resource = decode(await request.read())
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    done = await push.update(
        to,
        key,
        resource,
        only_version=_if_match(request.headers.get(hdrs.IF_MATCH)),
        only_absent=request.headers.get(hdrs.IF_NONE_MATCH) == "*",
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


async def delete(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/{Type}/{id}."""
    key = ResourceKey(request.match_info["type"], request.match_info["id"])
    version = _if_match(request.headers.get(hdrs.IF_MATCH))
    gone = await push.delete(_pusher(request), key, only_version=version)
    return web.Response(status=204, headers=replies.version_headers(gone) if gone else None)


async def process_message(request: web.Request) -> web.StreamResponse:
    """POST {base}/$process-message, and upstream's names for it."""
    to = _pusher(request)
    operation, strict = request.path.rpartition("/")[2], _strict(request, to)
    done = await delivery.message(to, decode(await request.read()), operation=operation, strict=strict)
    entries = [
        replies.entry_of_error(one) if isinstance(one, ServiceError) else replies.entry_of(one, base=to.base)
        for one in done
    ]
    return replies.fhir_json(replies.response_bundle("transaction-response", entries))


async def batch(request: web.Request) -> web.StreamResponse:
    """POST {base} with a Bundle of type batch: each entry on its own."""
    to = _pusher(request)
    bundle = decode(await request.read())
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "batch":
        text = "the body must be a Bundle with `type` `batch`; transactions are not offered yet"
        raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, ("Bundle.type",)))
    entries = entries_of(bundle, entries_max=to.settings.bundle_entries_max)
    done: dict[int, dict[str, Any]] = {}
    for phase in _PHASES:
        mine = [n for n, entry in enumerate(entries) if _method(entry) == phase]
        answers = await asyncio.gather(*(_answer(to, entries[n]) for n in mine))
        done |= dict(zip(mine, answers, strict=True))
    for number, entry in enumerate(entries):
        if number not in done:
            done[number] = await _answer(to, entry)
    answered = [done[number] for number in range(len(entries))]
    return replies.fhir_json(replies.response_bundle("batch-response", answered))


def _method(entry: BundleEntry) -> object:
    return entry.request.get("method") if entry.request else None


async def _answer(to: Pusher, entry: BundleEntry) -> dict[str, Any]:
    """One entry of a batch, answered whatever becomes of it."""
    try:
        return await _interact(to, entry)
    except ServiceError as error:
        to.metrics.count("refused")
        return replies.entry_of_error(error)


async def _interact(to: Pusher, entry: BundleEntry) -> dict[str, Any]:
    asked = interaction(entry)
    if asked.method not in _LETTERS:
        issue = Issue(
            "not-supported", "`request.method` is not offered in a batch", ("Bundle.entry.request",)
        )
        raise ServiceError(Category.UNSUPPORTED, issue)
    push.check_scope(to.caller, asked.type, _LETTERS[asked.method])
    if asked.method == "POST" and asked.id is None and asked.resource is not None:
        done = await push.create(to, asked.type, asked.resource, if_none_exist=asked.if_none_exist)
        return replies.entry_of(done, base=to.base)
    if asked.id is None:
        issue = Issue("value", "`request.url` must name one resource", ("Bundle.entry.request.url",))
        raise ServiceError(Category.UNPROCESSABLE, issue)
    key = ResourceKey(asked.type, asked.id)
    if asked.method == "PUT" and asked.resource is not None:
        only_version, only_absent = _if_match(asked.if_match), asked.if_none_match == "*"
        done = await push.update(to, key, asked.resource, only_version=only_version, only_absent=only_absent)
        return replies.entry_of(done, base=to.base)
    if asked.method == "DELETE":
        gone = await push.delete(to, key, only_version=_if_match(asked.if_match))
        return replies.entry_of_deletion(gone)
    if asked.method in ("GET", "HEAD"):
        return await _read(to, key)
    issue = Issue("required", "the entry has no resource", ("Bundle.entry.resource",))
    raise ServiceError(Category.UNPROCESSABLE, issue)


async def _read(to: Pusher, key: ResourceKey) -> dict[str, Any]:
    match await to.store.get(to.tenant, key):
        case Stored() as stored:
            return replies.entry_of_read(stored, base=to.base)
        case Gone():
            raise ServiceError(Category.GONE, Issue("deleted", "the resource was deleted"))
        case None:
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", "there is no such resource"))
