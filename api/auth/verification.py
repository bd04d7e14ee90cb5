"""Upstream's endpoint verification: the token that it shows with every push, and its challenge.

A destination is verified by a POST of `{"verification-token": …, "challenge": …}`, or a GET with both in the
query: who knows the token is answered the challenge. Later pushes carry the token in `verification-token`.
"""

from __future__ import annotations

import hmac
import re
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from aiohttp import hdrs, web

from api.auth.principal import Principal
from api.auth.scopes import merge_scopes
from ingest.http.body import body_of
from store.access import VerificationToken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from store.tenancy import Tenant

HEADER: Final = "verification-token"
CLIENT: Final = "verification-token"
"""Name of whoever pushes with it, in logs and as the source of messages that name none."""
PUSHES: Final = merge_scopes(("system/*.cu",))
"""All that the token allows: to create and to update; never to read, search or delete."""
SECRET: Final = "verification tokens"  # noqa: S105 (the name of one)
SHAPE: Final = re.compile(r"[!-~]{16,256}")
"""Form of a token: somebody types it into upstream's form. Shorter ones can be guessed."""
CHALLENGE: Final = re.compile(r"[A-Za-z0-9._~-]{1,200}")
"""Form of a challenge that is echoed; upstream sends a UUID. Nothing a browser could take for markup."""
BODY_BYTES_MAX: Final = 4_096
"""A larger body is no challenge, and is not looked at before its sender is known."""
ARRIVAL_SECONDS: Final = 5.0
"""Time that a body may take to arrive whose sender is not known yet."""
ANSWER_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Challenge(NamedTuple):
    """Challenge by which upstream asks an endpoint to prove that it is meant."""

    token: str
    challenge: str


def new_verification_token() -> str:
    """A fresh one, of 256 random bits."""
    return "dodv_" + secrets.token_urlsafe(32)


def keyed_digest(token: str, tenant: Tenant, secret: bytes) -> str:
    """Digest that is kept of a token: bound to its tenant, and to the deployment's secret."""
    return hmac.digest(secret, f"{tenant} {token}".encode(), sha256).hex()


def accepted(
    presented: str, kept: Iterable[VerificationToken], *, tenant: Tenant, secret: bytes, now: datetime
) -> VerificationToken | None:
    """The one of the kept tokens that was presented and is still good. Takes as long whatever it finds."""
    asked = keyed_digest(presented, tenant, secret) if SHAPE.fullmatch(presented) else ""
    found = None
    for one in kept:
        same = hmac.compare_digest(one.digest, asked)
        if same and (one.expires_at is None or now < one.expires_at):
            found = one
    return found


def pusher(token: VerificationToken, tenant: Tenant, now: datetime) -> Principal:
    """Principal of a verification token: anybody who may push to this tenant."""
    return Principal(
        client=CLIENT,
        tenants=frozenset({tenant}),
        scopes=PUSHES,
        expires_at=token.expires_at or now,
        token_id=f"verification {token.digest[:12]}",
    )


async def challenge_in(request: web.Request) -> Challenge | None:
    """The challenge that a POST to a destination is, before anything else is asked of it; else None."""
    length = request.content_length
    if length is None or length > BODY_BYTES_MAX or hdrs.CONTENT_ENCODING in request.headers:
        return None
    body = await body_of(request, seconds=ARRIVAL_SECONDS)
    if b'"challenge"' not in body:
        return None
    try:
        sent = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(sent, dict) or "resourceType" in sent:
        return None
    token, challenge = sent.get("verification-token"), sent.get("challenge")
    return Challenge(token, challenge) if isinstance(token, str) and isinstance(challenge, str) else None


def answer(challenge: str) -> web.Response:
    """The challenge and nothing else: upstream's older text asks for only that, the newer for it anywhere."""
    return web.Response(text=challenge, content_type="text/plain", headers=ANSWER_HEADERS)
