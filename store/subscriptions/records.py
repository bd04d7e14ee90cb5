"""Subscriptions as they are kept, and the port of their store. `store.mongo.subscriptions` implements it.

A record is who is told (channel), about what (topic, filters), on whose authority (holder), and how far it
got (progress). Secrets of the receiver are sealed; signing secrets are derived and stored nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from store.changes.changes import Position
from store.tenancy import Tenant

if TYPE_CHECKING:
    from collections.abc import Mapping


SEARCHED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "_id": "token",
        "criteria": "string",
        "payload": "token",
        "status": "token",
        "topic": "string",
        "type": "token",
        "url": "uri",
    }
)
"""Parameters by which subscriptions are found, with their types in R4's words."""


class Status(StrEnum):
    """Status of a Subscription. http://hl7.org/fhir/subscription-status"""

    REQUESTED = "requested"
    """The receiver has not answered the handshake yet."""
    ACTIVE = "active"
    ERROR = "error"
    """Delivery was given up; changes are still counted, until the queue is full."""
    OFF = "off"
    """Nothing is counted or sent any more."""


class Content(StrEnum):
    """Content of a notification: nothing, references, or whole resources."""

    EMPTY = "empty"
    ID_ONLY = "id-only"
    FULL_RESOURCE = "full-resource"


class Form(StrEnum):
    """Form of a notification."""

    TOPIC = "topic"
    """Bundle of the Subscriptions R5 Backport guide."""
    LIGHT = "light"
    """Upstream's message: the patient's identifiers, the time, references."""
    DETAILED = "detailed"
    """Upstream's message with the resources."""


@dataclass(frozen=True, slots=True)
class Channel:
    """Receiver of the notifications, and the manner of telling it."""

    endpoint: str
    content: Content
    form: Form = Form.TOPIC
    max_count: int | None = None
    """Most events in one notification; None: as many as the settings allow."""
    timeout_seconds: float | None = None
    """Deadline of one attempt; None: as the settings say."""
    heartbeat_seconds: int | None = None
    """Longest silence; None: nothing is sent without an event."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Credential that a subscriber showed: it hears of what this credential may read, while it may."""

    client: str
    token_id: str
    scopes: tuple[str, ...]
    since: datetime
    """Moment at which the credential was shown."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Events of a subscription so far."""

    last: int = 0
    """Number of the newest event."""
    delivered: int = 0
    """Number of the last event that the receiver acknowledged."""
    failures: int = 0
    """Attempts that failed since the last one that did not."""
    failing_since: datetime | None = None
    next_at: datetime | None = None
    """Moment of the next attempt; None: at once."""
    failure: str = ""
    """Outcome of the last attempt, when it failed."""
    tried: int = 0
    """Number of the last event that the last attempt told of, when it failed."""
    heard_at: datetime | None = None
    """Last moment at which the receiver acknowledged anything."""
    joined: bool = False
    """Whether its changes are counted together with those of the tenant's other subscriptions. Before, what
    came since its beginning is counted for it alone."""

    @property
    def waiting(self) -> int:
        """Number of events that are not delivered yet."""
        return self.last - self.delivered


class EarlierSecret(NamedTuple):
    """A signing secret whose place another took, and that signs beside it for a while."""

    generation: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription of a tenant."""

    tenant: Tenant
    id: str
    version: int
    created: datetime
    updated: datetime
    status: Status
    topic: str
    """Canonical URL of the topic."""
    filters: tuple[str, ...]
    """Queries on the topic's type, all of which hold."""
    channel: Channel
    start: Position
    """Place in the feed behind which its events begin."""
    base: str
    """The tenant's base URL as the subscriber knows it."""
    resource: bytes
    """JSON of the Subscription without its secrets; empty where the operator set it up."""
    holder: Holder | None = None
    """None: the operator, who reaches everything."""
    sealed: bytes = b""
    """Secrets of the receiver, sealed."""
    generation: int = 1
    """Number of the signing secret, which counts up from wherever it began."""
    earlier: tuple[EarlierSecret, ...] = ()
    """Signing secrets before that may still be good, the newest first."""
    ends: datetime | None = None
    reason: str = ""
    """Reason for an error, or for being off."""
    paused: bool = False
    """Whether an operator holds back its notifications."""
    progress: Progress = Progress()

    @property
    def name(self) -> str:
        """Key of the document: tenant and id."""
        return f"{self.tenant}/{self.id}"

    @property
    def problem(self) -> str:
        """Reason why it ended, or why its last notification did not arrive; empty when all is well."""
        failure = self.progress.failure
        return self.reason or (f"the last attempt failed: {failure}" if failure else "")

    @property
    def counts(self) -> bool:
        """Whether events are still counted for it."""
        return self.status is not Status.OFF

    @property
    def sends(self) -> bool:
        """Whether notifications are sent for it."""
        return self.status in (Status.REQUESTED, Status.ACTIVE) and not self.paused


NONE: Final[Mapping[str, Subscription]] = MappingProxyType({})


class SubscriptionStore(Protocol):
    """Subscriptions of all tenants; few, and read as a whole by whoever delivers."""

    async def create(self, subscription: Subscription) -> bool:
        """Keep a new subscription; False: there is one of this id.

        Raises ServiceError `gone` when it names somebody who was erased.
        """

    async def replace(self, subscription: Subscription, *, instead_of: int, anew: bool = False) -> bool:
        """Put it in the place of a version, its progress left as it is; False: somebody was faster.

        `anew`: it was off, and its events begin behind another place. Raises ServiceError as `create` does.
        """

    async def get(self, tenant: Tenant, id: str) -> Subscription | None:
        """The subscription of this id, whatever its status; None: there is none."""

    async def fresh(self, known: Subscription) -> Subscription | None:
        """A subscription that was read before, as it is now; None: it is gone."""

    async def of_tenant(
        self, tenant: Tenant, known: Mapping[str, Subscription] = NONE
    ) -> tuple[Subscription, ...]:
        """All of a tenant, by id; of those that are known, while they are the same version, what changes
        within one is read alone.
        """

    async def every(self, known: Mapping[str, Subscription] = NONE) -> tuple[Subscription, ...]:
        """All of all tenants, by name, as `of_tenant` has them."""

    async def are_there(self) -> bool:
        """Whether there is any, of any tenant, whatever its status."""

    async def delete(self, tenant: Tenant, id: str) -> bool:
        """Forget a subscription with its events; False: there is none."""

    async def settle(self, subscription: Subscription, status: Status, *, reason: str = "") -> bool:
        """Change the status of this version; False: it was changed by somebody else."""

    async def pause(self, tenant: Tenant, id: str, *, paused: bool) -> bool:
        """Hold back its notifications, or let them go, at once; False: there is none."""

    async def failed(
        self, subscription: Subscription, failure: str, *, at: datetime, next_at: datetime, tried: int = 0
    ) -> None:
        """Count an attempt that failed, with its outcome and the last event that it told of, and note when
        the next one is due.
        """

    async def acknowledged(self, subscription: Subscription, number: int, *, at: datetime) -> None:
        """Note that the receiver has all events up to this number."""

    async def rewind(self, tenant: Tenant, id: str, number: int) -> bool:
        """Deliver again all events after this number; False: there is no such subscription."""
