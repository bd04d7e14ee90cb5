"""The HTTP edge of a search: request → pairs → the story in `answer` → Bundle. https://hl7.org/fhir/R4/http.html#search"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Final

from api.auth.scopes import ADMIN
from api.http.app_keys import METRICS, PAGE_SECRET, SETTINGS
from api.http.fhir_json import refuse_unknown_format
from api.search import on_record
from api.search.answer import Asker, Search, ask, begin, bundle, resume
from api.search.explanation import EXPLAIN, wish
from api.search.following import followed
from api.search.preferences import wants_strict
from api.search.subset import is_trimmed
from ingest.http.answer_room import SMALL_BYTES, hold
from ingest.http.app_keys import AUDITED, CLOCK, LIMITS, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.body import body_of
from ingest.http.replies import fhir_json
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.fhir.issues import Issue
from store.near import unknown_type
from store.search.looks import refusals
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext
from store.search.parsing.parse import is_known
from store.search.parsing.patient_scope import bounded
from store.search.parsing.query_text import TEXT_MAX, pairs_of, pairs_of_form
from store.search.reach import reaches
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from store.search.parameters import ResourceType
    from store.search.parsing.query_text import Pair
    from store.tenancy import TenantSettings

JOINED_BYTES: Final = 1_000_000
"""Bytes of a page that are put together on the event loop."""
_UNBOUNDED: Final = Issue(
    "required",
    "the search must name its patient: `patient`, `subject`, `patient.identifier`, `subject.identifier`,"
    " `patient:identifier`, `subject:identifier`, or `_id`; a Patient is named by `identifier`, `_id`, or a"
    " name with a day as `birthdate`, `phone` or `email`. None of this was asked for, or something else"
    " beside a patient, such as `Group/…`; or a `_has` leads from what many patients share to them, and"
    " names none. To let trusted clients search across patients:"
    " `dod tenant create ORG/ENV --search-scope any`",
)


async def search_type(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}?…, and …/_search as an alias."""
    return await search_pairs(request, pairs_of(request.rel_url.raw_query_string))


async def search_type_post(request: web.Request) -> web.StreamResponse:
    """POST {base}/{Type}/_search."""
    return await search_pairs(request, await posted(request))


async def posted(request: web.Request) -> list[Pair]:
    """The parameters of a search by POST: what is in the URL and what is in the body mean the same."""
    sent = await body_of(request, most=TEXT_MAX)
    form = pairs_of_form(sent)
    if AUDITED in request:
        in_url = request.raw_path.partition("?")[2].encode("utf-8", "surrogateescape")
        request[AUDITED].asks(b"&".join(filter(None, (in_url, bytes(sent)))))
    for name, value in form:
        if name == "_format":
            refuse_unknown_format(value)
    return [*pairs_of(request.rel_url.raw_query_string), *form]


async def search_compartment(request: web.Request) -> web.StreamResponse:
    """GET {base}/Patient/{id}/{Type}: the same search within one patient's compartment."""
    pairs = pairs_of(request.rel_url.raw_query_string)
    resource_type = request.match_info["type"]
    if "patient" not in _known(resource_type).by_name:
        issue = Issue("not-found", f"`{resource_type}` is not in the compartment of a Patient here")
        raise ServiceError(Category.NOT_FOUND, issue)
    return await search_pairs(request, [("patient", f"Patient/{request.match_info['id']}"), *pairs])


async def search_entry(request: web.Request, resource_type: str, query: str, bytes_max: int) -> bytes:
    """GET {Type}?… as the entry of a batch, its page within so many bytes."""
    return await _searchset(request, resource_type, pairs_of(query), bytes_max, query)


async def search_pairs(request: web.Request, pairs: Sequence[Pair]) -> web.Response:
    """Searchset of a search with these parameters."""
    return fhir_json(await _searchset(request, request.match_info["type"], pairs))


async def _searchset(
    request: web.Request,
    resource_type: str,
    pairs: Sequence[Pair],
    bytes_max: int | None = None,
    within: str | None = None,
) -> bytes:
    """The searchset as JSON bytes; `within` is the query of an entry of a batch."""
    start = perf_counter()
    explains, pairs = wish(pairs)
    if explains and not request[PRINCIPAL].is_admin:
        issue = Issue("forbidden", f"`{EXPLAIN}` needs a token with the scope `{ADMIN}`", (EXPLAIN,))
        raise ServiceError(Category.FORBIDDEN, issue)
    app, base = request.app, base_of(request)
    now = from_datetime(app[CLOCK]()).start
    limits = app[LIMITS] if bytes_max is None else replace(app[LIMITS], bytes_max=bytes_max)
    search = await _following(request, resource_type, pairs, SearchContext(limits, base, now))
    if search is None:
        strict = wants_strict(", ".join(request.headers.getall("Prefer", ())))
        search = _first(request, resource_type, pairs, SearchContext(limits, base, now, strict))
    search = in_bounds(request[TENANT], search)
    caller = request[PRINCIPAL]
    unseen = refusals(search.query, partial(reaches, caller))
    if unseen:
        raise ServiceError(Category.FORBIDDEN, *unseen)
    asker = Asker(
        app[RESOURCES],
        request[TENANT].tenant,
        base,
        app[PAGE_SECRET],
        caller,
        explains,
        caller.client,
    )
    metrics = app[METRICS]
    access = request.get(AUDITED)
    asked = perf_counter()
    metrics.searched("parse", asked - start)
    begun = access is not None and within is None and on_record.begin(access, search)
    answer = await ask(asker, search)
    rendering = perf_counter()
    metrics.searched("store", rendering - asked)
    if access is not None and not begun:
        on_record.end(access, search, answer.page, within=within)
    if answer.page.size > SMALL_BYTES:  # At once: pages that wait to be rendered are in memory too.
        hold(request, answer.page.size)
    # What is cut down is parsed; else it is only joined.
    if answer.page.size > (SMALL_BYTES if is_trimmed(search.query) else JOINED_BYTES):
        body = await asyncio.to_thread(bundle, asker, answer)
    else:
        body = bundle(asker, answer)
    metrics.searched("render", perf_counter() - rendering)
    return body


def _first(request: web.Request, resource_type: str, pairs: Sequence[Pair], context: SearchContext) -> Search:
    _known(resource_type)
    return begin(resource_type, pairs, context, link_seconds=request.app[SETTINGS].page_token_seconds)


async def _following(
    request: web.Request, resource_type: str, pairs: Sequence[Pair], context: SearchContext
) -> Search | None:
    """The page that a link leads to: the query is in the token."""
    state = await followed(request, pairs, of=resource_type, known=partial(is_known, resource_type))
    return None if state is None else resume(state, context._replace(now=state.now))


def _known(resource_type: str) -> ResourceType:
    """The row of a type. Raises ServiceError `not-found` for a type that is not one of R4's."""
    row = TYPES.get(resource_type)
    if row is None:
        raise ServiceError(Category.NOT_FOUND, unknown_type(resource_type, TYPES))
    return row


def in_bounds(settings: TenantSettings, search: Search) -> Search:
    """The search as its patient bounds it, where the tenant allows no other. Raises ServiceError without one.

    A misspelt parameter must never widen a search to everyone.

    `DECISIONS.md#patient-scope`
    """
    if settings.search_scope is not SearchScope.PATIENT:
        return search
    query = bounded(search.query)
    if query is None:
        raise ServiceError(Category.INCORRECT, _UNBOUNDED, *search.ignored)
    return search._replace(query=query)
