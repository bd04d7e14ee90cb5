"""Histories: all versions of a resource, or of a type, newest first. https://hl7.org/fhir/R4/http.html#history"""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import orjson

from api.http.app_keys import PAGE_SECRET, SCANS, SETTINGS
from api.search.following import followed
from api.search.links import links
from api.search.page_token import SILENT, PageState, bound
from ingest.http.app_keys import AUDITED, CLOCK, LIMITS, PRINCIPAL, RESOURCES, TENANT, asker_of, base_of
from ingest.http.outcome import outcome
from ingest.http.reach import READ, is_seen
from ingest.http.replies import etag, fhir_json
from ingest.unique import unique_id
from store.errors import Category, ServiceError
from store.fhir.instants import SECOND, from_datetime, parse
from store.fhir.issues import Issue
from store.near import unknown_type
from store.resources.pages import HistoryQuery, Page
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Gone, Stored, instant
from store.search.criteria import Position
from store.search.parameters import TYPES
from store.search.parsing.context import shown
from store.search.parsing.query_text import pairs_of
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from aiohttp import web

    from store.resources.pages import HistoryEntry, HistoryPage
    from store.search.parsing.context import SearchLimits

_COUNT: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_INSTANT: Final = re.compile(r".+T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
"""Form of an instant that `parse` takes and that is precise to the second at least, with its zone."""
LOOKED_AT: Final = 50
"""Versions of a resource that are looked at together, for a caller who sees some of them."""
_BOUNDS: Final = frozenset({"_since", "_at"})
_STALE: Final = Issue(
    "informational",
    "Stale: what was current then is newer by the source's own time, so this never was current.",
    severity="information",
)
_UNBOUNDED: Final = Issue(
    "forbidden",
    "the history of a type tells of every patient: where searches must name theirs (the tenant's search"
    " scope), it needs a token that may also update the type (`rus`)",
)


async def of_instance(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}/{id}/_history."""
    return await _history(request, request.match_info["id"])


async def of_type(request: web.Request) -> web.StreamResponse:
    """GET {base}/{Type}/_history."""
    resource_type = request.match_info["type"]
    if resource_type not in TYPES:
        raise ServiceError(Category.NOT_FOUND, unknown_type(resource_type, TYPES))
    bounded = request[TENANT].search_scope is SearchScope.PATIENT
    if bounded and not request[PRINCIPAL].may(resource_type, "u"):
        raise ServiceError(Category.FORBIDDEN, _UNBOUNDED)
    return await _history(request, None)


async def _history(request: web.Request, resource_id: str | None) -> web.Response:
    app, tenant, base = request.app, request[TENANT].tenant, base_of(request)
    resource_type = request.match_info["type"]
    state = await _state(request, f"{resource_type}/_history" if resource_id is None else _path(request))
    query = _query(resource_type, resource_id, state, app[LIMITS])
    if not request[PRINCIPAL].may(resource_type, READ):
        query = replace(query, total=False)  # It would tell how many versions are not shown.
    # At some time in the past: every version is looked at, for the next one is not written down.
    scans = query.id is None and query.at is not None
    async with app[SCANS].turn(asker_of(request)) if scans else nullcontext():
        page = await _page(request, query)
    if AUDITED in request:
        for entry in page.entries:
            if isinstance(entry.version, Stored):
                request[AUDITED].answers(entry.version.key, entry.version.raw)
    if resource_id is not None and not page.entries and page.next is None and state.position is None:
        await _refuse_unknown(request, ResourceKey(resource_type, resource_id))
    if not query.count:
        page = replace(page, entries=())
    if state.position is None:
        state = replace(state, total=page.total)
    sealed = bound(tenant, request[PRINCIPAL])
    to = links(state, Page((), None, next=page.next), base=base, tenant=sealed, secret=app[PAGE_SECRET])
    head: dict[str, Any] = {"resourceType": "Bundle", "id": unique_id(), "type": "history"}
    if state.total is not None:
        head["total"] = state.total
    head["link"] = [{"relation": link.relation, "url": link.url} for link in to]
    return fhir_json(render(head, page, base=base))


async def _page(request: web.Request, query: HistoryQuery) -> HistoryPage:
    """The page, of versions that the caller's scopes reach.

    Of a resource that is seen in part the first version that is shown is looked for: an empty page that leads
    on would tell that there is something.
    """
    history, tenant = request.app[RESOURCES].history, request[TENANT].tenant
    if query.id is None or request[PRINCIPAL].may(query.type, READ):
        return await _seen(request, await history(tenant, query))
    looked = replace(query, count=max(query.count, LOOKED_AT))
    page = await _seen(request, await history(tenant, looked))
    while not page.entries and page.next is not None:
        page = await _seen(request, await history(tenant, replace(looked, position=page.next)))
    shown = page.entries[: max(query.count, 1)]
    if not query.count or len(shown) == len(page.entries):
        return replace(page, entries=shown, next=page.next if query.count else None)
    return replace(page, entries=shown, next=_behind(shown[-1]))


def _behind(entry: HistoryEntry) -> Position:
    """Position of what follows a version."""
    return Position((from_datetime(entry.version.last_updated).start, entry.version.key.id))


async def _seen(request: web.Request, page: HistoryPage) -> HistoryPage:
    """The versions that the caller's scopes reach. Deletions have no content to tell that by."""
    caller, base = request[PRINCIPAL], partial(base_of, request)
    if caller.may(request.match_info["type"], READ):
        return page
    entries = [
        entry
        for entry in page.entries
        if isinstance(entry.version, Stored) and await is_seen(caller, entry.version, base=base)
    ]
    return replace(page, entries=tuple(entries))


def _path(request: web.Request) -> str:
    return f"{request.match_info['type']}/{request.match_info['id']}/_history"


async def _refuse_unknown(request: web.Request, key: ResourceKey) -> None:
    """An empty history of what there is, or was, is an answer; of what is not shown it is none."""
    if (
        not request[PRINCIPAL].may(key.type, READ)
        or await request.app[RESOURCES].get(request[TENANT].tenant, key) is None
    ):
        raise ServiceError(Category.NOT_FOUND, Issue("not-found", "there is no such resource"))


async def _state(request: web.Request, path: str) -> PageState:
    """The parameters as a link would hold them: of a first page, or of the one that a link leads to."""
    app = request.app
    pairs = [pair for pair in pairs_of(request.rel_url.raw_query_string) if pair[0] not in SILENT]
    now = from_datetime(app[CLOCK]()).start
    state = await followed(request, pairs, of=path, known=_BOUNDS.__contains__)
    until = now // SECOND + app[SETTINGS].page_token_seconds
    return state or PageState(path, tuple(pairs), now, until)


def _query(
    resource_type: str, resource_id: str | None, state: PageState, limits: SearchLimits
) -> HistoryQuery:
    """Raises ServiceError `incorrect` with every issue: what is not understood would widen the answer."""
    query = HistoryQuery(resource_type, resource_id, limits.count_default)
    query = replace(query, position=state.position, total=state.position is None, bytes_max=limits.bytes_max)
    issues: list[Issue] = []
    names = [name for name, _ in state.pairs]
    for name, text in state.pairs:
        try:
            query = _read(query, name, text, limits)
        except ValueError as error:
            issues.append(Issue("invalid", f"`{shown(name)}`: {error}", (shown(name),)))
    twice = sorted({shown(name) for name in names if names.count(name) > 1})
    issues += [Issue("invalid", f"`{name}`: may be given once", (name,)) for name in twice]
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    return query


def _read(query: HistoryQuery, name: str, text: str, limits: SearchLimits) -> HistoryQuery:
    match name:
        case "_count":
            if not _COUNT.fullmatch(text):
                raise ValueError("must be a whole number, 0 or more")
            return replace(query, count=min(int(text), limits.count_max))
        case "_since":
            if not _INSTANT.fullmatch(text):
                raise ValueError("must be an instant with seconds and zone, such as 2026-11-22T12:00:00Z")
            return replace(query, since=parse(text).start)
        case "_at":
            return replace(query, at=parse(text))
        case _:
            raise ValueError("is no parameter of a history; `_count`, `_since` and `_at` are")


def render(head: dict[str, Any], page: HistoryPage, *, base: str) -> bytes:
    """The Bundle; stored bytes are put in as they are."""
    entries = list(_entries(page.entries, base))
    if not entries:
        return orjson.dumps(head)
    return b'%b,"entry":[%b]}' % (orjson.dumps(head)[:-1], b",".join(entries))


def _entries(found: Sequence[HistoryEntry], base: str) -> Iterable[bytes]:
    for version, created_by, stale in found:
        gone = isinstance(version, Gone)
        method = "DELETE" if gone else created_by or "PUT"
        status = "204 No Content" if gone else "201 Created" if created_by else "200 OK"
        about: dict[str, Any] = {
            "fullUrl": f"{base}/{version.key}",
            "request": {
                "method": method,
                "url": version.key.type if method == "POST" else str(version.key),
            },
            "response": {
                "status": status,
                "etag": etag(version.version),
                "lastModified": instant(version.last_updated).decode(),
            },
        }
        if stale:
            about["response"]["outcome"] = outcome([_STALE])
        whole = orjson.dumps(about)
        yield whole if isinstance(version, Gone) else b'%b,"resource":%b}' % (whole[:-1], version.raw)
