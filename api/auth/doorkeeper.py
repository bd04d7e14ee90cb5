"""Knows tokens and tenants by heart for a moment: a short memory in front of the AccessStore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.auth.principal import principal_of
from api.auth.tokens import TOKEN, digest
from api.short_memory import ShortMemory
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from api.auth.principal import Principal
    from store.access import AccessStore
    from store.tenancy import Tenant, TenantSettings


class Doorkeeper:
    """Bearer token → principal, tenant → settings. Only what exists is remembered."""

    def __init__(self, access: AccessStore, *, clock: Callable[[], datetime], seconds: float) -> None:
        self._access = access
        self._clock = clock
        self._principals: ShortMemory[str, Principal] = ShortMemory(self._ask_principal, seconds=seconds)
        self._tenants: ShortMemory[Tenant, TenantSettings] = ShortMemory(access.tenant, seconds=seconds)

    async def principal(self, authorization: str | None) -> Principal:
        """Who an `Authorization` header stands for. Raises ServiceError `unauthenticated`."""
        if authorization is None:
            raise _refusal("A bearer token is needed: `Authorization: Bearer …`.")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not TOKEN.fullmatch(token):
            raise _refusal("The `Authorization` header holds no bearer token of this service.")
        principal = await self._principals.get(digest(token))
        if principal is None:
            raise _refusal("The bearer token is unknown or was revoked.")
        if principal.expires_at <= self._clock():
            raise _refusal("The bearer token has expired.", code="expired")
        return principal

    async def tenant(self, tenant: Tenant) -> TenantSettings | None:
        """The tenant's settings, or None when it was never created."""
        return await self._tenants.get(tenant)

    async def _ask_principal(self, key: str) -> Principal | None:
        grant = await self._access.grant(key)
        return None if grant is None else principal_of(grant)


def _refusal(text: str, *, code: str = "login") -> ServiceError:
    return ServiceError(Category.UNAUTHENTICATED, Issue(code, text))
