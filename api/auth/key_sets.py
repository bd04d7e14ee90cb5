"""Key sets that others publish: fetched with a deadline, and remembered as long as they allow.

A URL is somebody else's word, so a fetch must not reach into the own network: addresses are looked up here,
private ones are refused, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from typing_extensions import override
from yarl import URL

from api.auth.public_keys import signing_keys_of_jwks
from store.detached import detached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.abc import ResolveResult

    from ingest.http.forwarded import Networks

V = TypeVar("V")

LOG: Final = logging.getLogger("api.auth")
FETCH_SECONDS: Final = 5.0
"""Deadline of one fetch, all of it."""
BYTES_MAX: Final = 65_536
DEFAULT_SECONDS: Final = 300.0
"""Time for which a key set is remembered that says nothing of it."""
LONGEST_SECONDS: Final = 3_600.0
AGAIN_SECONDS: Final = 5.0
"""Pause between two fetches of one URL, whatever is asked for: an unknown `kid` must not make many."""
URLS_MAX: Final = 1_000
_NAT64: Final = ip_network("64:ff9b::/96")
_UNICAST: Final = ip_network("2000::/3")
"""IPv6 addresses that are given out for the public internet; others lead inside, or to IPv4."""
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})")
_UNKEPT: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])")


class UnreadableError(Exception):
    """A key set that cannot be had; the text is for the operator's log."""


class _Checked(AbstractResolver):
    """A resolver that gives only addresses that may be connected to."""

    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed
        self._inner = DefaultResolver()

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kept = [one for one in found if may_be_reached(one["host"], self._allowed)]
        if not kept:
            raise UnreadableError("its host has no public address")
        return kept

    @override
    async def close(self) -> None:
        await self._inner.close()


def may_be_reached(address: str, allowed: Networks) -> bool:
    """Whether an IP address is public, or in a network that the settings allow."""
    try:
        known = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(known, IPv6Address):
        known = _within(known) or known
    if any(known in network for network in allowed):
        return True
    if isinstance(known, IPv6Address) and known not in _UNICAST:
        return False
    return known.is_global and not known.is_multicast


def _within(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def refuse_url(text: str, allowed: Networks) -> None:
    """Raise ValueError for a URL that is never fetched, by what it says itself."""
    url = URL(text)
    if url.scheme not in ("https", "http") or not url.host or url.user or url.password or url.fragment:
        raise ValueError("a JWKS URL is `https://host/path`, without user, password or fragment")
    if url.scheme == "http" and not allowed:
        raise ValueError("a JWKS URL begins with `https://`")
    if _is_address(url.host) and not may_be_reached(url.host, allowed):
        raise ValueError("a JWKS URL names no private or loopback address (`DOD_JWKS_NETWORKS`)")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def kept_for(cache_control: str) -> float:
    """Seconds that a key set may be remembered, by its `Cache-Control`."""
    said = cache_control.lower()
    if _UNKEPT.search(said):
        return 0.0
    match = _MAX_AGE.search(said)
    return DEFAULT_SECONDS if match is None else min(float(match[1]), LONGEST_SECONDS)


@dataclass(slots=True)
class _Known:
    """A fetched key set."""

    keys: Mapping[str, str]
    fetched: float
    until: float


class KeySets:
    """Published key sets by URL."""

    def __init__(
        self,
        *,
        allowed: Networks,
        monotonic: Callable[[], float] = time.monotonic,
        read: Callable[[bytes], Mapping[str, str]] = signing_keys_of_jwks,
    ) -> None:
        self._allowed = allowed
        self._parse = read
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, float] = {}
        self._fetching: dict[str, asyncio.Task[_Known]] = {}

    async def key(self, url: str, kid: str) -> str | None:
        """The JWK with this kid; None: there is none. Raises UnreadableError.

        A kid that is not among the remembered keys makes one fetch: keys may be rotated at any time.
        """
        known, now = self._known.get(url), self._monotonic()
        fresh = known is not None and now < known.until
        if known is not None and fresh and (kid in known.keys or now < known.fetched + AGAIN_SECONDS):
            return known.keys.get(kid)
        if now < self._failed.get(url, now):
            raise UnreadableError("it could not be read a moment ago")
        return (await self._fetched(url)).keys.get(kid)

    async def _fetched(self, url: str) -> _Known:
        """The key set of a URL, fetched once for all who ask at the same time."""
        task = self._fetching.get(url)
        if task is None:
            task = self._fetching[url] = detached(self._fetch(url))
            task.add_done_callback(lambda _: self._fetching.pop(url, None))
        return await asyncio.shield(task)

    async def _fetch(self, url: str) -> _Known:
        began = self._monotonic()
        try:
            body, kept = await self._read(url)
            keys = self._parse(body)
        except (UnreadableError, ValueError, aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = _reason(error)
            LOG.warning("a key set cannot be read", extra={"host": URL(url).host, "reason": reason})
            _remember(self._failed, url, began + AGAIN_SECONDS)
            raise UnreadableError(reason) from None
        self._failed.pop(url, None)
        known = _Known(keys, began, began + kept)
        _remember(self._known, url, known)
        return known

    async def _read(self, url: str) -> tuple[bytes, float]:
        """The body, and for how long it may be remembered."""
        refuse_url(url, self._allowed)
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        connector = aiohttp.TCPConnector(resolver=_Checked(self._allowed), limit=4, force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.get(url, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                raise UnreadableError(f"it answers with status {response.status}")
            body = bytearray()
            async for piece in response.content.iter_chunked(BYTES_MAX):
                body += piece
                if len(body) > BYTES_MAX:
                    raise UnreadableError(f"it has more than {BYTES_MAX} bytes")
            return bytes(body), kept_for(response.headers.get("Cache-Control", ""))


def _remember(memory: dict[str, V], url: str, value: V) -> None:
    """Keep a value as the newest; the oldest go when there are too many."""
    memory.pop(url, None)
    while len(memory) >= URLS_MAX:
        del memory[next(iter(memory))]
    memory[url] = value


def _reason(error: Exception) -> str:
    """Reason of an error, without the URL or anything that was sent."""
    if isinstance(error, UnreadableError | ValueError):
        return str(error)
    cause = error.__cause__
    if isinstance(cause, UnreadableError):
        return str(cause)
    return "it does not answer in time" if isinstance(error, TimeoutError) else type(error).__name__
