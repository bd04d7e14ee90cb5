"""Retention policies of tenants, and which have left, remembered for a moment: every write asks.

retention  _id "org/env", version, policy {…}, forgets: something was erased here; `settled`: how far the
           current policy has been applied to what was stored before it (`policy_rollout`); `swept`: written
           to by each batch of the sweep
policies   each version for good: _id "org/env/000007", tenant, policy {…}
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.driver.transaction import run
from store.mongo.indexes import POLICIES, RETENTION, TENANTS
from store.retention.policy import (
    KEEPS_ALL,
    UNLIMITED,
    CountedFrom,
    Policy,
    PolicyStore,
    Rule,
    TenantRetention,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_REMEMBERED_MAX: Final = 10_000
"""Tenants; past it all are asked for anew."""
_RETENTION_FIELDS: Final = {"policy": 1, "forgets": 1, "erased_at": 1}
_RACED: Final = Issue(
    "conflict", "somebody else changed the policy at the same time; look at it and try again"
)


class Policies(PolicyStore):
    """The port's verbs on one database, and `of` for those that write."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        metrics: StoreMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retention: Collection = durable(database, RETENTION)
        self._client = database.client
        self._plain: Collection = database[RETENTION]
        self._plain_policies: Collection = database[POLICIES]
        self._policies: Collection = durable(database, POLICIES)
        self._tenants: Collection = durable(database, TENANTS)
        self._seconds = settings.store_timeout_seconds
        self._remembered_seconds = settings.policy_cache_seconds
        self._metrics = metrics
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, TenantRetention]] = {}

    def known(self, tenant: str) -> TenantRetention | None:
        """Retention of a tenant as `of` has it in memory; None: it has to be asked for."""
        known = self._known.get(tenant)
        return known[1] if known is not None and self._monotonic() < known[0] else None

    async def of(self, tenants: Iterable[str]) -> dict[str, TenantRetention]:
        """Retention of these tenants, as it was at most `policy_cache_seconds` ago. Raises the driver's
        errors.
        """
        wanted, now = set(tenants), self._monotonic()
        fresh = {one: known for one in wanted if (known := self.known(one)) is not None}
        missing = wanted - fresh.keys()
        if not missing:
            return fresh
        found = dict.fromkeys(missing, KEEPS_ALL)
        of_these = {"_id": {"$in": sorted(missing)}}
        for document in await self._retention.find(of_these, _RETENTION_FIELDS).to_list(None):
            found[document["_id"]] = _retention_of(document)
        made = await self._tenants.find(of_these, {"closed_at": 1}).to_list(None)
        left = {one["_id"]: one.get("closed_at") is not None for one in made}
        for name, retention in found.items():
            found[name] = retention._replace(closed=left.get(name, False), made=name in left)
        if len(self._known) + len(found) > _REMEMBERED_MAX:
            self._known.clear()
        until = now + self._remembered_seconds
        self._known |= {tenant: (until, retention) for tenant, retention in found.items()}
        return fresh | found

    async def anew(self, tenants: Iterable[str]) -> dict[str, TenantRetention]:
        """Retention of these tenants as it is now. Raises the driver's errors."""
        asked = set(tenants)
        for one in asked:
            self._known.pop(one, None)
        return await self.of(asked)

    @override
    async def retention(self, tenant: Tenant) -> TenantRetention:
        with guarded(self._metrics, "policy", seconds=self._seconds):
            document = await self._retention.find_one({"_id": str(tenant)}, _RETENTION_FIELDS)
        return KEEPS_ALL if document is None else _retention_of(document)

    async def version(self, tenant: Tenant, session: Session | None = None) -> int:
        """Version of the policy that is set now; 0: none.

        With the session of a transaction that deletes: written to, so that who sets another one waits for its
        end.
        """
        if session is None:
            with guarded(self._metrics, "policy", seconds=self._seconds):
                found = await self._retention.find_one({"_id": str(tenant)}, {"version": 1})
        else:
            found = await self._plain.find_one_and_update(
                {"_id": str(tenant)}, {"$inc": {"swept": 1}}, {"version": 1}, session=session
            )
        return 0 if found is None else int(found.get("version") or 0)

    @override
    async def remembered(self, tenant: Tenant) -> TenantRetention:
        with guarded(self._metrics, "policy", seconds=self._seconds):
            return (await self.of((str(tenant),)))[str(tenant)]

    @override
    async def put(self, tenant: Tenant, policy: Policy, *, instead_of: int) -> Policy:
        made = policy._replace(version=instead_of + 1)
        document = to_document(made)
        name = str(tenant)
        after = {"$set": {"version": made.version, "policy": document}, "$unset": {"settled": ""}}
        kept = {"_id": f"{name}/{made.version:06}", "tenant": name, "policy": document}

        async def within(session: Session) -> None:
            there = await self._plain.find_one({"_id": name}, {"version": 1}, session=session)
            if ((there or {}).get("version") or 0) != instead_of:
                raise ServiceError(Category.CONFLICT, _RACED)
            await self._plain.update_one({"_id": name}, after, upsert=True, session=session)
            await self._plain_policies.replace_one({"_id": kept["_id"]}, kept, upsert=True, session=session)

        await run(
            self._client,
            lambda transaction: transaction.run(within),
            metrics=self._metrics,
            seconds=self._seconds,
        )
        self._known.pop(name, None)
        return made

    async def note_erasure(self, tenant: Tenant) -> None:
        """Let pushes be asked from now on whether they bring something back. Raises the driver's errors."""
        await self._retention.update_one({"_id": str(tenant)}, {"$set": {"forgets": True}}, upsert=True)
        self._known.pop(str(tenant), None)

    async def note_erased(self, tenant: Tenant) -> None:
        """Note the end of an erasure: readers of an earlier moment get the latest instead. Raises the
        driver's errors.
        """
        await self._retention.update_one({"_id": str(tenant)}, {"$currentDate": {"erased_at": True}})
        self._known.pop(str(tenant), None)

    @override
    async def versions(self, tenant: Tenant) -> tuple[Policy, ...]:
        wanted = {"_id": {"$gt": f"{tenant}/", "$lt": f"{tenant}/~"}}
        with guarded(self._metrics, "policies", seconds=self._seconds):
            found = await self._policies.find(wanted, sort=[("_id", -1)]).to_list(None)
        return tuple(from_document(one["policy"]) for one in found)


def _retention_of(document: Mapping[str, Any]) -> TenantRetention:
    policy = document.get("policy")
    return TenantRetention(
        UNLIMITED if policy is None else from_document(policy),
        bool(document.get("forgets")),
        document.get("erased_at"),
    )


def to_document(policy: Policy) -> dict[str, Any]:
    """A policy as it is stored."""
    rules = [
        {**rule._asdict(), "counted_from": rule.counted_from.value, "category": list(rule.category),
         "status": list(rule.status)}
        for rule in policy.rules
    ]  # fmt: skip
    return {**policy._asdict(), "counted_from": policy.counted_from.value, "rules": rules}


def from_document(document: Mapping[str, Any]) -> Policy:
    """Policy that a document holds."""
    rules = tuple(
        Rule(
            **{
                **one,
                "counted_from": CountedFrom(one["counted_from"]),
                "category": tuple(one["category"]),
                "status": tuple(one["status"]),
            }
        )
        for one in document["rules"]
    )
    return Policy(**{**document, "counted_from": CountedFrom(document["counted_from"]), "rules": rules})
