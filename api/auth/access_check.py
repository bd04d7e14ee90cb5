"""Access tokens → principals: opened here, good as long as their client is.

No token is looked up anywhere. The client is, once a moment for all of its tokens: what was disabled or taken
from it is refused at every replica as soon as that moment is over.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from api.auth.access_tokens import opened
from api.auth.principal import principal_of_client
from api.auth.scopes import granted
from api.ttl_cache import TtlCache
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable

    from joserfc.jwk import OctKey

    from api.auth.access_tokens import AccessToken
    from api.auth.external import ExternalIssuer
    from api.auth.principal import Principal
    from store.clients import Client, ClientStore

OPENED_MAX: Final = 10_000
"""Tokens that are remembered as opened: opening one costs more than all else that is asked of it."""
EXTERNAL_SECONDS: Final = 60.0
"""Time for which a token of another issuer is remembered as opened: its key may be withdrawn meanwhile."""
_UNKNOWN: Final = "The access token is none of this service, or was altered; `POST /v2/auth/token` gives one."
_EXPIRED: Final = "The access token has expired; `POST /v2/auth/token` gives a new one."
_STOPPED: Final = (
    "The client of this access token was disabled, or its credentials were revoked: `dod client show` tells."
)


class _Opened(NamedTuple):
    """A token that was opened, and whom it stood for when it was last shown."""

    token: AccessToken
    external: bool
    until: float
    """Moment from which on it is opened anew; seconds since 1970."""
    client: Client
    principal: Principal


class AccessCheck:
    """Check of an access token, and of who it stands for."""

    def __init__(
        self,
        clients: ClientStore,
        *,
        key: OctKey,
        clock: Callable[[], datetime],
        seconds: float,
        external: ExternalIssuer | None = None,
    ) -> None:
        self._clients: TtlCache[str, Client] = TtlCache(clients.client, seconds=seconds)
        self._clock = clock
        self._external = external
        self._key = key
        self._opened: dict[str, _Opened] = {}

    async def principal(self, text: str) -> Principal:
        """Principal of a bearer token. Raises ServiceError `unauthenticated`."""
        known, now = self._opened.get(text), self._clock().timestamp()
        if known is not None and known.until <= now:
            known = None
        token, external = (known.token, known.external) if known else await self._open(text)
        if token.ends <= now:
            self._opened.pop(text, None)
            raise _refusal(_EXPIRED, code="expired")
        client = await self._clients.get(token.client_id)
        if client is None or client.external is not external:
            raise _refusal(_UNKNOWN)
        if client.disabled_at is not None or token.issued_at <= client.tokens_since.timestamp():
            raise _refusal(_STOPPED)
        if known is not None and known.client == client:
            return known.principal
        principal = _principal(client, token)
        until = token.ends if not external else now + EXTERNAL_SECONDS if known is None else known.until
        self._remember(text, _Opened(token, external, until, client, principal))
        return principal

    def opens(self, text: str) -> bool:
        """Whether a bearer token is one of this service's own, good or not."""
        return text in self._opened or opened(text, self._key) is not None

    async def _open(self, text: str) -> tuple[AccessToken, bool]:
        token = opened(text, self._key)
        if token is not None:
            return token, False
        token = None if self._external is None else await self._external.opened(text)
        if token is None:
            raise _refusal(_UNKNOWN)
        return token, True

    def _remember(self, text: str, one: _Opened) -> None:
        self._opened.pop(text, None)
        while len(self._opened) >= OPENED_MAX:
            del self._opened[next(iter(self._opened))]
        self._opened[text] = one


def _principal(client: Client, token: AccessToken) -> Principal:
    """Principal with what the token allows of what its client is allowed now."""
    scopes: list[str] = []
    for one in token.scopes:
        try:
            scopes += granted((one,), client.scopes)
        except ValueError:
            continue  # Another issuer's scope that means nothing here.
    return principal_of_client(client, token, scopes, datetime.fromtimestamp(token.ends, UTC))


def _refusal(text: str, *, code: str = "login") -> ServiceError:
    return ServiceError(Category.UNAUTHENTICATED, Issue(code, text))
