"""A tenant that leaves: closed to clients at once, then emptied in batches, with a receipt in the end.

tenants  of a closed one: closed_at, and emptied_at once nothing is left; its name stays, for the receipts.
The name, the receipts and the audit are all that stays, and the audit names nobody any more.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from typing_extensions import override

from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import MAJORITY, durable
from store.mongo.driver.guard import guarded
from store.mongo.erasure.audit import AuditErasure
from store.mongo.indexes import (
    CHANGE_STATE,
    CHANGES,
    CHUNKS,
    CLIENTS,
    DEAD_LETTER_BODIES,
    DEAD_LETTERS,
    DEPARTURES,
    ERASURES,
    FILES,
    FORGOTTEN_FILES,
    HISTORY,
    HOLDS,
    IDEMPOTENCY,
    OUTBOX,
    POLICIES,
    RESOURCES,
    RETENTION,
    SUBSCRIPTIONS,
    TENANTS,
    TOKENS,
    VERIFICATIONS,
)
from store.retention.erasure import Offboarding
from store.retention.runs import Batch, LeaseLost, Reason, Row, RunKind
from store.retention.subjects import reason_for
from store.retention.sweep import HoldPlaced

if TYPE_CHECKING:
    from store.audit.records import AuditTrail
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.mongo.erasure.batches import ErasureTools
    from store.mongo.retention.lease import Lease, Leases
    from store.retention.holds import HoldStore
    from store.retention.receipts import Receipt
    from store.retention.runs import Run
    from store.settings import StoreSettings
    from store.tenancy import Tenant

ROUNDS_MAX: Final = 10
"""Extra passes, for writes under way when the tenant was closed."""
_UNDER_WAY: Final = Issue("conflict", "this tenant is being emptied already; try again shortly")


class _Part(NamedTuple):
    """Documents of a tenant in one collection."""

    collection: str
    batch: int = 500
    by_id: bool = False
    """Whether its documents are found by `_id`, which is the tenant or begins with it."""
    counted: str = ""
    """Type under which they are counted; empty: the resource type of each."""


_PARTS: Final = (
    # Subscribers first: nobody is told of what goes.
    _Part(SUBSCRIPTIONS, counted="subscription"),
    _Part(OUTBOX, counted="part of a subscription's events"),
    _Part(IDEMPOTENCY, by_id=True, counted="answer"),
    _Part(DEAD_LETTERS, counted="dead letter"),
    _Part(DEAD_LETTER_BODIES, batch=20, counted="part of a dead letter"),
    _Part(RESOURCES),
    _Part(HISTORY),
    _Part(DEPARTURES, counted="note of a deletion"),
    _Part(CHANGES, counted="block of changes"),
    _Part(CHANGE_STATE, by_id=True, counted="number of changes"),
    # Chunks first: while the document is there, another run finds what is left of them.
    _Part(CHUNKS, batch=50, counted="part of a file"),
    _Part(FILES, counted="file"),
    _Part(FORGOTTEN_FILES, counted="note of a file"),
    _Part(HOLDS, counted="hold that had ended"),
    _Part(ERASURES, counted="tombstone"),
    _Part(VERIFICATIONS, by_id=True, counted="verification"),
    _Part(POLICIES, counted="policy"),
    _Part(RETENTION, by_id=True, counted="policy"),
)


class MongoOffboarding(Offboarding):
    """Closes tenants, and empties them."""

    def __init__(  # noqa: PLR0913 -- what it is made of, all keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        metrics: StoreMetrics,
        tools: ErasureTools,
        holds: HoldStore,
        audit: AuditTrail,
        leases: Leases,
    ) -> None:
        self._database = database
        self._audit_records = AuditErasure(database, tools.erasures, settings=settings, metrics=metrics)
        self._tools = tools
        self._holds = holds
        self._audit = audit
        self._leases = leases
        self._metrics = metrics
        self._seconds = settings.store_timeout_seconds
        self._tenants: Collection = durable(database, TENANTS)
        self._tokens: Collection = durable(database, TOKENS)
        self._clients: Collection = durable(database, CLIENTS)

    @override
    async def close(self, tenant: Tenant, *, reason: str, by: str, wait_seconds: float) -> Receipt:
        why = reason_for(reason)
        await self._refuse_unknown(tenant)
        placed = await self._holds.placed()
        await self._refuse_held(tenant)
        lease = await self._leases.take(f"off-boarding:{tenant}")
        if lease is None:
            raise ServiceError(Category.CONFLICT, _UNDER_WAY)
        done = False
        try:
            run = await self._tools.runs.begin(lease, RunKind.OFF_BOARDING, tenant=str(tenant), reason=why)
            await self._shut(tenant)
            await asyncio.sleep(wait_seconds)
            while not await self._empty(tenant, lease, run, placed):
                placed = await self._holds.placed()
                await self._refuse_held(tenant)
            await self._audit_records.forget_all(tenant, lambda: self._leases.renew(lease))
            receipt = await self._tools.runs.close(lease, run)
            done = True
        except LeaseLost:
            raise ServiceError(Category.CONFLICT, _UNDER_WAY) from None
        finally:
            await self._leases.release(lease, done=done)
        now = self._tools.clock()
        with guarded(self._metrics, "close_tenant", seconds=self._seconds):
            await self._tenants.update_one({"_id": str(tenant)}, {"$set": {"emptied_at": now}})
        await self._audit.note(AuditRecord(tenant, now, by, Deed.TENANT_CLOSED, why, run.id))
        return receipt

    async def _refuse_unknown(self, tenant: Tenant) -> None:
        with guarded(self._metrics, "close_tenant", seconds=self._seconds):
            found = await self._tenants.find_one({"_id": str(tenant)})
        if found is None:
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", f"there is no tenant {tenant}"))

    async def _refuse_held(self, tenant: Tenant) -> None:
        now = self._tools.clock()
        active = [hold for hold in await self._holds.listed(tenant) if hold.is_active(now)]
        if active:
            text = f"{len(active)} holds keep data of this tenant: `dod retention hold list` shows them"
            raise ServiceError(Category.CONFLICT, Issue("conflict", text))

    async def _shut(self, tenant: Tenant) -> None:
        """Make a tenant unknown to clients from now on; tokens that reach nothing else are gone."""
        name, now = str(tenant), self._tools.clock()
        with guarded(self._metrics, "close_tenant", seconds=self._seconds):
            await self._tenants.update_one(
                {"_id": name, "closed_at": None}, {"$set": {"closed_at": now}, "$unset": {"emptied_at": ""}}
            )
            await self._tokens.delete_many({"tenants": [name]})
            await self._tokens.update_many({"tenants": name}, {"$pull": {"tenants": name}})
            changed = {"$pull": {"tenants": name}, "$inc": {"revision": 1}}
            await self._clients.update_many({"tenants": name}, changed)

    async def _empty(self, tenant: Tenant, lease: Lease, run: Run, placed: int) -> bool:
        """Delete everything; False: a hold was placed since there were so many."""
        try:
            for _ in range(ROUNDS_MAX):
                deleted = 0
                for part in _PARTS:
                    while some := await self._batch(tenant, part, lease, run, placed):
                        deleted += some
                if not deleted:
                    break
        except HoldPlaced:
            return False
        return True

    async def _batch(self, tenant: Tenant, part: _Part, lease: Lease, run: Run, placed: int) -> int:
        owner, collection = str(tenant), self._database[part.collection]
        wanted: dict[str, Any] = {"tenant": owner}
        if part.by_id:
            wanted = {"$or": [{"_id": owner}, {"_id": {"$gt": f"{owner}/", "$lt": f"{owner}0"}}]}
        reading = collection.with_options(read_concern=MAJORITY)
        with guarded(self._metrics, "off_board", seconds=max(self._seconds, 60)):
            found = await reading.find(wanted, {"type": 1, "was": 1}, limit=part.batch).to_list(None)
        if not found:
            return 0
        types = {one["_id"]: part.counted or one.get("type") or one.get("was") or "" for one in found}

        async def work(session: Session) -> Batch:
            if await self._holds.placed(session) != placed:
                raise HoldPlaced
            counts: Counter[Row] = Counter()
            for name in sorted(set(types.values())):
                ids = [one for one, of_type in types.items() if of_type == name]
                own = {} if part.by_id else {"tenant": owner}
                done = await collection.delete_many(
                    {"_id": {"$in": ids}, **own}, hint="_id_", session=session
                )
                counts[Row(owner, 0, name, Reason.OFF_BOARDING.value)] += done.deleted_count
            return Batch(counts)

        await self._tools.runs.batch(lease, run, work)
        return len(found)
