"""Requests to receivers of notifications, each with the outcome that decides what comes next."""

from __future__ import annotations

from contextlib import asynccontextmanager
from enum import StrEnum
from time import monotonic, time
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from aiohttp import hdrs

from api.http.headers import read_date
from api.outgoing.addresses import refuse_url
from api.outgoing.client import beginning, guarded_client, is_blocked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

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
    NO_TOKEN = "no_token"  # noqa: S105 -- the name of an outcome
    """The receiver's token endpoint gave no access token to show."""

    @property
    def is_the_endpoints(self) -> bool:
        """Whether all who send to the endpoint would fail so, whatever they send and show."""
        return self in (Outcome.FAILED, Outcome.TIMEOUT, Outcome.UNREACHABLE)


class Reply(NamedTuple):
    """End of an attempt."""

    outcome: Outcome
    status: int = 0
    body: bytes = b""
    retry_after: float | None = None
    """Seconds that the receiver asks to wait."""
    detail: str = ""
    """Reason of an outcome without a status, for people."""

    @property
    def text(self) -> str:
        """The outcome for people, without anything that was sent or answered."""
        told = self.outcome.value.replace("_", " ")
        if self.status:
            return f"{told}, status {self.status}"
        return f"{told}: {self.detail}" if self.detail else told


BLOCKED: Final = Reply(Outcome.BLOCKED, detail=f"its address is not public, and in no network of `{SETTING}`")


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
            return BLOCKED
        ends = monotonic() + seconds
        while True:
            used_before = list[bool]()
            left = ends - monotonic()
            reply = await self._posted(url, body, headers, left, used_before)
            # The receiver closed a connection that it had kept, as this was on its way: it is there. So may
            # others of that time be closed, each of which is gone by then.
            # https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1
            if reply.outcome is not Outcome.UNREACHABLE or not used_before or monotonic() >= ends:
                return reply

    async def _posted(
        self, url: str, body: bytes, headers: Mapping[str, str], seconds: float, used_before: list[bool]
    ) -> Reply:
        try:
            async with self._client.request(
                "POST", url, body=body, headers=headers, seconds=seconds, used_before=used_before
            ) as response:
                content = await _content(response)
                if response.status // 100 == 2:  # noqa: PLR2004 -- HTTP's Success
                    return Reply(Outcome.DELIVERED, response.status, content)
                return _failure(response.status, response.headers.get(hdrs.RETRY_AFTER, ""))
        except TimeoutError:
            return Reply(Outcome.TIMEOUT)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return BLOCKED if is_blocked(error) else Reply(Outcome.UNREACHABLE, detail=_reason(error))


@asynccontextmanager
async def receivers(allowed: Networks) -> AsyncIterator[Receivers]:
    """Receivers that may be reached; the connections are closed at the end."""
    async with guarded_client(allowed) as client:
        yield Receivers(client, allowed)


async def _content(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of the body; empty where it breaks off. The status is the answer."""
    try:
        return await beginning(response.content, ANSWER_BYTES_MAX)
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
        return b""


_REASONS: Final[Sequence[tuple[type[Exception], str]]] = (
    (aiohttp.ClientConnectorCertificateError, "its certificate cannot be verified"),
    (aiohttp.ClientSSLError, "no TLS connection"),
    (aiohttp.ClientConnectorDNSError, "its name is unknown"),
    (aiohttp.ClientConnectorError, "no connection"),
    (aiohttp.ServerDisconnectedError, "the connection ended without an answer"),
    (aiohttp.ClientResponseError, "its answer is not HTTP"),
)


def _reason(error: Exception) -> str:
    """Reason of an error in a word, without the address or anything that was sent."""
    return next((text for kind, text in _REASONS if isinstance(error, kind)), "the connection broke")


def seconds_of(retry_after: str, now: float) -> float | None:
    """Seconds that a `Retry-After` says, which is a number or a date; None for anything else."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    moment = read_date(retry_after)
    return None if moment is None else max(moment.timestamp() - now, 0.0)


def _failure(status: int, retry_after: str) -> Reply:
    wait = seconds_of(retry_after, time())
    match status // 100:
        case 3:
            return Reply(Outcome.REDIRECTED, status)
        case 4:
            gone = status == 410  # noqa: PLR2004 -- HTTP's Gone
            return Reply(Outcome.GONE if gone else Outcome.REFUSED, status, retry_after=wait)
        case _:
            return Reply(Outcome.FAILED, status, retry_after=wait)
