"""The whole story of a search: pairs → query → page → Bundle. https://hl7.org/fhir/R4/http.html#search"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from api.fhir_json import refuse_unknown_format
from api.keys import PAGE_SECRET, SETTINGS
from api.search.bundle import render
from api.search.links import links
from api.search.page_token import PageState, unseal
from api.search.preferences import wants_strict
from api.search.raw import pairs_of, pairs_of_form
from api.search.subset import trim
from ingest.keys import CLOCK, LIMITS, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.replies import fhir_json
from store.errors import Category, ServiceError
from store.fhir.instants import SECOND, from_datetime
from store.fhir.issues import Issue
from store.search.criteria import Total
from store.search.parameters import TYPES
from store.search.parse import Context, bounded_by_patient, parse
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from ingest.keys import Caller
    from store.resources import Entry
    from store.search.criteria import SearchQuery
    from store.search.parse import Pair
    from store.tenancy import TenantSettings

PAGE: Final = "_page"
"""The parameter of page links; stands alone."""
_UNBOUNDED: Final = Issue(
    "required",
    "the search must name its patient: `patient`, `subject`, `patient.identifier`, `subject.identifier`,"
    " `patient:identifier`, `subject:identifier`, or `_id`; none of them was understood",
)


async def search_type(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}?…, and …/_search as an alias."""
    return await _search(request, pairs_of(request.rel_url.raw_query_string))


async def search_type_post(request: web.Request) -> web.StreamResponse:
    """POST {base}/{Type}/_search: what is in the URL and what is in the body mean the same."""
    form = pairs_of_form(await request.read())
    for name, value in form:
        if name == "_format":
            refuse_unknown_format(value)
    return await _search(request, [*pairs_of(request.rel_url.raw_query_string), *form])


async def search_compartment(request: web.Request) -> web.StreamResponse:
    """GET {base}/Patient/{id}/{Type}: the same search within one patient's compartment."""
    pairs = pairs_of(request.rel_url.raw_query_string)
    resource_type = request.match_info["type"]
    if "patient" not in _known(resource_type):
        issue = Issue("not-found", f"`{resource_type}` is not in the compartment of a Patient here")
        raise ServiceError(Category.NOT_FOUND, issue)
    return await _search(request, [("patient", f"Patient/{request.match_info['id']}"), *pairs])


async def _search(request: web.Request, pairs: Sequence[Pair]) -> web.Response:
    if any(name == PAGE for name, _ in pairs):
        return await _page(request, pairs)
    resource_type = request.match_info["type"]
    _known(resource_type)
    now = from_datetime(request.app[CLOCK]()).start
    strict = wants_strict(", ".join(request.headers.getall("Prefer", ())))
    context = Context(request.app[LIMITS], base_of(request), now, strict)
    understood = parse(resource_type, pairs, context)
    _refuse_unbounded(request[TENANT], understood.query, understood.ignored)
    until = now // SECOND + request.app[SETTINGS].page_token_seconds
    state = PageState(resource_type, understood.pairs, now, until)
    return await _answer(request, state, understood.query, understood.ignored)


async def _page(request: web.Request, pairs: Sequence[Pair]) -> web.Response:
    """Follow a page link: the query is in the token."""
    tokens = [value for name, value in pairs if name == PAGE]
    others = len(tokens) > 1 or any(name not in (PAGE, "_format", "_pretty") for name, _ in pairs)
    resource_type = request.match_info["type"]
    tenant, app = str(request[TENANT].tenant), request.app
    now = from_datetime(app[CLOCK]()).start // SECOND
    state = unseal(tokens[0], tenant=tenant, secret=app[PAGE_SECRET], now_seconds=now)
    if others or state.type != resource_type:
        issue = Issue("invalid", "`_page` stands alone: follow page links as they are", (PAGE,))
        raise ServiceError(Category.INCORRECT, issue)
    query = parse(resource_type, state.pairs, Context(app[LIMITS], base_of(request), state.now)).query
    _refuse_unbounded(request[TENANT], query, ())
    query = replace(query, as_of=state.as_of)
    if state.position is not None:
        query = replace(query, position=state.position, total=Total.NONE)
    return await _answer(request, state, query, ())


async def _answer(
    request: web.Request, state: PageState, query: SearchQuery, ignored: Sequence[Issue]
) -> web.Response:
    tenant = request[TENANT].tenant
    page = await request.app[RESOURCES].search(tenant, query)
    if page.included:
        page = replace(page, included=_readable(request[PRINCIPAL], page.included))
    if state.position is None:
        state = replace(state, total=page.total, as_of=page.as_of)
    elif page.as_of == state.as_of:
        page = replace(page, total=state.total)
    else:  # What was counted is no longer what the pages show.
        state = replace(state, total=None, as_of=page.as_of)
    base = base_of(request)
    to = links(state, page, base=base, tenant=str(tenant), secret=request.app[PAGE_SECRET])
    return fhir_json(render(trim(page, query), base=base, links=to, issues=ignored))


def _readable(caller: Caller, included: Sequence[Entry]) -> tuple[Entry, ...]:
    """Of what was included, the types that the token may read and search: no include widens its scopes."""
    return tuple([entry for entry in included if caller.may(entry.key.type, "rs")])


def _known(resource_type: str) -> frozenset[str]:
    """The parameters of a type. Raises ServiceError `not-found` for a type that is not one of R4's."""
    row = TYPES.get(resource_type)
    if row is None:
        issue = Issue("not-found", "there is no such resource type here")
        raise ServiceError(Category.NOT_FOUND, issue)
    return frozenset(row.by_name)


def _refuse_unbounded(settings: TenantSettings, query: SearchQuery, ignored: Sequence[Issue]) -> None:
    """The patient scope rule (decision D17): a misspelt parameter must never widen a search to everyone."""
    if settings.search_scope is SearchScope.PATIENT and not bounded_by_patient(query):
        raise ServiceError(Category.INCORRECT, _UNBOUNDED, *ignored)
