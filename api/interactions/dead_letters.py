"""Dead letters over HTTP, for tokens with the scope `dod/admin`: list, show, fix, replay, discard.

Plain JSON. A list shows no payload; `?body=true` on one letter does, and the letter notes it. A replay goes
through the route that the push came by, as its sender, with the rights the sender had.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from typing_extensions import override
from yarl import URL

from api.auth.principal import Principal
from api.http.app_keys import DEAD_LETTERS, REFUSAL_METRICS, REQUEST_ID
from api.http.plain_json import count_of, plain_json
from api.http.routing import ROWS, Group
from ingest.http.app_keys import CLOCK, IDENTITY_SECRET, PRINCIPAL, TENANT
from ingest.http.body import body_of
from ingest.http.letter_keeper import REPLAY, Replay
from ingest.http.outcome import STATUS, issue_of_status, issues_of
from ingest.ids import stable_id
from store.dead_letters import Event, Letter, State
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.tenancy import Tenant

LOG: Final = logging.getLogger("api.dead_letters")
NOWHERE: Final = 404


async def list_letters(request: web.Request) -> web.StreamResponse:
    """GET {base}/$dead-letters?state=open|replayed|discarded|all&reason=CODE&count=50&after=…"""
    query, tenant = request.rel_url.query, request[TENANT].tenant
    page = await request.app[DEAD_LETTERS].listed(
        tenant,
        state=_state(query.get("state", State.OPEN.value)),
        reason=query.get("reason"),
        after=query.get("after"),
        limit=count_of(request),
    )
    _log(request, "dead letters listed", count=len(page.letters))
    listed: dict[str, Any] = {"letters": [summary(letter) for letter in page.letters]}
    if page.next is not None:
        url = request.rel_url.update_query(after=page.next)
        listed["next"] = url.raw_query_string
    return plain_json(listed)


async def show(request: web.Request) -> web.StreamResponse:
    """GET {base}/$dead-letters/{id}; with `?body=true` the payload too."""
    tenant, letter = await _letter(request)
    shown = details(letter)
    if request.rel_url.query.get("body") == "true":
        body = await request.app[DEAD_LETTERS].body(tenant, letter.id)
        await request.app[DEAD_LETTERS].seen(tenant, letter, _event(request, "body shown"))
        shown |= payload(letter, body)
    _log(request, "dead letter shown", letter=letter)
    return plain_json(shown)


async def fix(request: web.Request) -> web.StreamResponse:
    """PUT {base}/$dead-letters/{id}: the body of the request takes the place of the letter's."""
    tenant, letter = await _letter(request)
    _refuse_closed(letter)
    body = bytes(await body_of(request))
    if not body:
        raise _refusal(Category.INCORRECT, "required", "the new body is empty")
    if not await request.app[DEAD_LETTERS].replace_body(tenant, letter, body, _event(request, "fixed")):
        raise _changed()
    _log(request, "dead letter fixed", letter=letter)
    return await _as_it_is(request, tenant, letter)


async def discard(request: web.Request) -> web.StreamResponse:
    """DELETE {base}/$dead-letters/{id}: forget the body, keep the record until it is too old."""
    tenant, letter = await _letter(request)
    _refuse_closed(letter)
    event = _event(request, "discarded")
    if not await request.app[DEAD_LETTERS].close(tenant, letter, State.DISCARDED, event):
        raise _changed()
    _log(request, "dead letter discarded", letter=letter)
    return await _as_it_is(request, tenant, letter)


