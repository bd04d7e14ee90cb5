"""The way out: requests to receivers, with a deadline, TLS verified, no redirect, not into the own network.

A URL is somebody else's word. The address is checked when the connection is made, whatever name or number led
to it: a name that is looked up again and leads elsewhere (DNS rebinding) is refused like any other.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from enum import StrEnum
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import quote, urlencode

import aiohttp
import orjson
from aiohttp import encode_basic_auth, hdrs
from yarl import URL

from api.auth.key_sets import may_be_reached

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from api.subscriptions.secrets import OAuthClient
    from ingest.http.forwarded import Networks

ANSWER_BYTES_MAX: Final = 65_536
"""Bytes of an answer that are read; what is behind them is of no interest."""
URL_MAX: Final = 2_000
CONNECT_SECONDS: Final = 5.0


class Outcome(StrEnum):
    """Outcome of an attempt to tell a receiver."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """Status 4xx."""
    FAILED = "failed"
    """Status 5xx, or any other that is no answer to a notification."""
    REDIRECTED = "redirected"
    """Status 3xx: redirects are not followed."""
    GONE = "gone"
    """Status 410: the receiver wants to hear nothing more."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """No connection, or one without a certificate that can be verified."""
    BLOCKED = "blocked"
    """The address is none that may be connected to."""


class Reply(NamedTuple):
    """End of an attempt."""

    outcome: Outcome
    status: int = 0
    body: bytes = b""
    retry_after: float | None = None
    """Seconds that the receiver asks to wait."""


class BlockedAddressError(OSError):
    """The address of a receiver may not be connected to."""


def refuse_url(text: str, allowed: Networks) -> None:
    """Raise ValueError for a URL to which nothing is ever sent, by what it says itself."""
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("is no URL") from None
    if len(text) > URL_MAX or url.scheme not in ("https", "http") or not url.host:
        raise ValueError(f"is `https://host/path`, of at most {URL_MAX} characters")
    if url.user or url.password or url.fragment:
        raise ValueError("has no user, password or fragment: secrets stand in `channel.header`")
    if url.scheme == "http" and not allowed:
        raise ValueError("begins with `https://`")
    try:
        ip_address(url.host)
    except ValueError:
        return
    if not may_be_reached(url.host, allowed):
        raise ValueError("names no private or loopback address (`DOD_SUBSCRIPTION_NETWORKS`)")


class Outgoing:
    """Sends requests; one for the life of the worker."""

    def __init__(self, https: aiohttp.ClientSession, http: aiohttp.ClientSession, allowed: Networks) -> None:
        self._sessions = {"https": https, "http": http}
        self._allowed = allowed

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Reply:
        """Post a body, and tell how it ended; raises nothing for what the other side does."""
        try:
            refuse_url(url, self._allowed)
        except ValueError:
            return Reply(Outcome.BLOCKED)
        session = self._sessions[URL(url).scheme]
        deadline = aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS))
        try:
            async with session.post(
                url, data=body, headers=dict(headers), timeout=deadline, allow_redirects=False
            ) as response:
                content = await _beginning(response.content)
                return _reply(response.status, content, response.headers.get(hdrs.RETRY_AFTER, ""))
        except TimeoutError:
            return Reply(Outcome.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(Outcome.BLOCKED if _is_blocked(error) else Outcome.UNREACHABLE)


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    found = bytearray()
    while len(found) < ANSWER_BYTES_MAX:
        piece = await content.read(ANSWER_BYTES_MAX - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)


def _reply(status: int, body: bytes, retry_after: str) -> Reply:
    wait = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None
    match status // 100:
        case 2:
            return Reply(Outcome.DELIVERED, status, body)
        case 3:
            return Reply(Outcome.REDIRECTED, status)
        case 4:
            gone = status == 410  # noqa: PLR2004 -- HTTP's Gone
            return Reply(Outcome.GONE if gone else Outcome.REFUSED, status, retry_after=wait)
        case _:
            return Reply(Outcome.FAILED, status, retry_after=wait)


def _is_blocked(error: BaseException | None) -> bool:
    """Whether an address was refused, somewhere among the reasons of an error."""
    seen = 0
    while error is not None and seen < 10:  # noqa: PLR2004 -- chains are short
        if isinstance(error, BlockedAddressError) or BLOCKED_TEXT in str(error):
            return True
        error, seen = getattr(error, "os_error", None) or error.__cause__ or error.__context__, seen + 1
    return False


BLOCKED_TEXT: Final = "address is not allowed"


def _sockets(
    allowed: Networks, *, only_allowed: bool
) -> Callable[[tuple[int, int, int, str, tuple[object, ...]]], socket.socket]:
    """Makes the sockets of connections, for addresses that may be reached. Raises BlockedAddressError."""

    def make(info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        host = str(address[0])
        if not _may_connect(host, allowed, only_allowed=only_allowed):
            raise BlockedAddressError(BLOCKED_TEXT)
        return socket.socket(family, kind, protocol)

    return make


def _may_connect(host: str, allowed: Networks, *, only_allowed: bool) -> bool:
    if not may_be_reached(host, allowed):
        return False
    # Without TLS to networks of the settings alone.
    return not only_allowed or any(ip_address(host.partition("%")[0]) in one for one in allowed)


@asynccontextmanager
async def outgoing(allowed: Networks) -> AsyncIterator[Outgoing]:
    """A way out, closed at the end."""
    async with (
        _session(allowed, only_allowed=False) as https,
        _session(allowed, only_allowed=True) as http,
    ):
        yield Outgoing(https, http, allowed)


def _session(allowed: Networks, *, only_allowed: bool) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # Each subscription has one request under way at most.
        limit_per_host=0,
        use_dns_cache=False,
        socket_factory=_sockets(allowed, only_allowed=only_allowed),
    )
    return aiohttp.ClientSession(
        connector=connector,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={hdrs.USER_AGENT: "data-on-demand"},
        auto_decompress=False,
    )


# --- access tokens of receivers: https://www.rfc-editor.org/rfc/rfc6749#section-4.4


FORM: Final = "application/x-www-form-urlencoded"
LIFE_DEFAULT: Final = 300.0
"""Seconds for which a token is good that says nothing of it."""
LIFE_MAX: Final = 3_600.0
EARLY: Final = 0.8
"""Part of its life for which a token is shown."""
KEPT_MAX: Final = 1_000


class AccessTokens:
    """Tokens by client, in memory alone."""

    def __init__(self, out: Outgoing, *, monotonic: Callable[[], float]) -> None:
        self._out = out
        self._monotonic = monotonic
        self._kept: dict[OAuthClient, tuple[str, float]] = {}

    async def token(self, client: OAuthClient, *, seconds: float) -> str | None:
        """A token that is good now; None: there is none to be had."""
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
        reply = await self._out.post(client.token_url, urlencode(form).encode(), headers, seconds=seconds)
        if reply.outcome is not Outcome.DELIVERED:
            return None
        return self._keep(client, reply.body, asked_at)

    def forget(self, client: OAuthClient) -> None:
        """Fetch another one the next time: the receiver did not take this one."""
        self._kept.pop(client, None)

    def _keep(self, client: OAuthClient, body: bytes, asked_at: float) -> str | None:
        try:
            told = orjson.loads(body)
            token, life = str(told["access_token"]), float(told.get("expires_in", LIFE_DEFAULT))
        except (ValueError, KeyError, TypeError):
            return None
        if not token.isprintable() or not token.isascii():
            return None
        while len(self._kept) >= KEPT_MAX:
            del self._kept[next(iter(self._kept))]
        self._kept[client] = (token, asked_at + min(life, LIFE_MAX) * EARLY)
        return token
