"""Holds: what must not be deleted, whatever a policy or an erasure says.

`store.mongo.retention.holds` keeps them. A hold marks no document: whoever is about to delete asks which of
a batch are held. So a hold covers what is stored when it is placed and what comes later, and nothing is
left behind when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from typing_extensions import override

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.references import RELATIVE
from store.fhir.resource_types import RESOURCE_TYPES
from store.near import unknown_type
from store.retention.subjects import reason_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.tenancy import Tenant

HOLDS_MAX: Final = 1_000
"""Holds of one tenant at once: each is asked for each batch."""


class HoldKind(StrEnum):
    """Kind of what a hold names."""

    TENANT = "tenant"
    PATIENT = "patient"
    """Patient by `system|value` or `Patient/id`, and all that is about them."""
    RESOURCE = "resource"
    """`Type/id`, with its past versions."""
    QUERY = "query"
    """`Type?name=value&…`: what matches, with its past versions."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold, as it was placed."""

    id: str
    tenant: Tenant
    kind: HoldKind
    subject: str
    """Subject that it names, shown to operators only: a patient may be known by it. Empty: the tenant."""
    reason: str
    placed_at: datetime
    by: str
    expires_at: datetime | None = None
    """None: until it is released."""
    released_at: datetime | None = None
    base: str | None = None
    """Queries: the tenant's own base URL, to know our own absolute references."""

    def is_active(self, now: datetime) -> bool:
        """Whether it holds at this moment."""
        return self.released_at is None and (self.expires_at is None or now < self.expires_at)


class Holds(Protocol):
    """Port that sweep and erasure ask before they delete."""

    async def held(
        self, tenant: Tenant, documents: Sequence[Mapping[str, Any]], now: datetime
    ) -> frozenset[str]:
        """The `_id`s of those that a hold names. Each has `_id`, `type` or `was`, `id`, `keys` or `of`."""

    async def whole_tenant(self, tenant: Tenant, now: datetime) -> bool:
        """Whether all of the tenant is held."""

    async def placed(self, session: Any = None) -> int:  # noqa: ANN401 -- the driver's
        """Number of holds placed so far, of all tenants.

        With the session of a transaction that deletes: none is placed from then on until that has ended.
        """


class NoHolds(Holds):
    """Nothing is held."""

    @override
    async def held(
        self,
        tenant: Tenant,
        documents: Sequence[Mapping[str, Any]],
        now: datetime,
    ) -> frozenset[str]:
        return frozenset()

    @override
    async def whole_tenant(self, tenant: Tenant, now: datetime) -> bool:
        return False

    @override
    async def placed(self, session: Any = None) -> int:
        return 0


class HoldStore(Holds, Protocol):
    """Port that the command line needs beside that."""

    async def add(self, hold: Hold) -> None:
        """Keep a new hold. Raises ServiceError `incorrect` when a query is not understood."""

    async def names_something(self, hold: Hold) -> bool:
        """Whether anything is stored that the hold covers; a tenant and a query may cover what comes."""

    async def listed(self, tenant: Tenant | None) -> tuple[Hold, ...]:
        """All holds, released and expired ones too, the newest first."""

    async def release(self, hold_id: str, *, now: datetime, by: str, reason: str) -> Hold:
        """End a hold. Raises ServiceError `not-found` or `conflict`."""


def checked(hold: Hold) -> Hold:
    """The hold, if what it names has the right form. Raises ServiceError `incorrect` with the rule."""
    known_by = [hold.subject] if hold.kind is HoldKind.PATIENT else []
    reason_for(hold.reason, subjects=known_by)
    rule = _RULES[hold.kind](hold.subject)
    if rule is not None:
        raise ServiceError(Category.INCORRECT, Issue("value", rule, (f"--{_OPTIONS[hold.kind]}",)))
    return hold


_OPTIONS: Final = {
    HoldKind.TENANT: "tenant",
    HoldKind.PATIENT: "patient",
    HoldKind.RESOURCE: "report",
    HoldKind.QUERY: "query",
}


def _of_tenant(subject: str) -> str | None:
    return "a hold on the tenant names nothing else" if subject else None


def _of_patient(subject: str) -> str | None:
    system, bar, value = subject.partition("|")
    if (bar and system and value) or (RELATIVE.fullmatch(subject) and subject.startswith("Patient/")):
        return None
    return "a patient is named by `system|value`, or by `Patient/id`"


def _of_resource(subject: str) -> str | None:
    if not RELATIVE.fullmatch(subject):
        return "a resource is named by `Type/id`"
    name = subject.partition("/")[0]
    return None if name in RESOURCE_TYPES else unknown_type(name, RESOURCE_TYPES).text


def _of_query(subject: str) -> str | None:
    resource_type, mark, query = subject.partition("?")
    if resource_type and mark and query.strip("&"):
        return None
    return "a query is `Type?name=value`; to hold everything, hold the tenant"


_RULES: Final = {
    HoldKind.TENANT: _of_tenant,
    HoldKind.PATIENT: _of_patient,
    HoldKind.RESOURCE: _of_resource,
    HoldKind.QUERY: _of_query,
}
