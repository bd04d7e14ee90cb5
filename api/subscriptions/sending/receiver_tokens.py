"""Access tokens that receivers want to see: fetched from their token endpoints, in memory alone.

https://www.rfc-editor.org/rfc/rfc6749#section-4.4
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import orjson
from aiohttp import encode_basic_auth

from api.subscriptions.receivers import Outcome, Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.subscriptions.receivers import Receivers
    from api.subscriptions.secrets import OAuthClient

FORM: Final = "application/x-www-form-urlencoded"
LIFE_DEFAULT: Final = 300.0
"""Seconds for which a token is good that says nothing of it."""
LIFE_MAX: Final = 3_600.0
EARLY: Final = 0.8
"""Part of its life for which a token is shown."""
KEPT_MAX: Final = 1_000
_SHOWN: Final = re.compile(r"[\x21-\x7e]+")
"""Token that can stand in a header."""
NO_TOKEN: Final = Reply(Outcome.NO_TOKEN, detail="its answer has no `access_token` that can be shown")


class ReceiverTokens:
    """Tokens by client, in memory alone."""

    def __init__(self, receivers: Receivers, *, monotonic: Callable[[], float]) -> None:
        self._receivers = receivers
        self._monotonic = monotonic
        self._kept: dict[OAuthClient, tuple[str, float]] = {}

    async def token(self, client: OAuthClient, *, seconds: float) -> str | Reply:
        """A token that is good now; or how the attempt to have one ended."""
        known = self._kept.get(client)
        if known is not None and self._monotonic() < known[1]:
            return known[0]
        form = {"grant_type": "client_credentials"} | ({"scope": client.scope} if client.scope else {})
        user, password = quote(client.client_id, safe=""), quote(client.client_secret, safe="")
        headers = {
            "content-type": FORM,
            "accept": "application/json",
            "authorization": encode_basic_auth(user, password),
        }
        asked_at = self._monotonic()
        reply = await self._receivers.post(
            client.token_url, urlencode(form).encode(), headers, seconds=seconds
        )
        if reply.outcome is not Outcome.DELIVERED:
            return Reply(Outcome.NO_TOKEN, retry_after=reply.retry_after, detail=reply.text)
        return self._keep(client, reply.body, asked_at) or NO_TOKEN

    def forget(self, client: OAuthClient) -> None:
        """Fetch another one the next time: the receiver did not take this one."""
        self._kept.pop(client, None)

    def _keep(self, client: OAuthClient, body: bytes, asked_at: float) -> str | None:
        try:
            told = orjson.loads(body)
            token, life = told["access_token"], told.get("expires_in")
            life = LIFE_DEFAULT if life is None else float(life)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        if not isinstance(token, str) or _SHOWN.fullmatch(token) is None or not isfinite(life):
            return None
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[client] = (token, asked_at + min(life, LIFE_MAX) * EARLY)
        return token
