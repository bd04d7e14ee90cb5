"""Requests to receivers of notifications, each with the outcome that decides what comes next."""

from __future__ import annotations

from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from aiohttp import hdrs

from api.outgoing.addresses import refuse_url
from api.outgoing.client import beginning, guarded_client, is_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from api.outgoing.client import GuardedClient
    from ingest.http.forwarded import Networks

ANSWER_BYTES_MAX: Final = 65_536
"""Bytes of an answer that are read; what is behind them is of no interest."""
SETTING: Final = "DOD_SUBSCRIPTION_NETWORKS"


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


def refuse_receiver(url: str, allowed: Networks) -> None:
    """Raise ValueError for a URL to which nothing is ever sent, by what it says itself."""
    refuse_url(url, allowed, setting=SETTING)


class Receivers:
    """Sends to receivers; one for the life of the worker."""

    def __init__(self, client: GuardedClient, allowed: Networks) -> None:
        self._client = client
        self._allowed = allowed

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, seconds: float) -> Reply:
        """Post a body, and tell how it ended; raises nothing for what the other side does."""
        try:
            refuse_receiver(url, self._allowed)
        except ValueError:
            return Reply(Outcome.BLOCKED)
        try:
            async with self._client.request(
                "POST", url, body=body, headers=headers, seconds=seconds
            ) as response:
                content = await beginning(response.content, ANSWER_BYTES_MAX)
                return _reply(response.status, content, response.headers.get(hdrs.RETRY_AFTER, ""))
        except TimeoutError:
            return Reply(Outcome.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(Outcome.BLOCKED if is_blocked(error) else Outcome.UNREACHABLE)


@asynccontextmanager
async def receivers(allowed: Networks) -> AsyncIterator[Receivers]:
    """Receivers that may be reached; the connections are closed at the end."""
    async with guarded_client(allowed) as client:
        yield Receivers(client, allowed)


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
