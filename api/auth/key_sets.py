"""Key sets that others publish: fetched with a deadline, and remembered as long as they allow."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import aiohttp
from yarl import URL

from api.auth.public_keys import signing_keys_of_jwks
from api.outgoing.addresses import refuse_url
from api.outgoing.client import beginning, guarded_client, is_blocked
from store.detached import detached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.http.forwarded import Networks

V = TypeVar("V")

LOG: Final = logging.getLogger("api.auth")
FETCH_SECONDS: Final = 5.0
"""Deadline of one fetch, all of it."""
BYTES_MAX: Final = 65_536
HEADERS: Final = {"Accept": "application/json"}
DEFAULT_SECONDS: Final = 300.0
"""Time for which a key set is remembered that says nothing of it."""
LONGEST_SECONDS: Final = 3_600.0
AGAIN_SECONDS: Final = 5.0
"""Pause between two fetches of one URL, whatever is asked for and said of keeping it: strangers, and unknown
`kid`s, must not make many."""
URLS_MAX: Final = 1_000
SETTING: Final = "DOD_JWKS_NETWORKS"
_MAX_AGE: Final = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?(\d{1,9})")
_UNKEPT: Final = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])")


class UnreadableError(Exception):
    """A key set that cannot be had; the text is for the operator's log."""


def refuse_jwks_url(url: str, allowed: Networks) -> None:
    """Raise ValueError for a URL that is never fetched, by what it says itself."""
    try:
        refuse_url(url, allowed, setting=SETTING)
    except ValueError as error:
        raise ValueError(f"a JWKS URL {error}") from None


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
        known = _Known(keys, began, began + max(kept, AGAIN_SECONDS))
        _remember(self._known, url, known)
        return known

    async def _read(self, url: str) -> tuple[bytes, float]:
        """The body, and for how long it may be remembered."""
        refuse_jwks_url(url, self._allowed)
        async with (
            guarded_client(self._allowed) as client,
            client.request("GET", url, headers=HEADERS, seconds=FETCH_SECONDS, inflate=True) as response,
        ):
            if response.status != 200:  # noqa: PLR2004 -- HTTP's OK
                raise UnreadableError(f"it answers with status {response.status}")
            body = await beginning(response.content, BYTES_MAX + 1)
            if len(body) > BYTES_MAX:
                raise UnreadableError(f"it has more than {BYTES_MAX} bytes")
            return body, kept_for(response.headers.get("Cache-Control", ""))


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
    if is_blocked(error):
        return "its host has no public address"
    return "it does not answer in time" if isinstance(error, TimeoutError) else type(error).__name__
