"""Knows tokens and tenants by heart for a moment: a short memory in front of the AccessStore."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from api.auth.access_tokens import looks_like_one
from api.auth.principal import principal_of
from api.auth.tokens import TOKEN, digest, is_bearer_of_ours
from api.auth.verification import SECRET, accepted, pusher
from api.ttl_cache import TtlCache
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from api.auth.access_check import AccessCheck
    from api.auth.principal import Principal
    from store.access import AccessStore, VerificationToken
    from store.tenancy import Tenant, TenantSettings

ORIGINS_SECONDS: Final = 1.0
"""Longest wait for the origins of all tenants: what needs no database waits for none that stands still."""
_NOTHING_GIVEN: Final = (
    "A bearer token is needed, `Authorization: Bearer …`: `POST /v2/auth/token` gives one to a registered"
    " client, `dod token issue` makes one."
)
_NOT_OURS: Final = (
    "The `Authorization` header holds no bearer token of this service: it is `Bearer`, a blank and the token"
    " as `POST /v2/auth/token` gave or `dod token issue` printed it, without quotes."
)

_CERTIFICATE_ENDED: Final = (
    "The grant of the client certificate has expired; `dod token issue --certificate` makes a new one."
)


class Doorkeeper:
    """Bearer token → principal, tenant → settings. Only what exists is remembered."""

    def __init__(
        self,
        access: AccessStore,
        *,
        clock: Callable[[], datetime],
        seconds: float,
        tokens: AccessCheck | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """`check` raises ServiceError while nothing can be asked."""
        self._tokens = tokens
        self._access = access
        self._clock = clock
        self._principals: TtlCache[str, Principal] = TtlCache(self._ask_principal, seconds=seconds)
        self._tenants: TtlCache[Tenant, TenantSettings] = TtlCache(access.tenant, seconds=seconds)
        self._verifications: TtlCache[Tenant, tuple[VerificationToken, ...]] = TtlCache(
            access.verification, seconds=seconds
        )
        self._verification_secret: bytes | None = None
        self._check = check
        self._origins: TtlCache[None, Mapping[Tenant, frozenset[str]]] = TtlCache(
            self._ask_origins, seconds=seconds
        )
        self._last_origins: Mapping[Tenant, frozenset[str]] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """Principal of an `Authorization` header. Raises ServiceError `unauthenticated`."""
        if not authorization:
            raise _refusal(_NOTHING_GIVEN)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "bearer" and self._tokens is not None and looks_like_one(token):
            return await self._tokens.principal(token)
        if scheme.lower() != "bearer" or not TOKEN.fullmatch(token):
            raise _refusal(_NOT_OURS)
        principal = await self._principals.get(digest(token))
        if principal is None:
            raise _refusal("The bearer token is unknown or was revoked; `dod token issue` makes a new one.")
        if principal.expires_at <= self._clock():
            raise _refusal("The bearer token has expired; `dod token issue` makes a new one.", code="expired")
        return principal

    async def certified(self, fingerprint: str) -> Principal:
        """The principal of a client certificate. Raises ServiceError `unauthenticated`."""
        principal = await self._principals.get(fingerprint)
        if principal is None:
            raise _refusal(
                "The client certificate stands for no client; `dod token issue --certificate` makes it one."
            )
        if principal.expires_at <= self._clock():
            raise _refusal(_CERTIFICATE_ENDED, code="expired")
        return principal

    def is_ours(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header holds a token of this service, known or not."""
        if is_bearer_of_ours(authorization):
            return True
        scheme, _, token = (authorization or "").partition(" ")
        bearer = scheme.lower() == "bearer" and looks_like_one(token)
        return bearer and self._tokens is not None and self._tokens.opens(token)

    async def tenant(self, tenant: Tenant) -> TenantSettings | None:
        """The tenant's settings, or None when it was never created."""
        return await self._tenants.get(tenant)

    async def origins(self, tenant: Tenant) -> frozenset[str]:
        """Origins of pages that a tenant allows itself; empty: it says nothing, or there is no such tenant.

        Strangers ask, for any name: those of all tenants are known together, and as they were when nobody can
        be asked.
        """
        with suppress(ServiceError, TimeoutError):
            async with asyncio.timeout(ORIGINS_SECONDS):
                self._last_origins = await self._origins.get(None) or {}
        return self._last_origins.get(tenant, frozenset())

    async def verifies(self, tenant: Tenant) -> bool:
        """Whether this tenant has verification tokens at all."""
        return bool(await self._verifications.get(tenant))

    async def verified(self, presented: str, tenant: Tenant) -> Principal | None:
        """Principal of a verification token at this tenant; None when it is not one of its tokens."""
        if self._verification_secret is None:
            self._verification_secret = await self._access.secret(SECRET)
        kept, now = await self._verifications.get(tenant) or (), self._clock()
        found = accepted(presented, kept, tenant=tenant, secret=self._verification_secret, now=now)
        return None if found is None else pusher(found, tenant, now)

    async def _ask_origins(self, _: None) -> Mapping[Tenant, frozenset[str]]:
        self._check()
        return await self._access.origins()

    async def _ask_principal(self, key: str) -> Principal | None:
        grant = await self._access.grant(key)
        return None if grant is None else principal_of(grant)


def _refusal(text: str, *, code: str = "login") -> ServiceError:
    return ServiceError(Category.UNAUTHENTICATED, Issue(code, text))
