"""`Audit` on MongoDB: the collection `audit`: tenant, at, by, did, reason, of, expires_at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import AUDIT
from store.retention.audit import Act, Audit, Did
from store.retention.policy import after
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.rules.policies import Policies
    from store.settings import StoreSettings
    from store.tenancy import Tenant


class MongoAudit(Audit):
    """The port's verbs on one database."""

    def __init__(
        self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics, policies: Policies
    ) -> None:
        self._policies = policies
        self._audit: Collection = durable(database, AUDIT)
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics

    @override
    async def note(self, act: Act) -> None:
        days = (await self._policies.remembered(act.tenant)).policy.audit_days
        end = after(act.at, days)
        document = {**act._asdict(), "tenant": str(act.tenant), "did": act.did.value, "expires_at": end}
        with guarded(self._metrics, "audit", seconds=self._seconds):
            await self._audit.insert_one(document)

    @override
    async def acts(self, tenant: Tenant) -> tuple[Act, ...]:
        with guarded(self._metrics, "audit_list", seconds=self._seconds):
            cursor = self._audit.find({"tenant": str(tenant)}, {"_id": 0}, sort=[("at", -1), ("_id", -1)])
            found = await cursor.hint("newest").to_list(None)
        return tuple(
            Act(parse_tenant(one["tenant"]), one["at"], one["by"], Did(one["did"]), one["reason"], one["of"])
            for one in found
        )
