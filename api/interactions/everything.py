"""`{base}/Patient/{id}/$everything`, by GET or POST: a person's own data, all of it, in pages.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from api.http.app_keys import PAGE_SECRET, SETTINGS
from api.http.operation_parameters import sent_parameters
from api.search.answer import Asker
from api.search.bundle import render
from api.search.everything import ABOUT_PATIENTS, Place, Wish, page, without_doubles
from api.search.following import followed
from api.search.linked import records_of_person
from api.search.links import links
from api.search.page_token import SILENT, PageState, bound
from ingest.http.answer_room import SMALL_BYTES, hold
from ingest.http.app_keys import AUDITED, CLOCK, LIMITS, PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.reach import seen
from ingest.http.replies import fhir_json
from store.errors import Category, ServiceError
from store.fhir.instants import SECOND, from_datetime, parse
from store.fhir.issues import Issue
from store.near import unknown_type
from store.resources.pages import Page
from store.resources.resource_keys import ResourceKey
from store.search.criteria import Position
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from store.search.parsing.query_text import Pair

PARAMETERS: Final = ("_since", "_type", "start", "end", "_count")
_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_INSTANT: Final = re.compile(r".+T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}(-\d\d(-\d\d)?)?", re.ASCII)


async def everything(request: web.Request) -> web.StreamResponse:
    """GET or POST {base}/Patient/{id}/$everything; the pages behind the first are links, by GET."""
    app, tenant, caller = request.app, request[TENANT].tenant, request[PRINCIPAL]
    key = ResourceKey("Patient", request.match_info["id"])
    await seen(caller, await app[RESOURCES].get(tenant, key), base=partial(base_of, request))
    base, state = base_of(request), await _state(request, f"{key}/$everything")
    context = SearchContext(app[LIMITS], base, state.now, strict=True)
    wish = wish_of(state.pairs, count_default=app[LIMITS].count_default, count_max=app[LIMITS].count_max)
    asker = Asker(app[RESOURCES], tenant, base, app[PAGE_SECRET], caller, client=caller.client)
    records = await records_of_person(app[RESOURCES], tenant, [key.id])
    if AUDITED in request:
        request[AUDITED].about(f"Patient/{one}" for one in records)
        request[AUDITED].begin()
    part = await page(asker, records, wish, _place(state.position), context)
    if part.size > SMALL_BYTES:
        hold(request, part.size)
    found = Page(tuple(part.entries), None, included=tuple(without_doubles(part)), next=_position(part.next))
    to = links(state, found, base=base, tenant=bound(tenant, caller), secret=app[PAGE_SECRET])
    return fhir_json(render(found, base=base, links=to))


async def _state(request: web.Request, path: str) -> PageState:
    app = request.app
    pairs = [pair for pair in await sent_parameters(request) if pair[0] not in SILENT]
    now = from_datetime(app[CLOCK]()).start
    state = await followed(request, pairs, of=path, known=PARAMETERS.__contains__)
    until = now // SECOND + app[SETTINGS].page_token_seconds
    return state or PageState(path, tuple(pairs), now, until)


def _place(position: Position | None) -> Place:
    if position is None:
        return Place()
    number, *values = position.values
    return Place(int(number), Position(tuple(values)) if values else None)


def _position(place: Place | None) -> Position | None:
    if place is None:
        return None
    return Position((place.type, *(() if place.within is None else place.within.values)))


def wish_of(pairs: Sequence[Pair], *, count_default: int, count_max: int) -> Wish:
    """The conditions. Raises ServiceError `incorrect` with every issue: what is unknown would widen them."""
    wish = Wish(count=count_default)
    issues: list[Issue] = []
    given: dict[str, str] = {}
    for name, value in pairs:
        fault = _fault(name, value, given)
        if fault is not None:
            issues.append(fault)
        given[name] = f"{given[name]},{value}" if name in given else value  # Types may be told one by one.
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    asked = frozenset(one for one in given.get("_type", "").split(",") if one)
    # What is about no patient, as a Practitioner, is found by what refers to it.
    through = asked if asked.issubset(ABOUT_PATIENTS) else frozenset()
    return Wish(
        types=tuple(name for name in ABOUT_PATIENTS if not through or name in through),
        only=asked,
        since=given.get("_since", ""),
        start=given.get("start", ""),
        end=given.get("end", ""),
        count=max(1, min(int(given.get("_count", wish.count)), count_max)),
    )


def _fault(name: str, value: str, given: dict[str, str]) -> Issue | None:
    """The rule that a parameter breaks."""
    if name not in PARAMETERS:
        text = f"`{shown(name)}` is no parameter of `$everything`; {', '.join(PARAMETERS)} are"
        return Issue("invalid", text, (shown(name),))
    if name in given and name != "_type":
        return Issue("invalid", f"`{name}` may be given once", (name,))
    if name == "_type":
        unknown = [one for one in value.split(",") if one and one not in TYPES]
        return unknown_type(unknown[0], TYPES) if unknown else None
    rules = {
        "_count": (_COUNT, "must be a whole number"),
        "_since": (_INSTANT, "must be an instant with seconds and zone, such as 2026-11-22T12:00:00Z"),
        "start": (_DATE, "must be a date, such as 2026-11-22"),
        "end": (_DATE, "must be a date, such as 2026-11-22"),
    }
    pattern, rule = rules[name]
    issue = Issue("invalid", f"`{name}` {rule}", (name,))
    if not pattern.fullmatch(value):
        return issue
    if name != "_count":
        try:
            parse(value)
        except ValueError:
            return issue
    return None
