"""The client for URLs of others: TLS verified, a deadline, no redirect, not into the own network.

The address is checked when the connection is made, whatever name or number led to it: a name that is looked
up again and leads elsewhere (DNS rebinding) is refused like any other.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs
from yarl import URL

from api.outgoing.addresses import may_be_reached_by
from api.outgoing.names import NAMES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from ingest.http.forwarded import Networks

CONNECT_SECONDS: Final = 5.0
BLOCKED: Final = "address is not allowed"
CAUSES_MAX: Final = 10
"""Longest chain of errors that is looked through."""


class BlockedAddressError(OSError):
    """An address that may not be connected to."""


class GuardedClient:
    """Sends requests; one for the life of whoever sends them."""

    def __init__(self, sessions: Mapping[str, aiohttp.ClientSession]) -> None:
        self._sessions = sessions

    def request(  # noqa: PLR0913 -- keyword-only
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        seconds: float,
        body: bytes | None = None,
        inflate: bool = False,
        used_before: list[bool] | None = None,
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """The answer, whose status may be a redirect: none is followed. See `is_blocked` for its errors.

        `used_before` gets an element where it went out on a connection that was kept from another request.
        """
        return self._sessions[URL(url).scheme].request(
            method,
            url,
            data=body,
            # Left to itself, aiohttp asks for compressed answers, whether it inflates them or not.
            headers=dict(headers) if inflate else {**headers, hdrs.ACCEPT_ENCODING: "identity"},
            timeout=aiohttp.ClientTimeout(total=seconds, sock_connect=min(seconds, CONNECT_SECONDS)),
            allow_redirects=False,
            auto_decompress=inflate,
            trace_request_ctx=used_before,
        )


@asynccontextmanager
async def guarded_client(allowed: Networks) -> AsyncIterator[GuardedClient]:
    """A client for public addresses by https, for allowed networks by http as well; closed at the end."""
    async with _session("https", allowed) as https, _session("http", allowed) as http:
        yield GuardedClient({"https": https, "http": http})


async def beginning(content: aiohttp.StreamReader, limit: int) -> bytes:
    """The first bytes of an answer, at most so many; the others are never read."""
    found = bytearray()
    while len(found) < limit:
        piece = await content.read(limit - len(found))
        if not piece:
            break
        found += piece
    return bytes(found)


def is_blocked(error: BaseException | None) -> bool:
    """Whether an address was refused, somewhere among the reasons of an error."""
    for _ in range(CAUSES_MAX):
        if error is None:
            break
        if isinstance(error, BlockedAddressError) or BLOCKED in str(error):
            return True
        error = getattr(error, "os_error", None) or error.__cause__ or error.__context__
    return False


def _session(scheme: str, allowed: Networks) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0,  # Who asks bounds the requests under way.
        limit_per_host=0,
        use_dns_cache=False,
        resolver=NAMES,
        socket_factory=_sockets(scheme, allowed),
    )
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_note_use)
    return aiohttp.ClientSession(
        connector=connector,
        trace_configs=[tracing],
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={hdrs.USER_AGENT: "data-on-demand"},
    )


async def _note_use(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.append(True)


def _sockets(
    scheme: str, allowed: Networks
) -> Callable[[tuple[int, int, int, str, tuple[object, ...]]], socket.socket]:
    """Makes the sockets of connections, for addresses that may be reached. Raises BlockedAddressError."""

    def make(info: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not may_be_reached_by(scheme, str(address[0]), allowed):
            raise BlockedAddressError(BLOCKED)
        return socket.socket(family, kind, protocol)

    return make
