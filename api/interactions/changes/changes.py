"""`GET {base}/$changes`: what changed since a position, as a long poll or as a stream of events.

A client gives back the last position that it has dealt with, and hears of everything behind it, on any
replica. `docs/changes.md` says what is promised.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import orjson
from aiohttp import hdrs, web

from api.http.app_keys import CHANGES, SETTINGS
from api.http.listeners import LISTENERS
from api.interactions.changes.change_stream import stream, wants_stream
from api.interactions.changes.listening import NOTHING_TO_HEAR, Asked, Ear, render
from ingest.http.app_keys import AUDITED, PRINCIPAL, TENANT, asker_of
from store.changes.hearing import hears
from store.changes.positions import position_of, token_of
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.near import unknown_type
from store.search.parameters import TYPES
from store.search.parsing.context import shown
from store.search.parsing.query_text import pairs_of
from store.subscriptions.topics import UNTOLD

if TYPE_CHECKING:
    from collections.abc import Collection

COUNT: Final = 500
"""Changes of one answer unless a client asks for fewer, and the most of one."""
TOLD: Final = tuple(one for one in TYPES if one not in UNTOLD)
"""Types whose changes are told."""
UNTOLD_TYPE: Final = (
    f"`_type`: no change is told of {', '.join(sorted(UNTOLD))}; `{{base}}/Subscription/$status` says how"
    " each stands"
)
DIGITS_MAX: Final = 9
"""Digits of a number in a query."""
_LAST: Final = "Last-Event-ID"
_NAMES: Final = ("since", "_type", "_count", "_wait")


async def changes(request: web.Request) -> web.StreamResponse:
    """GET {base}/$changes; with `Accept: text/event-stream` a stream."""
    asked = _asked(request)
    with request.app[LISTENERS].place(asker_of(request)):
        if asked.since is None:
            asked = asked._replace(
                since=await request.app[CHANGES].head(request[TENANT].tenant), wait_seconds=0
            )
        if wants_stream(request):
            return await stream(request, Ear(request, asked))
        return await _poll(request, Ear(request, asked))


async def _poll(request: web.Request, ear: Ear) -> web.Response:
    """Answer as soon as there is something to tell, or when the wait is over."""
    until = monotonic() + ear.wait_seconds
    heard = await ear.next()
    while not heard.changes and not request.app[LISTENERS].ending and request.method != hdrs.METH_HEAD:
        left = until - monotonic()
        if not heard.looked_at and (left <= 0 or not await ear.wait(left)):
            break
        heard = await ear.next()
    body = {
        "changes": [render(request, one) for one in heard.changes],
        "next": token_of(heard.position),
    }
    if AUDITED in request:
        await request[AUDITED].finish(200)
    return web.Response(body=orjson.dumps(body), content_type="application/json")


# --- the query


def _asked(request: web.Request) -> Asked:
    """Raises ServiceError with every issue; `forbidden` when there is nothing that the caller may hear of."""
    pairs = pairs_of(request.rel_url.raw_query_string)
    names = [name for name, _ in pairs]
    issues = [_unknown(name) for name in dict.fromkeys(names) if name not in _NAMES]
    issues += [
        Issue("invalid", f"`{name}`: may be given once", (name,)) for name in _NAMES if names.count(name) > 1
    ]
    given = {name: text for name, text in pairs if text}
    last = request.headers.get(_LAST)
    if last:
        given["since"] = last
    since, count, wait = None, COUNT, request.app[SETTINGS].changes_wait_seconds
    try:
        since = position_of(given["since"]) if "since" in given else None
    except ValueError as error:
        issues.append(Issue("invalid", f"`since`: {error}", ("since",)))
    try:
        count = min(_whole(given.get("_count", str(COUNT)), least=1), COUNT)
    except ValueError as error:
        issues.append(Issue("invalid", f"`_count`: {error}", ("_count",)))
    try:
        wait = min(float(_whole(given.get("_wait", str(int(wait))))), wait)
    except ValueError as error:
        issues.append(Issue("invalid", f"`_wait`: {error}", ("_wait",)))
    named = [one for one in given.get("_type", "").split(",") if one]
    issues += [unknown_type(one, TOLD) for one in named if one not in TYPES]
    issues += [Issue("not-supported", UNTOLD_TYPE, ("_type",)) for one in named if one in UNTOLD]
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    return Asked(since, _types(request, named), count, wait)


def _types(request: web.Request, named: Collection[str]) -> frozenset[str]:
    """Types that the caller wants and may hear of. Raises ServiceError `forbidden`."""
    caller, scope = request[PRINCIPAL], request[TENANT].search_scope
    heard = frozenset(one for one in named or TOLD if hears(caller, one, scope))
    if not heard or (named and len(heard) < len(set(named))):
        raise ServiceError(Category.FORBIDDEN, NOTHING_TO_HEAR)
    return heard


def _whole(text: str, least: int = 0) -> int:
    digits = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
    if not digits or int(text) < least:
        raise ValueError(f"must be a whole number, {least} or more")
    return int(text)


def _unknown(name: str) -> Issue:
    known = ", ".join(f"`{one}`" for one in _NAMES)
    return Issue("invalid", f"`{shown(name)}` is no parameter of `$changes`; {known} are", (shown(name),))