async def replay(request: web.Request) -> web.StreamResponse:
    """POST {base}/$dead-letters/{id}/$replay: push it again. 200 with the letter, whatever came of it."""
    tenant, letter = await _letter(request)
    _refuse_closed(letter)
    letters, metrics = request.app[DEAD_LETTERS], request.app[REFUSAL_METRICS]
    body = await letters.body(tenant, letter.id)
    if body is None:
        text = "the letter's body was too large to keep: it cannot be replayed, only fixed"
        raise _refusal(Category.CONFLICT, "conflict", text)
    verdict = await push_again(request, tenant, letter, body)
    if verdict.status >= STATUS[Category.FAULT]:
        metrics.replayed("failed")
        raise ServiceError(verdict.category, *verdict.issues)
    if verdict.issues:
        event = _event(request, "replayed: refused")
        done = await letters.refused_again(tenant, letter, verdict.status, verdict.issues, event)
    else:
        event = _event(request, "replayed: stored")
        done = await letters.close(tenant, letter, State.REPLAYED, event)
    metrics.replayed("refused" if verdict.issues else "stored")
    _log(request, "dead letter replayed", letter=letter, status=verdict.status)
    if not done:
        raise _changed()
    return await _as_it_is(request, tenant, letter)


# --- replaying


@dataclass(frozen=True, slots=True)
class Verdict:
    """Answer that the push was given; without issues it is stored."""

    status: int
    issues: tuple[Issue, ...] = ()
    category: Category = Category.INCORRECT


class ReplayedRequest(web.Request):
    """The push as it came, made again: a request that no connection brought."""

    def __init__(self, like: web.Request, letter: Letter, url: URL, body: bytes) -> None:
        headers = CIMultiDict(letter.headers)
        headers[hdrs.CONTENT_LENGTH] = str(len(body))
        raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
        proxy = CIMultiDictProxy(headers)
        message = RawRequestMessage(
            method=letter.method,
            path=str(url),
            version=like.version,
            headers=proxy,
            raw_headers=raw,
            should_close=False,
            compression=None,
            upgrade=False,
            chunked=False,
            url=url,
        )
        loop = asyncio.get_running_loop()
        content = StreamReader(like.protocol, len(body) + 1, loop=loop)
        content.feed_data(body)
        content.feed_eof()
        origin = URL(letter.origin)
        super().__init__(
            message,
            content,
            like.protocol,
            like.writer,
            like.task,
            loop,
            client_max_size=like.client_max_size,
            scheme=origin.scheme,
            host=origin.authority,
        )
        self._resolved = like.match_info
        self._application = like.app

    @property
    @override
    def match_info(self) -> web.UrlMappingMatchInfo:
        return self._resolved

    @property
    @override
    def app(self) -> web.Application:
        return self._application

    def resolved(self, match: web.UrlMappingMatchInfo) -> None:
        """Say which route it leads to."""
        self._resolved = match


async def push_again(request: web.Request, tenant: Tenant, letter: Letter, body: bytes) -> Verdict:
    """Give the letter to the handler of its route, as its sender."""
    path = f"/fhir/R4/{tenant}" + (
        f"/{letter.path}" if letter.path and letter.path[0] != "?" else letter.path
    )
    again = ReplayedRequest(request, letter, URL(path, encoded=True), body)
    match = await request.app.router.resolve(again)
    row = request.app[ROWS].get(match.route)
    if row is None or row.group is not Group.WRITE:
        return Verdict(NOWHERE, (Issue("not-supported", "this service does not take such pushes any more"),))
    again.resolved(match)
    sender = _sender(letter, tenant, request)
    again[TENANT], again[PRINCIPAL] = request[TENANT], sender
    again[REQUEST_ID] = request[REQUEST_ID]
    again[REPLAY] = Replay(_ids(tenant, letter, request.app[IDENTITY_SECRET]), letter.last_at)
    if row.scope and "type" in match and not sender.may(match["type"], row.scope):
        text = "the sender's scopes did not allow this on this resource type"
        return Verdict(STATUS[Category.FORBIDDEN], (Issue("forbidden", text),))
    try:
        answered = await match.handler(again)
    except ServiceError as error:
        issues = tuple(issues_of(error.category, error.issues))
        return Verdict(STATUS[error.category], issues, error.category)
    except web.HTTPException as error:
        return Verdict(error.status, (issue_of_status(error.status, error.text or error.reason),))
    return Verdict(answered.status)


