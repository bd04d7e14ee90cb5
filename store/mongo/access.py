"""`AccessStore` on MongoDB: tenants, grants of tokens, and the secrets that replicas share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import DuplicateKeyError
from typing_extensions import override

from store.access import AccessStore, Grant, VerificationToken
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.driver.secrets import shared_secret
from store.mongo.indexes import SECRETS, TENANTS, TOKENS, VERIFICATIONS
from store.tenancy import Handling, SearchScope, Tenant, TenantSettings, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.settings import StoreSettings

_LEAVING: Final = {"closed_at": {"$ne": None}, "emptied_at": None}
_CLOSED: Final = Issue(
    "conflict", "this tenant was closed and is not empty yet: `dod purge tenant` goes on with it"
)


class MongoAccess(AccessStore):
    """The port's verbs on one database."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics
        self._tenants: Collection = durable(database, TENANTS)
        self._tokens: Collection = durable(database, TOKENS)
        self._secrets: Collection = durable(database, SECRETS)
        self._verifications: Collection = durable(database, VERIFICATIONS)

    @override
    async def put_tenant(self, settings: TenantSettings) -> bool:
        handling = None if settings.handling is None else settings.handling.value
        document: dict[str, Any] = {
            "search_scope": settings.search_scope.value,
            "handling": handling,
            "stable_sources": sorted(settings.stable_sources),
            "cors_origins": sorted(settings.cors_origins),
        }
        name = str(settings.tenant)
        with guarded(self._metrics, "put_tenant", seconds=self._seconds):
            if await self._tenants.find_one({**_LEAVING, "_id": name}, {"_id": 1}) is not None:
                raise ServiceError(Category.CONFLICT, _CLOSED)
            again = {"$set": document, "$unset": {"closed_at": "", "emptied_at": ""}}
            before: Mapping[str, Any] | None = await self._tenants.find_one_and_update(
                {"_id": name}, again, upsert=True
            )
        return before is None or before.get("closed_at") is not None

    @override
    async def tenant(self, tenant: Tenant) -> TenantSettings | None:
        with guarded(self._metrics, "tenant", seconds=self._seconds):
            document = await self._tenants.find_one({"_id": str(tenant), "closed_at": None})
        return None if document is None else _tenant(document)

    @override
    async def tenants(self) -> tuple[TenantSettings, ...]:
        with guarded(self._metrics, "tenants", seconds=self._seconds):
            documents = await self._tenants.find({"closed_at": None}, sort=[("_id", 1)]).to_list(None)
        return tuple(map(_tenant, documents))

    async def every_tenant(self) -> list[Tenant]:
        """Names of all tenants ever made, in order; tenants that have left are among them."""
        with guarded(self._metrics, "tenants", seconds=self._seconds):
            documents = await self._tenants.find({}, {"_id": 1}, sort=[("_id", 1)]).to_list(None)
        return [parse_tenant(one["_id"]) for one in documents]

    @override
    async def origins(self) -> Mapping[Tenant, frozenset[str]]:
        wanted, fields = {"closed_at": None, "cors_origins.0": {"$exists": True}}, {"cors_origins": 1}
        with guarded(self._metrics, "origins", seconds=self._seconds):
            documents = await self._tenants.find(wanted, fields).to_list(None)
        return {parse_tenant(one["_id"]): frozenset(one["cors_origins"]) for one in documents}

    @override
    async def put_grant(self, grant: Grant) -> None:
        document = {
            "_id": grant.digest,
            "client": grant.client,
            "tenants": [str(tenant) for tenant in grant.tenants],
            "scopes": list(grant.scopes),
            "issued_at": grant.issued_at,
            "expires_at": grant.expires_at,
        }
        with guarded(self._metrics, "put_grant", seconds=self._seconds):
            await self._tokens.insert_one(document)

    @override
    async def grant(self, digest: str) -> Grant | None:
        with guarded(self._metrics, "grant", seconds=self._seconds):
            document = await self._tokens.find_one({"_id": digest})
        return None if document is None else _grant(document)

    @override
    async def grants(self) -> tuple[Grant, ...]:
        with guarded(self._metrics, "grants", seconds=self._seconds):
            documents = await self._tokens.find(sort=[("issued_at", -1)]).to_list(None)
        return tuple(map(_grant, documents))

    @override
    async def revoke(self, digest_prefix: str) -> int:
        wanted = {"_id": {"$gte": digest_prefix, "$lt": digest_prefix + "g"}}  # `g` is above all hex digits.
        with guarded(self._metrics, "revoke", seconds=self._seconds):
            return (await self._tokens.delete_many(wanted)).deleted_count

    @override
    async def verification(self, tenant: Tenant) -> tuple[VerificationToken, ...]:
        with guarded(self._metrics, "verification", seconds=self._seconds):
            document = await self._verifications.find_one({"_id": str(tenant)})
        return () if document is None else tuple(map(_verification, document["tokens"]))

    @override
    async def put_verification(
        self,
        tenant: Tenant,
        tokens: tuple[VerificationToken, ...],
        *,
        instead_of: tuple[VerificationToken, ...],
    ) -> bool:
        before = [one.digest for one in instead_of]
        after = [{"digest": one.digest, "since": one.since, "expires_at": one.expires_at} for one in tokens]
        wanted = {"_id": str(tenant), "digests": before}
        changed = {"$set": {"digests": [one.digest for one in tokens], "tokens": after}}
        with guarded(self._metrics, "put_verification", seconds=self._seconds):
            try:
                # Without any before there is no document, or one with an empty list.
                done = await self._verifications.update_one(wanted, changed, upsert=not before)
            except DuplicateKeyError:
                return False
        return done.matched_count == 1 or done.upserted_id is not None

    @override
    async def secret(self, name: str) -> bytes:
        with guarded(self._metrics, "secret", seconds=self._seconds):
            return await shared_secret(self._secrets, name)


def _tenant(document: Mapping[str, Any]) -> TenantSettings:
    handling = document.get("handling")
    return TenantSettings(
        parse_tenant(document["_id"]),
        SearchScope(document["search_scope"]),
        None if handling is None else Handling(handling),
        stable_sources=frozenset(document.get("stable_sources", ())),
        cors_origins=frozenset(document.get("cors_origins", ())),
    )


def _verification(document: Mapping[str, Any]) -> VerificationToken:
    return VerificationToken(document["digest"], document["since"], document["expires_at"])


def _grant(document: Mapping[str, Any]) -> Grant:
    tenants: tuple[Tenant, ...] = tuple(map(parse_tenant, document["tenants"]))
    return Grant(
        digest=document["_id"],
        client=document["client"],
        tenants=tenants,
        scopes=tuple(document["scopes"]),
        issued_at=document["issued_at"],
        expires_at=document["expires_at"],
    )
