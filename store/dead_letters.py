"""The port for dead letters: pushes that were refused for their content, kept until somebody deals with them.

`store.mongo.letters.dead_letters` implements it. https://www.enterpriseintegrationpatterns.com/DeadLetterChannel.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.tenancy import Tenant


class State(StrEnum):
    """State of a letter. Only an open one still has its body."""

    OPEN = "open"
    REPLAYED = "replayed"
    """Pushed again and stored: the body is in the resources now."""
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Refused:
    """Push as it came, with the issues that it was refused for."""

    operation: str
    """Name of the route: `create`, `update`, `batch`, `process-message` …"""
    method: str
    path: str
    """Path under the tenant's base, with the query. It may hold an id: shown with the body only."""
    headers: Mapping[str, str]
    """Header fields that change what a push does: conditions, preferences, content type. Never a credential.
    """
    origin: str
    """Scheme and host that it was sent to: our own absolute references begin so."""
    client: str
    token_id: str
    """Start of the credential's digest, as `dod token list` shows it."""
    scopes: Mapping[str, frozenset[str]]
    """Scopes of the sender: a replay may do no more."""
    status: int
    issues: tuple[Issue, ...]
    body: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """Event in the life of a letter: what was done, and by whom."""

    at: datetime
    by: str
    did: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A kept refusal, without its body."""

    id: str
    at: datetime
    """Moment at which it first came."""
    last_at: datetime
    times: int
    """Number of times that the sender sent it: retries of one push are one letter."""
    operation: str
    method: str
    path: str
    headers: Mapping[str, str]
    origin: str
    client: str
    token_id: str
    scopes: Mapping[str, frozenset[str]]
    status: int
    issues: tuple[Issue, ...]
    size: int
    """Bytes of the body."""
    has_body: bool
    """False once it is dealt with, and for a body that was too large to keep."""
    attempts: int
    """Number of replays."""
    revision: int
    """Changes with the body: what was replayed must be what is there."""
    state: State
    events: tuple[Event, ...]
    """The last of them."""

    @property
    def reason(self) -> str:
        """Code of the first reason."""
        return self.issues[0].code if self.issues else "unknown"


@dataclass(frozen=True, slots=True)
class Letters:
    """Page of letters, newest first."""

    letters: tuple[Letter, ...]
    next: str | None
    """Position of the next page; None: there is none."""


class DeadLetters(Protocol):
    """Letters of all tenants, bounded by count, bytes and age for each. An expired one is never given out."""

    async def keep(self, tenant: Tenant, refused: Refused) -> str:
        """Keep it durably; gives its id. The same push again, while that letter is open, is that letter.

        Raises ServiceError `gone` when it names something that was erased on purpose: it is not kept.
        """

    async def get(self, tenant: Tenant, letter_id: str) -> Letter | None:
        """A letter, without its body; None: there is none of this id."""

    async def body(self, tenant: Tenant, letter_id: str) -> bytes | None:
        """Body of a letter, or None when there is none (any more)."""

    async def listed(
        self,
        tenant: Tenant,
        *,
        state: State | None = State.OPEN,
        reason: str | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Letters:
        """A page, newest first; `reason` is the code of any of a letter's issues.

        Raises ServiceError `incorrect` when `after` is not what a page gave out.
        """

    async def replace_body(self, tenant: Tenant, letter: Letter, body: bytes, event: Event) -> bool:
        """Put another body into an open letter; False when it changed meanwhile.

        Raises ServiceError `conflict` when the tenant is held.
        """

    async def close(self, tenant: Tenant, letter: Letter, state: State, event: Event) -> bool:
        """Mark as dealt with and forget the body; False when it changed meanwhile.

        Raises ServiceError `conflict` when it is to be discarded and the tenant is held.
        """

    async def refused_again(
        self, tenant: Tenant, letter: Letter, status: int, issues: tuple[Issue, ...], event: Event
    ) -> bool:
        """Count a replay that was refused, with the new reasons; False when it changed meanwhile."""

    async def seen(self, tenant: Tenant, letter: Letter, event: Event) -> None:
        """Note that the body was shown to somebody."""

    async def count_open(self, *, limit: int) -> int:
        """Number of open letters of all tenants; counted no further than to the limit."""

    async def drain(self) -> None:
        """Wait for what goes on behind the answers."""
