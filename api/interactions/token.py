"""`POST /v2/auth/token`: an access token for a client that proves itself with a signed JWT.

It answers in OAuth's form, whatever happens. https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

from __future__ import annotations

import hashlib
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl
from uuid import uuid4

import orjson
from aiohttp import hdrs, web

from api.auth import assertions
from api.auth.access_tokens import AccessToken, sign
from api.auth.key_sets import UnreadableError
from api.auth.refusal import Reason, Refusal
from api.auth.refusal import body_of as refusal_body
from api.auth.scopes import granted
from api.http.app_keys import CLIENTS, KEY_SETS, METRICS, REQUEST_ID, SETTINGS, STORES, TOKEN_KEY
from ingest.http.app_keys import AUDIT, CLOCK, address_of, origin_of
from ingest.http.body import body_of
from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from api.auth.assertions import Asked, Presented
    from store.clients import Client

LOG: Final = logging.getLogger("api.auth")
PATH: Final = "/v2/auth/token"
BODY_BYTES_MAX: Final = 40_000
BODY_SECONDS: Final = 10.0
"""Time that a token request may take to arrive: its sender is not known yet."""
DISABLED: Final = "The client is disabled"
NO_SCOPE: Final = "The client may have none of these scopes"
REPEATED: Final = "A parameter is there twice"
MEANT: Final[web.RequestKey[str]] = web.RequestKey("meant")
"""Id of the client that an assertion names, proven or not, if there is one: for the log."""
_REMEMBERED: Final = timedelta(minutes=2)
"""Time for which the `jti` of an assertion is remembered longer than it is good: clocks differ."""
_HEADERS: Final = {hdrs.CACHE_CONTROL: "no-store", hdrs.PRAGMA: "no-cache"}


async def token(request: web.Request) -> web.StreamResponse:
    """POST /v2/auth/token."""
    outcome, client_id, reason = "refused", None, Reason.SAID
    try:
        client, scopes, kid = await _client(request)
        client_id = client.id
        await _on_record(request, client, kid)
        answer = _answer(request, client, scopes, kid)
        outcome = "granted"
    except Refusal as refusal:
        reason, client_id = refusal.reason, request.get(MEANT)
        return _refused(refusal)
    except web.HTTPException as error:
        return _refused(Refusal("invalid_request", error.text or error.reason, status=error.status))
    except ServiceError as error:
        text = " ".join(issue.text for issue in error.issues) or "The database cannot be reached; try again."
        if error.category in (Category.UNAVAILABLE, Category.TIMEOUT):
            return _refused(Refusal("temporarily_unavailable", text))
        return _refused(Refusal("invalid_request", text))
    finally:
        request.app[METRICS].token(outcome, reason)
        extra = {"request_id": request.get(REQUEST_ID), "client": client_id}
        hidden = {} if reason is Reason.SAID else {"reason": reason.value}
        LOG.info(f"access token {outcome}", extra={**extra, **hidden})  # noqa: G004 -- one of two
    return answer


async def _on_record(request: web.Request, client: Client, kid: str) -> None:
    """Put the token on record at each of its tenants. Raises ServiceError."""
    trail = request.app.get(AUDIT)
    if trail is None:
        return
    now, address = request.app[CLOCK](), address_of(request)
    records = [
        AuditRecord(
            tenant,
            now,
            client.id,
            Deed.TOKEN_GRANTED.value,
            request_id=request.get(REQUEST_ID, ""),
            token=f"key {kid}",
            address=address,
        )
        for tenant in client.tenants
    ]
    await trail.note(*records)


async def _client(request: web.Request) -> tuple[Client, tuple[str, ...], str]:
    """The client that a request proves, the scopes it gets, and the key it used. Raises Refusal."""
    asked = assertions.read(request.content_type, await _form(request))
    shown = assertions.presented(asked)
    app, now = request.app, request.app[CLOCK]()
    app[STORES].check_read()
    client = await app[CLIENTS].client(shown.client_id)
    if client is not None:
        request[MEANT] = client.id
    key = await _key(request, client, shown, now)
    proven = assertions.prove(
        shown,
        key,
        audiences=audiences_of(request),
        now=now.timestamp(),
        leeway=app[SETTINGS].assertion_leeway_seconds,
    )
    if client is None or client.disabled_at is not None:
        raise Refusal("invalid_client", DISABLED)
    scopes = _scopes(asked, client)
    name = hashlib.sha256(f"{client.id}\0{proven.jti}".encode()).hexdigest()
    until = datetime.fromtimestamp(proven.ends, UTC) + _REMEMBERED
    if not await app[CLIENTS].use_once(name, until=until):
        raise Refusal("invalid_client", assertions.USED)
    return client, scopes, shown.kid


async def _form(request: web.Request) -> Mapping[str, str]:
    """The parameters of the body. Raises Refusal."""
    if request.content_type != assertions.FORM:
        raise Refusal("invalid_request", assertions.NO_FORM)
    body = await body_of(request, most=BODY_BYTES_MAX, seconds=BODY_SECONDS)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise Refusal("invalid_request", "The body is no form in UTF-8") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise Refusal("invalid_request", REPEATED)
    return form


async def _key(request: web.Request, client: Client | None, shown: Presented, now: datetime) -> str:
    """Public key (JWK) that the assertion names. Raises Refusal; a stranger is not told what is missing."""
    key = await _found(request, client, shown, now)
    if isinstance(key, Reason):
        assertions.pretend(shown)
        raise Refusal("invalid_client", assertions.NO_KEY, reason=key)
    return key


async def _found(
    request: web.Request, client: Client | None, shown: Presented, now: datetime
) -> str | Reason:
    """Public key (JWK) that the assertion names, or the reason why there is none."""
    if client is None or client.external:
        return Reason.NO_CLIENT
    if shown.key_url not in (None, client.jwks_url):
        return Reason.NO_KEY
    if client.jwks_url is None:
        key = next((one.jwk for one in client.usable_keys(now) if one.kid == shown.kid), None)
    else:
        try:
            key = await request.app[KEY_SETS].key(client.jwks_url, shown.kid)
        except UnreadableError:
            return Reason.KEY_SET
    return key or Reason.NO_KEY


def audiences_of(request: web.Request) -> Sequence[str]:
    """Audiences that an assertion may name: the token URL first, then what the settings allow beside it."""
    others = request.app[SETTINGS].token_audiences.replace(",", " ").split()
    return (f"{origin_of(request)}{PATH}", *others)


def _scopes(asked: Asked, client: Client) -> tuple[str, ...]:
    """The scopes that the token gets. Raises Refusal."""
    if not asked.scope:
        return client.scopes
    try:
        scopes = granted(asked.scope.split(), client.scopes)
    except ValueError as error:
        raise Refusal("invalid_scope", str(error)) from None
    if not scopes:
        raise Refusal("invalid_scope", NO_SCOPE)
    return scopes


def _answer(request: web.Request, client: Client, scopes: tuple[str, ...], kid: str) -> web.Response:
    """The token, signed."""
    app = request.app
    issued, lasting = app[CLOCK]().timestamp(), app[SETTINGS].access_token_seconds
    made = AccessToken(client.id, scopes, issued, issued + lasting, uuid4().hex, kid)
    body = {
        "access_token": sign(made, app[TOKEN_KEY]),
        "token_type": "Bearer",
        "expires_in": lasting,
        "scope": " ".join(scopes),
    }
    return web.Response(body=orjson.dumps(body), content_type="application/json", headers=_HEADERS)


def _refused(refusal: Refusal) -> web.Response:
    """https://www.rfc-editor.org/rfc/rfc6749#section-5.2."""
    headers = dict(_HEADERS)
    if refusal.status == web.HTTPUnauthorized.status_code:
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="dod", error="invalid_client"'
    body = refusal_body(refusal.error, refusal.description)
    return web.Response(body=body, status=refusal.status, content_type="application/json", headers=headers)
