"""HL7 v2 over HTTP: `POST {base}/$hl7v2` with one message or several, answered by acknowledgments."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from aiohttp import hdrs, web

from ingest.feeds.intake import count, messages_in, take_in
from ingest.feeds.kept import ER7
from ingest.feeds.metrics import FeedMetrics
from ingest.feeds.receive import STATUS, receive
from ingest.feeds.sources import Feeds, Source
from ingest.handlers import push_context
from ingest.hl7v2 import ack
from ingest.hl7v2.ack import Verdict
from ingest.http.app_keys import CLOCK, INGEST_SETTINGS, TENANT
from ingest.http.body import body_of, let_go
from ingest.http.letter_keeper import DEAD_LETTER, REPLAY, keep_message
from ingest.unique import unique_id
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.near import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.feeds.receive import Received

V2_BODIES: Final = frozenset({"application/hl7-v2", ER7, "text/plain"})
"""Media types of a body with messages."""
FEEDS: Final[web.AppKey[Feeds]] = web.AppKey("feeds")
"""Declared sources and ports."""
FEED_METRICS: Final[web.AppKey[FeedMetrics]] = web.AppKey("feed_metrics")
HTTP: Final = "http"
"""Name of the source of messages that no declared source sends."""
OPERATION: Final = "hl7v2"
PATH: Final = "$hl7v2"
"""Path to which messages are posted, below the tenant's base."""
_NO_CONTENT: Final = 204


def path_of(source: Source) -> str:
    """Path below the base, by which a message of this source is posted again."""
    return PATH if source.name == HTTP else f"{PATH}?source={quote(source.name)}"


async def receive_messages(request: web.Request) -> web.StreamResponse:
    """POST {base}/$hl7v2, with `?source=` for a declared source of the tenant."""
    body = bytes(await body_of(request))
    sources, otherwise = _sources(request)
    ctx = push_context(request)

    async def keep(message: bytes, source: Source, error: ServiceError) -> str | None:
        if REPLAY in request:  # Its letter is there, and is told why it stays.
            raise error
        return await keep_message(request, OPERATION, path_of(source), message, error)

    async def store(source: Source, message: bytes) -> Received:
        return await receive(ctx, message, source, keep=keep)

    outcomes: list[Received] = []
    for message in _messages(request, body):
        begun = monotonic()
        taken = await take_in(message, sources, store, otherwise=otherwise)
        if taken is not None:
            now = request.app[CLOCK]().timestamp()
            count(request.app[FEED_METRICS], taken, seconds=monotonic() - begun, at=now)
            outcomes.append(taken.received)
    if REPLAY in request:
        _refuse_rejected(outcomes)
    return _response(request, body, outcomes)


def _messages(request: web.Request, body: bytes) -> list[bytes]:
    """The messages of the body. A body of too many becomes no dead letter: it could not be replayed."""
    try:
        return messages_in(body, request.app[INGEST_SETTINGS])
    except ServiceError:
        let_go(request)
        raise


def _sources(request: web.Request) -> tuple[Sequence[Source], Source | None]:
    """The sources that may have sent the body, and the one of what none of them sends."""
    tenant = request[TENANT].tenant
    declared = request.app[FEEDS].of_tenant(tenant)
    name = request.rel_url.query.get("source")
    if name is None or name == HTTP:
        return declared, Source(HTTP, tenant)
    named = next((one for one in declared if one.name == name), None)
    if named is None:
        hint = near(name, [one.name for one in declared])
        issue = Issue("value", f"`source` names no declared source of this tenant{hint}", ("source",))
        raise ServiceError(Category.INCORRECT, issue)
    return (), named


def _refuse_rejected(outcomes: Sequence[Received]) -> None:
    """Raise ServiceError for a replayed message that is still not for this service."""
    for one in outcomes:
        if one.answer.verdict is not Verdict.ACCEPT:
            rules = [Issue("not-supported", f"{fault.place}: {fault.rule}") for fault in one.answer.faults]
            raise ServiceError(Category.UNPROCESSABLE, *rules)


def _response(request: web.Request, body: bytes, outcomes: Sequence[Received]) -> web.Response:
    """Response by the status of a message's verdict; of several each is told by its own acknowledgment."""
    now = request.app[CLOCK]()
    answers = [
        ack.build(one.header, code, one.answer.faults, at=now, number=unique_id())
        for one in outcomes
        for code in ack.codes(one.header, one.answer.verdict)
    ]
    letter = next((one.letter for one in outcomes if one.letter), None)
    if letter is not None:
        request[DEAD_LETTER] = letter
    status = STATUS[outcomes[0].answer.verdict] if len(outcomes) == 1 else STATUS[Verdict.ACCEPT]
    if not answers:
        return web.Response(status=_NO_CONTENT if status == STATUS[Verdict.ACCEPT] else status)
    is_batch = len(outcomes) > 1 or body.lstrip().startswith((b"FHS", b"BHS"))
    asked = request.content_type if request.content_type in V2_BODIES else ER7
    content = ack.batched(answers, body) if is_batch else b"".join(answers)
    encoding = ack.charset_of(content, [one.header.encoding for one in outcomes if one.header])
    return web.Response(
        body=content, status=status, headers={hdrs.CONTENT_TYPE: f"{asked}; charset={encoding}"}
    )
