"""Operations on Subscriptions: `$status`, `$events`, `$signing-secret`, `$topic-list`.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/artifacts.html#operation-definitions
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import orjson

from api.http.app_keys import SETTINGS
from api.http.operation_parameters import sent_parameters
from api.middleware.authenticate import refuse_unless
from api.subscriptions.app_keys import OUTBOX, ROOT_SECRET, SOURCES, STANDINGS, SUBSCRIPTIONS
from api.subscriptions.interactions import rendering
from api.subscriptions.interactions.handlers import CHANGED, owned, seen
from api.subscriptions.secrets import rotated, signing_secret
from api.subscriptions.sending.notification import QUERY_EVENT, notification, status_searchset, url_of
from api.subscriptions.sending.reading import of_topic, readable
from api.subscriptions.standing import READS, Ended, Standing
from ingest.http.app_keys import AUDITED, CLOCK, PRINCIPAL, base_of
from ingest.http.replies import fhir_json
from ingest.unique import unique_id
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey
from store.search.looks import refusals
from store.search.parsing.context import shown
from store.search.reach import narrowed, reaches
from store.subscriptions.records import Content
from store.subscriptions.topics import TOPICS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from api.auth.principal import Principal
    from store.search.parsing.query_text import Pair
    from store.subscriptions.events import Event
    from store.subscriptions.records import Subscription

OVERLAP_MAX_HOURS: Final = 24 * 30
DIGITS_MAX: Final = 16
_LESS: Final = Issue(
    "forbidden",
    "the token reads another part of this type than the one that asked for the Subscription: use one with the"
    " same scopes, or one for the whole type",
)
SILENT: Final = frozenset({"_format", "_pretty"})
"""Parameters of any request, which others read."""
_NUMBER: Final = "is the number of an event: `0` or more"


async def status(request: web.Request) -> web.StreamResponse:
    """GET or POST {base}/Subscription/{id}/$status, and {base}/Subscription/$status?id=…&status=…"""
    pairs = await parameters(request, ("id", "status"))
    if "id" in request.match_info:  # The guide: the parameters are ignored there.
        one = await owned(request)
        url = f"{url_of(one)}/$status"
        return fhir_json(status_searchset([one], id=unique_id(), url=url))
    ids, statuses = _values(pairs, "id"), _values(pairs, "status")
    found = [
        one
        for one in await seen(request)
        if (not ids or one.id in ids) and (not statuses or one.status.value in statuses)
    ]
    url = rendering.url_of(f"{base_of(request)}/Subscription/$status", pairs)
    return fhir_json(status_searchset(found, id=unique_id(), url=url))


async def events(request: web.Request) -> web.StreamResponse:
    """GET or POST {base}/Subscription/{id}/$events?eventsSinceNumber=…&eventsUntilNumber=…&content=…

    The numbers are inclusive. Events tell what the subscriber may read now, to a caller who may read it, too.
    """
    app, one = request.app, await owned(request)
    pairs = await parameters(request, ("eventsSinceNumber", "eventsUntilNumber", "content"))
    since, until = (
        _number(pairs, "eventsSinceNumber", 1),
        _number(pairs, "eventsUntilNumber", one.progress.last),
    )
    content = _content(pairs, one.channel.content)
    sources = app[SOURCES]
    try:
        standing = await app[STANDINGS].of(one)
    except Ended as ended:
        raise ServiceError(Category.FORBIDDEN, Issue("forbidden", ended.reason)) from None
    standing = _for_caller(cast("Principal", request[PRINCIPAL]), standing)
    after = max(since, 1) - 1
    limit = max(0, min(app[SETTINGS].subscription_batch_max, until - after))
    kept = await app[OUTBOX].events(one, after=after, limit=limit) if limit else ()
    # Where the first are no longer kept, those that are may begin behind the last that is asked for.
    found = of_topic([event for event in kept if event.number <= until], standing.query)
    told = await readable(sources, one, found, standing=standing, content=content)
    if AUDITED in request:
        for key, raw in told.resources.items():
            request[AUDITED].answers(ResourceKey(*key.split("/", 1)), raw)
    some = found[: told.events]
    bundle = notification(
        one,
        QUERY_EVENT,
        id=unique_id(),
        now=app[CLOCK](),
        content=content,
        events=some,
        resources=told.resources,
        next_url=_next_url(one, some, min(until, one.progress.last), content),
    )
    return fhir_json(bundle)


def _next_url(one: Subscription, some: Sequence[Event], until: int, content: Content) -> str:
    """URL of the events behind these; empty when there are none."""
    if not some or some[-1].number >= until:
        return ""
    numbers = f"eventsSinceNumber={some[-1].number + 1}&eventsUntilNumber={until}"
    return f"{url_of(one)}/$events?{numbers}&content={content.value}"


def _for_caller(caller: Principal, standing: Standing) -> Standing:
    """The standing of a subscriber, for a caller who reaches no less. Raises ServiceError `forbidden`.

    Tokens of one client may differ in scopes, and `dod/admin` alone reads no resource.
    """
    query = standing.query
    refuse_unless(caller, query.type, READS)
    unseen = refusals(query, partial(reaches, caller))
    if unseen:
        raise ServiceError(Category.FORBIDDEN, *unseen)
    part = caller.within(query.type, READS)
    if part is not None and part != standing.part:
        raise ServiceError(Category.FORBIDDEN, _LESS)
    return Standing(narrowed(query, caller), standing.part)


async def secret(request: web.Request) -> web.StreamResponse:
    """POST {base}/Subscription/{id}/$signing-secret?rotate=true&overlap-hours=24: the secret that signs.

    With `rotate` there is a new one, and for the overlap each notification is signed with both.
    """
    app, one = request.app, await owned(request)
    pairs = await parameters(request, ("rotate", "overlap-hours"))
    if _one_of(pairs, "rotate", ("true", "false"), "false") == "true":
        hours = _number(pairs, "overlap-hours", 24)
        if hours > OVERLAP_MAX_HOURS:
            text = f"`overlap-hours`: is at most {OVERLAP_MAX_HOURS}"
            raise ServiceError(Category.INCORRECT, Issue("value", text, ("overlap-hours",)))
        after = rotated(one, now=app[CLOCK](), overlap=timedelta(hours=hours))
        if not await app[SUBSCRIPTIONS].replace(after, instead_of=one.version):
            raise ServiceError(Category.CONFLICT, CHANGED)
        one = after
    text = signing_secret(app[ROOT_SECRET], one.name, one.generation)
    parameter = [{"name": "secret", "valueString": text}]
    return fhir_json(orjson.dumps({"resourceType": "Parameters", "parameter": parameter}))


async def topics(request: web.Request) -> web.StreamResponse:  # noqa: ARG001 -- the shape of a handler
    """GET {base}/Subscription/$topic-list: canonical URLs of all topics."""
    parameter = [{"name": "subscription-topic-canonical", "valueCanonical": one} for one in TOPICS]
    return fhir_json(orjson.dumps({"resourceType": "Parameters", "parameter": parameter}))


async def parameters(request: web.Request, known: Sequence[str]) -> list[Pair]:
    """Parameters of an operation. Raises ServiceError for one that is not known: it would not be heeded."""
    pairs = await sent_parameters(request)
    unknown = [name for name, _ in pairs if name not in known and name not in SILENT]
    if unknown:
        names = ", ".join(f"`{name}`" for name in known) or "none"
        text = f"`{shown(unknown[0])}` is no parameter of this operation; its parameters: {names}"
        raise ServiceError(Category.INCORRECT, Issue("invalid", text, (shown(unknown[0]),)))
    return pairs


def _values(pairs: list[Pair], name: str) -> list[str]:
    return [part for one, text in pairs if one == name for part in text.split(",") if part]


def _one_of(pairs: list[Pair], name: str, known: Sequence[str], default: str) -> str:
    """The value of a parameter that has a few. Raises ServiceError for any other."""
    texts = _values(pairs, name) or [default]
    if len(texts) > 1 or texts[0] not in known:
        listed_ones = ", ".join(f"`{one}`" for one in known)
        raise ServiceError(Category.INCORRECT, Issue("value", f"`{name}`: is one of {listed_ones}", (name,)))
    return texts[0]


def _number(pairs: list[Pair], name: str, default: int) -> int:
    texts = _values(pairs, name)
    if not texts:
        return default
    if len(texts) > 1 or not (texts[0].isascii() and texts[0].isdigit() and len(texts[0]) < DIGITS_MAX):
        raise ServiceError(Category.INCORRECT, Issue("value", f"`{name}`: {_NUMBER}", (name,)))
    return int(texts[0])


def _content(pairs: list[Pair], least: Content) -> Content:
    """Content asked for, no more than the subscription's own."""
    known = list(Content)
    asked = Content(_one_of(pairs, "content", known, least))
    return known[min(known.index(asked), known.index(least))]
