"""Retention, tenants and clients over HTTP, for tokens with the scope `dod/admin`.

Plain JSON, and read-only: the command line changes them. An answer speaks of the tenants that the token is
for, and of no other; there are no secrets and no patient's values in it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import orjson

from api.auth.principal import Principal
from api.http.app_keys import ACCESS, CLIENTS, POLICIES, SETTINGS, STORES
from api.http.plain_json import count_of, plain_json
from ingest.http.app_keys import CLOCK, PRINCIPAL, READS, TENANT, asker_of
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.receipts import as_json

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from aiohttp import web

    from store.access import Grant
    from store.clients import Client, PublicKey
    from store.retention.policy import Policy, Rule
    from store.retention.receipts import Receipt
    from store.retention.sweep import Found
    from store.tenancy import Tenant, TenantSettings

DIGEST_SHOWN: Final = 12
"""Characters of a token's digest, as `dod token list` shows them."""


async def retention(request: web.Request) -> web.StreamResponse:
    """GET {base}/$retention?count=50: the tenant's policy, and its newest receipts, the newest first."""
    tenant = request[TENANT].tenant
    count = count_of(request)
    policy = (await request.app[POLICIES].retention(tenant)).policy
    receipts = await request.app[STORES].sweeping.receipts(tenant=str(tenant), newest=count)
    shown = [receipt_of(one, tenant) for one in reversed(receipts)]
    return plain_json({"tenant": str(tenant), "policy": policy_of(policy), "receipts": shown})


async def retention_plan(request: web.Request) -> web.StreamResponse:
    """GET {base}/$retention-plan: counts of what a run would delete now, and pass over."""
    tenant, seconds = request[TENANT].tenant, request.app[SETTINGS].retention_plan_seconds
    async with request.app[READS].turn(asker_of(request)):
        try:
            async with asyncio.timeout(seconds):
                made = await request.app[STORES].sweeping.plan([tenant])
        except TimeoutError:
            command = f"`dod retention plan --tenant {tenant}`"
            text = f"the plan takes longer than {seconds:g} s; {command} has no limit"
            raise ServiceError(Category.TIMEOUT, Issue("timeout", text)) from None
    return plain_json(
        {
            "tenant": str(tenant),
            "asOf": made.as_of.isoformat(timespec="milliseconds"),
            "deleted": _lines(made.deleted),
            "skipped": _lines(made.skipped),
        }
    )


async def tenants(request: web.Request) -> web.StreamResponse:
    """GET {base}/$tenants: the tenants that the token is for, with their settings."""
    own = _own(request)
    known = [one for one in await request.app[ACCESS].tenants() if one.tenant in own]
    policies = [(await request.app[POLICIES].retention(one.tenant)).policy for one in known]
    return plain_json(
        {"tenants": [tenant_of(one, policy) for one, policy in zip(known, policies, strict=True)]}
    )


async def clients(request: web.Request) -> web.StreamResponse:
    """GET {base}/$clients: registered clients and bearer tokens that may come in to the tenant of the URL."""
    tenant, own, now = request[TENANT].tenant, _own(request), request.app[CLOCK]()
    registered = [one for one in await request.app[CLIENTS].clients() if tenant in one.tenants]
    grants = [one for one in await request.app[ACCESS].grants() if tenant in one.tenants]
    return plain_json(
        {
            "tenant": str(tenant),
            "clients": [client_of(one, own) for one in registered],
            "tokens": [grant_of(one, own, now) for one in grants],
        }
    )


def _own(request: web.Request) -> Collection[Tenant]:
    """Tenants that the token is for."""
    principal = request[PRINCIPAL]
    return principal.tenants if isinstance(principal, Principal) else {request[TENANT].tenant}


# --- as JSON. Pure.


def policy_of(policy: Policy) -> dict[str, Any]:
    """The policy; days are null for what is kept without end."""
    return {
        "version": policy.version,
        "madeAt": policy.made_at if policy.version else None,
        "keepDays": policy.keep_days,
        "countedFrom": policy.counted_from.value,
        "supersededDays": policy.superseded_days,
        "deadLetterDays": policy.dead_letter_days,
        "auditDays": policy.audit_days,
        "erasureDays": policy.erasure_days,
        "rules": [_rule(one) for one in policy.rules],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "keepDays": rule.keep_days,
        "countedFrom": rule.counted_from.value,
        "type": rule.type,
        "category": rule.category,
        "status": rule.status,
    }


def receipt_of(receipt: Receipt, tenant: Tenant) -> dict[str, Any]:
    """The receipt with its lines on one tenant; `whole`: these are all, and its hash can be checked."""
    told, name = as_json(receipt), str(tenant)
    own = {part: [line for line in told[part] if line["tenant"] == name] for part in ("deleted", "skipped")}
    whole = receipt.tenant in ("", name) and all(len(own[part]) == len(told[part]) for part in own)
    return {**told, **own, "whole": whole}


def _lines(found: Counter[Found]) -> list[dict[str, Any]]:
    return [
        {"policy": row.policy, "type": row.type, "reason": row.reason, "month": month, "count": count}
        for (row, month), count in sorted(found.items())
    ]


def tenant_of(settings: TenantSettings, policy: Policy) -> dict[str, Any]:
    """Settings of a tenant, and how long it keeps what, as JSON."""
    return {
        "tenant": str(settings.tenant),
        "searchScope": settings.search_scope.value,
        "handling": settings.handling.value if settings.handling else None,
        "stableSources": sorted(settings.stable_sources),
        "corsOrigins": sorted(settings.cors_origins),
        "keepDays": policy.keep_days,
        "rules": len(policy.rules),
    }


def client_of(client: Client, own: Collection[Tenant]) -> dict[str, Any]:
    """A registered client; of its keys their names alone."""
    return {
        "id": client.id,
        "name": client.name,
        "state": "disabled" if client.disabled_at else "enabled",
        "tenants": _named(client.tenants, own),
        "scopes": client.scopes,
        "createdAt": client.created_at,
        "proof": "external issuer"
        if client.external
        else "published keys"
        if client.jwks_url
        else "registered keys",
        "keysUrl": client.jwks_url,
        "keys": [_key(one) for one in client.keys],
    }


def _key(key: PublicKey) -> dict[str, Any]:
    kind = orjson.loads(key.jwk)["kty"]
    return {"kid": key.kid, "kind": kind, "addedAt": key.added_at, "endsAt": key.ends_at}


def grant_of(grant: Grant, own: Collection[Tenant], now: datetime) -> dict[str, Any]:
    """A bearer token by the beginning of its digest, which `dod token revoke` takes."""
    return {
        "digest": grant.digest[:DIGEST_SHOWN],
        "client": grant.client,
        "tenants": _named(grant.tenants, own),
        "scopes": grant.scopes,
        "issuedAt": grant.issued_at,
        "expiresAt": grant.expires_at,
        "expired": grant.expires_at <= now,
    }


def _named(found: Iterable[Tenant], own: Collection[Tenant]) -> list[str]:
    return sorted(str(one) for one in found if one in own)
