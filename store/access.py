"""The port for tenants and tokens: who may come in, and to what. `store.mongo.access` implements it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from store.tenancy import Tenant, TenantSettings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Grant:
    """Right of a bearer token. The token itself is never stored, only its SHA-256 digest."""

    digest: str
    """SHA-256 of the token, hex: the key."""
    client: str
    """A name for people and logs; not a secret."""
    tenants: tuple[Tenant, ...]
    scopes: tuple[str, ...]
    """SMART scopes as issued, such as `system/DiagnosticReport.rs`."""
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class VerificationToken:
    """A token that upstream shows when it verifies or pushes. Only its keyed digest is stored."""

    digest: str
    """HMAC-SHA-256, hex, under a secret of the deployment."""
    since: datetime
    expires_at: datetime | None = None
    """End of a token whose place another took; None: it is the current one."""


class AccessStore(Protocol):
    """Tenants and grants; small, rarely written, read at each request through a short cache."""

    async def put_tenant(self, settings: TenantSettings) -> bool:
        """Create or change a tenant; True when it is new, or was closed and is empty.

        Raises ServiceError `conflict` while one that was closed is not empty.
        """

    async def tenant(self, tenant: Tenant) -> TenantSettings | None:
        """Settings of a tenant, or None when it was never created, or was closed."""

    async def tenants(self) -> tuple[TenantSettings, ...]:
        """All that are open, by name."""

    async def origins(self) -> Mapping[Tenant, frozenset[str]]:
        """Origins of pages by tenant, of those that are open and say some themselves."""

    async def put_grant(self, grant: Grant) -> None:
        """Keep a new grant."""

    async def grant(self, digest: str) -> Grant | None:
        """The grant of a token's digest, expired or not; None when unknown or revoked."""

    async def grants(self) -> tuple[Grant, ...]:
        """All of them, newest first."""

    async def revoke(self, digest_prefix: str) -> int:
        """Forget the grants whose digest starts so; how many went."""

    async def verification(self, tenant: Tenant) -> tuple[VerificationToken, ...]:
        """The tenant's verification tokens, the newest first; ended ones may be among them."""

    async def put_verification(
        self,
        tenant: Tenant,
        tokens: tuple[VerificationToken, ...],
        *,
        instead_of: tuple[VerificationToken, ...],
    ) -> bool:
        """Put these in the place of those; False when somebody changed them meanwhile."""

    async def secret(self, name: str) -> bytes:
        """32 random bytes shared by all replicas, made at the first call."""
