"""An AccessStore in a dictionary, for handler tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from store.clients import Client, ClientStore
from store.retention.policy import KEEPS_ALL, TenantRetention

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from store.access import Grant, VerificationToken
    from store.retention.policy import Policy
    from store.tenancy import Tenant, TenantSettings


class MemoryAccess:
    """Keeps what the port says; counts how often it is asked."""

    def __init__(self) -> None:
        self.settings: dict[Tenant, TenantSettings] = {}
        self.kept: dict[str, Grant] = {}
        self.verifications: dict[Tenant, tuple[VerificationToken, ...]] = {}
        self.questions = 0

    async def put_tenant(self, settings: TenantSettings) -> bool:
        is_new = settings.tenant not in self.settings
        self.settings[settings.tenant] = settings
        return is_new

    async def tenant(self, tenant: Tenant) -> TenantSettings | None:
        self.questions += 1
        return self.settings.get(tenant)

    async def tenants(self) -> tuple[TenantSettings, ...]:
        return tuple(self.settings[tenant] for tenant in sorted(self.settings, key=str))

    async def origins(self) -> Mapping[Tenant, frozenset[str]]:
        self.questions += 1
        return {name: one.cors_origins for name, one in self.settings.items() if one.cors_origins}

    async def put_grant(self, grant: Grant) -> None:
        self.kept[grant.digest] = grant

    async def grant(self, digest: str) -> Grant | None:
        self.questions += 1
        return self.kept.get(digest)

    async def grants(self) -> tuple[Grant, ...]:
        return tuple(sorted(self.kept.values(), key=lambda grant: grant.issued_at, reverse=True))

    async def revoke(self, digest_prefix: str) -> int:
        gone = [digest for digest in self.kept if digest.startswith(digest_prefix)]
        for digest in gone:
            del self.kept[digest]
        return len(gone)

    async def verification(self, tenant: Tenant) -> tuple[VerificationToken, ...]:
        return self.verifications.get(tenant, ())

    async def put_verification(
        self,
        tenant: Tenant,
        tokens: tuple[VerificationToken, ...],
        *,
        instead_of: tuple[VerificationToken, ...],
    ) -> bool:
        if self.verifications.get(tenant, ()) != instead_of:
            return False
        self.verifications[tenant] = tokens
        return True

    async def secret(self, name: str) -> bytes:
        return name.encode().ljust(32, b"0")


class MemoryClients(ClientStore):
    """Keeps the clients that the port says."""

    def __init__(self) -> None:
        self.kept: dict[str, Client] = {}
        self.used: set[str] = set()
        self.questions = 0

    @override
    async def client(self, client_id: str) -> Client | None:
        self.questions += 1
        return self.kept.get(client_id)

    @override
    async def clients(self) -> tuple[Client, ...]:
        return tuple(self.kept[name] for name in sorted(self.kept))

    @override
    async def put(self, client: Client) -> bool:
        before = self.kept.get(client.id)
        if client.revision != (before.revision if before else 0):
            return False
        self.kept[client.id] = replace(client, revision=client.revision + 1)
        return True

    @override
    async def use_once(self, name: str, *, until: datetime) -> bool:
        if name in self.used:
            return False
        self.used.add(name)
        return True


class MemoryPolicies:
    """Keeps the policies that the port says."""

    def __init__(self) -> None:
        self.kept: dict[Tenant, list[Policy]] = {}

    async def retention(self, tenant: Tenant) -> TenantRetention:
        made = self.kept.get(tenant)
        return TenantRetention(made[-1]) if made else KEEPS_ALL

    async def remembered(self, tenant: Tenant) -> TenantRetention:
        return await self.retention(tenant)

    async def put(self, tenant: Tenant, policy: Policy, *, instead_of: int) -> Policy:
        made = policy._replace(version=instead_of + 1)
        self.kept.setdefault(tenant, []).append(made)
        return made

    async def versions(self, tenant: Tenant) -> tuple[Policy, ...]:
        return tuple(reversed(self.kept.get(tenant, [])))
