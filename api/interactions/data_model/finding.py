"""Searches of a Data Model query: bounded, allowed and on record as any other, their resources as JSON."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from api.http.app_keys import PAGE_SECRET, SETTINGS
from api.search import on_record
from api.search.answer import Asker, ask, begin
from api.search.handlers import in_bounds
from ingest.http.answer_room import SMALL_BYTES, hold
from ingest.http.app_keys import AUDITED, CLOCK, LIMITS, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.reach import check_reading
from ingest.pipeline.decode import decode_any
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.search.looks import SEARCH, refusals
from store.search.parsing.context import SearchContext
from store.search.reach import reaches

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from aiohttp import web

    from ingest.data_model.places import Element
    from store.resources.pages import Entry, Page

IDS_MAX: Final = 200
"""Ids of one search by `_id`."""


class Found(NamedTuple):
    """Resources that a search found."""

    matches: dict[str, Element]
    """By `Type/id`, in order."""
    included: dict[str, Element]
    incomplete: bool
    """Whether there is more than a page may hold."""


async def find(request: web.Request, resource_type: str, pairs: Sequence[tuple[str, str]]) -> Found:
    """The first page of a search. Raises ServiceError."""
    app, caller = request.app, request[PRINCIPAL]
    check_reading(caller, resource_type, SEARCH)  # The route names no type, so no row has asked for it.
    context = SearchContext(app[LIMITS], base_of(request), from_datetime(app[CLOCK]()).start, strict=True)
    first = begin(resource_type, pairs, context, link_seconds=app[SETTINGS].page_token_seconds)
    search = in_bounds(request[TENANT], first)
    unseen = refusals(search.query, partial(reaches, caller))
    if unseen:
        raise ServiceError(Category.FORBIDDEN, *unseen)
    tenant = request[TENANT].tenant
    asker = Asker(app[RESOURCES], tenant, base_of(request), app[PAGE_SECRET], caller, client=caller.client)
    page = (await ask(asker, search)).page
    if AUDITED in request:
        on_record.end(request[AUDITED], search, page, within=None)
    if page.size > SMALL_BYTES:
        hold(request, page.size)
        return await asyncio.to_thread(_found, page)
    return _found(page)


def _found(page: Page) -> Found:
    incomplete = page.next is not None or page.incomplete
    return Found(dict(_read(page.entries)), dict(_read(page.included)), incomplete)


def _read(entries: Sequence[Entry]) -> Iterator[tuple[str, Element]]:
    for key, raw in entries:
        resource = decode_any(raw)
        if isinstance(resource, dict):
            yield str(key), resource


async def find_named(request: web.Request, names: Sequence[str]) -> dict[str, Element]:
    """The resources of these names (`Type/id`), as far as the caller may read them."""
    by_type: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        type_, _, id_ = name.partition("/")
        if reaches(request[PRINCIPAL], type_, "rs"):
            by_type.setdefault(type_, []).append(id_)
    found: dict[str, Element] = {}
    for type_, ids in by_type.items():
        for at in range(0, len(ids), IDS_MAX):
            few = ids[at : at + IDS_MAX]
            pairs = [("_id", ",".join(few)), ("_count", str(len(few)))]
            found |= (await find(request, type_, pairs)).matches
    return found
