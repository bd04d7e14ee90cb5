"""Holds: what must stay whatever a policy says. `store.mongo.holds` finds what is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from store.tenancy import Tenant


class Holds(Protocol):
    """Asked by sweep and erasure before anything is deleted."""

    async def held(
        self, tenant: Tenant, documents: Sequence[Mapping[str, Any]], now: datetime
    ) -> frozenset[str]:
        """The `_id`s of those that are held directly; documents carry `_id`, `type`, `id`, `keys` or `of`."""

    async def whole_tenant(self, tenant: Tenant, now: datetime) -> bool:
        """Whether all that this tenant has is held."""


class NoHolds:
    """Nothing is held."""

    async def held(
        self,
        tenant: Tenant,  # noqa: ARG002 -- of the port
        documents: Sequence[Mapping[str, Any]],  # noqa: ARG002
        now: datetime,  # noqa: ARG002
    ) -> frozenset[str]:
        """See the port."""
        return frozenset()

    async def whole_tenant(self, tenant: Tenant, now: datetime) -> bool:  # noqa: ARG002 -- of the port
        """See the port."""
        return False