def _sender(letter: Letter, tenant: Tenant, request: web.Request) -> Principal:
    """Sender of the push: natural keys can hold the client's name, and a replay may do no more than it."""
    return Principal(
        client=letter.client,
        tenants=frozenset({tenant}),
        scopes=letter.scopes,
        expires_at=request.app[CLOCK](),
        token_id=letter.token_id,
    )


def _ids(tenant: Tenant, letter: Letter, secret: bytes) -> Callable[[], str]:
    """The ids of what this letter creates, in order: a replay that broke off makes no twins when repeated."""
    numbers = count()
    return lambda: stable_id(tenant, f"dead letter {letter.id} {next(numbers)}", secret)


# --- as JSON


def summary(letter: Letter) -> dict[str, Any]:
    """Lines of a list on a letter: nothing of the payload, of the path or the headers."""
    first = letter.issues[0] if letter.issues else Issue("unknown", "")
    return {
        "id": letter.id,
        "time": letter.at,
        "lastTime": letter.last_at,
        "times": letter.times,
        "operation": letter.operation,
        "client": letter.client,
        "token": letter.token_id,
        "status": letter.status,
        "reason": {"code": first.code, "text": first.text},
        "size": letter.size,
        "attempts": letter.attempts,
        "state": letter.state.value,
        "hasBody": letter.has_body,
    }


def details(letter: Letter) -> dict[str, Any]:
    """Account of a letter without its payload: all reasons, and what was done with it."""
    issues = [
        {"severity": one.severity, "code": one.code, "text": one.text, "expression": list(one.expression)}
        for one in letter.issues
    ]
    events = [{"time": one.at, "by": one.by, "did": one.did} for one in letter.events]
    content_type = letter.headers.get(hdrs.CONTENT_TYPE)
    return {**summary(letter), "contentType": content_type, "issues": issues, "events": events}


def payload(letter: Letter, body: bytes | None) -> dict[str, Any]:
    """Path, headers and body: what a patient may be known by."""
    shown: dict[str, Any] = {"method": letter.method, "path": letter.path, "headers": dict(letter.headers)}
    if body is None:
        return {**shown, "body": None}
    try:
        return {**shown, "body": body.decode()}
    except UnicodeDecodeError:
        return {**shown, "bodyBase64": base64.b64encode(body).decode()}


async def _as_it_is(request: web.Request, tenant: Tenant, letter: Letter) -> web.Response:
    """The letter as it is now."""
    now = await request.app[DEAD_LETTERS].get(tenant, letter.id)
    return plain_json(details(now or letter))


async def _letter(request: web.Request) -> tuple[Tenant, Letter]:
    tenant = request[TENANT].tenant
    letter = await request.app[DEAD_LETTERS].get(tenant, request.match_info["id"])
    if letter is None:
        raise _refusal(Category.NOT_FOUND, "not-found", "there is no such dead letter")
    return tenant, letter


def _refuse_closed(letter: Letter) -> None:
    if letter.state is not State.OPEN:
        raise _refusal(Category.CONFLICT, "conflict", f"the letter was {letter.state.value} already")


def _changed() -> ServiceError:
    return _refusal(Category.CONFLICT, "conflict", "somebody else changed the letter meanwhile")


def _state(text: str) -> State | None:
    if text == "all":
        return None
    try:
        return State(text)
    except ValueError:
        names = ", ".join([*State, "all"])
        raise _refusal(Category.INCORRECT, "value", f"`state` is one of {names}", "state") from None


def _event(request: web.Request, did: str) -> Event:
    caller = request[PRINCIPAL]
    return Event(request.app[CLOCK](), f"{caller.client} ({caller.token_id})", did)


def _log(request: web.Request, message: str, *, letter: Letter | None = None, **fields: int) -> None:
    """Every access leaves a line: who, whose, which; nothing of the payload."""
    named = {} if letter is None else {"letter": letter.id}
    who = {"tenant": str(request[TENANT].tenant), "client": request[PRINCIPAL].client}
    LOG.info(message, extra={"request_id": request.get(REQUEST_ID), **who, **named, **fields})


def _refusal(category: Category, code: str, text: str, *expression: str) -> ServiceError:
    return ServiceError(category, Issue(code, text, expression))
