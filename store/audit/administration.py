"""Stores of tenants, tokens and clients whose every change is on record: the one way for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from store.access import AccessStore
from store.audit.records import AuditRecord, Deed
from store.clients import ClientStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from store.access import Grant, VerificationToken
    from store.audit.records import AuditTrail
    from store.clients import Client
    from store.tenancy import Tenant, TenantSettings

_NAMED: int = 12
"""Characters of a digest that name a token."""


class Recorder:
    """Puts deeds of one person on record."""

    def __init__(self, trail: AuditTrail, *, by: str, clock: Callable[[], datetime]) -> None:
        self._trail = trail
        self._by = by
        self._clock = clock

    async def note(self, tenants: Iterable[Tenant], deed: Deed, *, of: str = "", reason: str = "") -> None:
        """Keep a record of the deed for each of the tenants."""
        now = self._clock()
        records = [
            AuditRecord(tenant, now, self._by, deed.value, reason=reason, of=of)
            for tenant in dict.fromkeys(tenants)
        ]
        await self._trail.note(*records)


class AuditedAccess(AccessStore):
    """Tenants and tokens of another store; changes are on record."""

    def __init__(self, inner: AccessStore, recorder: Recorder) -> None:
        self._inner = inner
        self._recorder = recorder

    @override
    async def put_tenant(self, settings: TenantSettings) -> bool:
        is_new = await self._inner.put_tenant(settings)
        deed = Deed.TENANT_CREATED if is_new else Deed.TENANT_CHANGED
        await self._recorder.note([settings.tenant], deed)
        return is_new

    @override
    async def tenant(self, tenant: Tenant) -> TenantSettings | None:
        return await self._inner.tenant(tenant)

    @override
    async def tenants(self) -> tuple[TenantSettings, ...]:
        return await self._inner.tenants()

    @override
    async def origins(self) -> Mapping[Tenant, frozenset[str]]:
        return await self._inner.origins()

    @override
    async def put_grant(self, grant: Grant) -> None:
        await self._inner.put_grant(grant)
        await self._recorder.note(grant.tenants, Deed.TOKEN_ISSUED, of=grant.digest[:_NAMED])

    @override
    async def grant(self, digest: str) -> Grant | None:
        return await self._inner.grant(digest)

    @override
    async def grants(self) -> tuple[Grant, ...]:
        return await self._inner.grants()

    @override
    async def revoke(self, digest_prefix: str) -> int:
        going = [one for one in await self._inner.grants() if one.digest.startswith(digest_prefix)]
        gone = await self._inner.revoke(digest_prefix)
        for grant in going:
            await self._recorder.note(grant.tenants, Deed.TOKEN_REVOKED, of=grant.digest[:_NAMED])
        return gone

    @override
    async def verification(self, tenant: Tenant) -> tuple[VerificationToken, ...]:
        return await self._inner.verification(tenant)

    @override
    async def put_verification(
        self,
        tenant: Tenant,
        tokens: tuple[VerificationToken, ...],
        *,
        instead_of: tuple[VerificationToken, ...],
    ) -> bool:
        done = await self._inner.put_verification(tenant, tokens, instead_of=instead_of)
        if done:
            deed = Deed.VERIFICATION_SET if tokens else Deed.VERIFICATION_REMOVED
            await self._recorder.note([tenant], deed)
        return done

    @override
    async def secret(self, name: str) -> bytes:
        return await self._inner.secret(name)


class AuditedClients(ClientStore):
    """Registered clients of another store; changes are on record."""

    def __init__(self, inner: ClientStore, recorder: Recorder) -> None:
        self._inner = inner
        self._recorder = recorder

    @override
    async def client(self, client_id: str) -> Client | None:
        return await self._inner.client(client_id)

    @override
    async def clients(self) -> tuple[Client, ...]:
        return await self._inner.clients()

    @override
    async def put(self, client: Client) -> bool:
        before = await self._inner.client(client.id)
        done = await self._inner.put(client)
        if done:
            deed = Deed.CLIENT_CREATED if not client.revision else Deed.CLIENT_CHANGED
            if client.disabled_at is not None:
                deed = Deed.CLIENT_DISABLED
            theirs = (*client.tenants, *(() if before is None else before.tenants))
            await self._recorder.note(theirs, deed, of=client.id)
        return done

    @override
    async def use_once(self, name: str, *, until: datetime) -> bool:
        return await self._inner.use_once(name, until=until)
