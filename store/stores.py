"""All ports on one open database: what `api.lifecycle` holds while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from store.access import AccessStore
    from store.audit.records import AuditTrail, PatientNames
    from store.changes.changes import ChangeFollower, Changes
    from store.clients import ClientStore
    from store.dead_letters import DeadLetters
    from store.files import AttachmentStore
    from store.resources.resources import ResourceStore
    from store.retention.erasure import Erasing, Offboarding
    from store.retention.holds import HoldStore
    from store.retention.policy import PolicyStore
    from store.retention.sweeping import JobLeases, Sweeping
    from store.subscriptions.events import Outbox
    from store.subscriptions.matching import IndexSides
    from store.subscriptions.records import SubscriptionStore
    from store.verifying import Verifying


async def nothing_wrong() -> None:
    """Answer of a store that is always fit."""


@dataclass(frozen=True, slots=True)
class Privacy:
    """Ports of whoever answers for privacy."""

    holds: HoldStore
    audit: AuditTrail
    names: PatientNames
    erasing: Erasing
    offboarding: Offboarding


@dataclass(frozen=True, slots=True)
class Subscribing:
    """Ports of whoever keeps and delivers subscriptions."""

    subscriptions: SubscriptionStore
    outbox: Outbox
    sides: IndexSides


@dataclass(frozen=True, slots=True)
class Stores:
    """Ports, and a sign of life of the database behind them."""

    resources: ResourceStore
    access: AccessStore
    attachments: AttachmentStore
    ping: Callable[[], Awaitable[None]]
    dead_letters: DeadLetters
    policies: PolicyStore
    privacy: Privacy
    sweeping: Sweeping
    leases: JobLeases
    clients: ClientStore
    verifying: Verifying
    changes: Changes
    follower: ChangeFollower
    subscribing: Subscribing
    check: Callable[[], None] = lambda: None
    """Raises ServiceError `unavailable` while a write would be refused at once."""
    check_read: Callable[[], None] = lambda: None
    """Raises ServiceError `unavailable` while a read would be refused at once."""
    fit: Callable[[], Awaitable[None]] = nothing_wrong
    """Asks anew whether database and clock may be relied on. Raises ServiceError."""
