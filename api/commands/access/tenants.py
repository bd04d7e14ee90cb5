"""Commands `dod tenant` and `dod token`, without the command line around them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from api.auth.tokens import new_grant, new_token
from api.server.tls import end_in, fingerprint_in
from store.errors import StartupError
from store.near import near
from store.tenancy import Handling, TenantSettings, parse_origins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from store.access import AccessStore, Grant
    from store.retention.policy import PolicyStore
    from store.tenancy import SearchScope, Tenant

PREFIX_LENGTH = 12
"""Characters of a digest that are shown, and enough to name a token among any real number of them."""


async def create_tenant(  # noqa: PLR0913 (all but the first keyword-only, one per option)
    access: AccessStore,
    tenant: Tenant,
    *,
    policies: PolicyStore,
    now: datetime,
    search_scope: SearchScope | None = None,
    handling: Handling | None = None,
    retain_days: int | None = None,
    stable_sources: Sequence[str] = (),
    cors_origins: Sequence[str] = (),
) -> str:
    """Create the tenant, or change what is given; says what was done. Safe to repeat."""
    before = await access.tenant(tenant)
    after = before or TenantSettings(tenant)
    if search_scope is not None:
        after = replace(after, search_scope=search_scope)
    if handling is not None:
        after = replace(after, handling=handling)
    if stable_sources:
        named = frozenset(stable_sources) - {""}
        after = replace(after, stable_sources=named)
    if cors_origins:
        after = replace(after, cors_origins=_origins(cors_origins))
    # Before the tenant is there: nothing is ever pushed to it that would stay without end.
    retained = retain_days is not None and await _retain(policies, tenant, retain_days, now)
    if after == before:
        return f"{tenant} changed" if retained else f"{tenant} is there already"
    await access.put_tenant(after)
    return f"{tenant} created" if before is None else f"{tenant} changed"


def _origins(texts: Sequence[str]) -> frozenset[str]:
    try:
        return parse_origins(one for one in texts if one)
    except ValueError as error:
        raise StartupError(f"{error}.") from None


async def _retain(policies: PolicyStore, tenant: Tenant, days: int, now: datetime) -> bool:
    """Keep what no rule is about for so many days; whether that changed anything."""
    before = (await policies.retention(tenant)).policy
    after = before._replace(keep_days=days, made_at=now)
    if before.says(after):
        return False
    await policies.put(tenant, after, instead_of=before.version)
    return True


async def existing_tenant(access: AccessStore, tenant: Tenant) -> TenantSettings:
    """The tenant's settings. Raises StartupError when it was never created."""
    settings = await access.tenant(tenant)
    if settings is None:
        hint = near(str(tenant), [str(one.tenant) for one in await access.tenants()])
        raise StartupError(f"There is no tenant {tenant}{hint}; `dod tenant create {tenant}` makes it.")
    return settings


async def tenants_of(access: AccessStore, tenant: Tenant | None) -> list[Tenant]:
    """The tenant that a command names, or all tenants. Raises StartupError when it was never created."""
    if tenant is not None:
        return [(await existing_tenant(access, tenant)).tenant]
    return [settings.tenant for settings in await access.tenants()]


async def issue_token(  # noqa: PLR0913 (all keyword-only, one per option)
    access: AccessStore,
    *,
    client: str,
    tenants: Sequence[Tenant],
    scopes: Sequence[str],
    now: datetime,
    days: int,
) -> str:
    """A new bearer token; only its digest is kept. Raises StartupError for tenants that do not exist."""
    token = new_token()
    grant = new_grant(token=token, client=client, tenants=tenants, scopes=scopes, now=now, days=days)
    for tenant in grant.tenants:
        await existing_tenant(access, tenant)
    await access.put_grant(grant)
    return token


async def certify(  # noqa: PLR0913 (all but two keyword-only, one per option)
    access: AccessStore,
    certificate: Path,
    *,
    client: str,
    tenants: Sequence[Tenant],
    scopes: Sequence[str],
    now: datetime,
    days: int,
) -> str:
    """Let a client certificate stand for a client; gives its fingerprint. Raises StartupError.

    It does so no longer than it is good: a handshake looks at that once, and a connection may stay open.
    """
    try:
        pem = await asyncio.to_thread(certificate.read_bytes)
        fingerprint, ends_at = fingerprint_in(pem), end_in(pem)
    except OSError as error:
        raise StartupError(f"The certificate {certificate} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise StartupError(f"{certificate} holds no certificate in PEM.") from None
    if ends_at <= now:
        raise StartupError(f"The certificate {certificate} has ended.")
    if await access.grant(fingerprint) is not None:
        raise StartupError(
            f"The certificate {certificate} stands for a client already: `dod token revoke"
            f" {fingerprint[:PREFIX_LENGTH]}` ends that."
        )
    grant = new_grant(token="", client=client, tenants=tenants, scopes=scopes, now=now, days=days)
    for tenant in grant.tenants:
        await existing_tenant(access, tenant)
    await access.put_grant(replace(grant, digest=fingerprint, expires_at=min(grant.expires_at, ends_at)))
    return fingerprint


async def revoke_token(access: AccessStore, prefix: str) -> Grant:
    """Forget the one grant whose digest starts so. Raises StartupError when that is none or several."""
    found = [grant for grant in await access.grants() if grant.digest.startswith(prefix)]
    if len(found) != 1:
        number = str(len(found)) if found else "No"
        raise StartupError(f"{number} tokens start with {prefix}; `dod token list` shows them all.")
    await access.revoke(found[0].digest)
    return found[0]


async def tenant_rows(access: AccessStore, policies: PolicyStore) -> list[tuple[str, ...]]:
    """The table of `dod tenant list`, with its head."""
    rows: list[tuple[str, ...]] = [("TENANT", "SEARCH SCOPE", "HANDLING", "RETAIN DAYS")]
    for settings in await access.tenants():
        policy = (await policies.retention(settings.tenant)).policy
        days = "without end" if policy.keep_days is None else str(policy.keep_days)
        days += f" and {len(policy.rules)} rules" if policy.rules else ""
        handling = "-" if settings.handling is None else settings.handling.value
        rows.append((str(settings.tenant), settings.search_scope.value, handling, days))
    return rows


def grant_rows(grants: Sequence[Grant], *, now: datetime) -> list[tuple[str, ...]]:
    """The table of `dod token list`, with its head; there is nothing secret in it."""
    rows: list[tuple[str, ...]] = [("DIGEST", "CLIENT", "TENANTS", "SCOPES", "EXPIRES")]
    for grant in grants:
        tenants = ", ".join(str(tenant) for tenant in grant.tenants)
        expired = " (expired)" if grant.expires_at <= now else ""
        expires = f"{grant.expires_at:%Y-%m-%d %H:%M}Z{expired}"
        rows.append((grant.digest[:PREFIX_LENGTH], grant.client, tenants, " ".join(grant.scopes), expires))
    return rows


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as aligned text, readable in a terminal and by `awk`."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
