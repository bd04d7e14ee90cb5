"""`Erasing` on MongoDB: one patient, in batches under a lease of its own, with a receipt in the end.

First the erased names, so that nothing comes back; then what can only be found through something else, then
what is found by the patient, the Patient itself last: whatever is broken off is found again, and nobody has
to write down what a patient is known by.
"""

from __future__ import annotations

import asyncio
import re
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.erasure.audit import AuditErasure
from store.mongo.erasure.batches import ErasureRun, ErasureTools, name_of, names_of
from store.mongo.erasure.mentions import Mentions
from store.mongo.erasure.patient_data import PatientData
from store.mongo.indexes import FILES, HOLDS
from store.mongo.subscriptions.forgetting import forget_named
from store.retention.erasure import ERASED, Erased, Erasing, KnownAs, Wanted
from store.retention.runs import LeaseLost, RunKind
from store.retention.subjects import reason_for, value_of
from store.retention.sweep import ATTEMPTS_MAX, HoldPlaced

if TYPE_CHECKING:
    from store.audit.records import AuditTrail
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.erasure.belongings import Belongings
    from store.mongo.erasure.reads import Heartbeat
    from store.mongo.retention.lease import Lease, Leases
    from store.retention.erasure import Demand
    from store.retention.subjects import Subject
    from store.settings import StoreSettings
    from store.tenancy import Tenant

ROUNDS_MAX: Final = 5
"""Extra passes, for pushes accepted before every replica knew the erased names."""
RENEW_SECONDS: Final = 10.0
"""Pause between two renewals of the lease while much is read; batches renew it as well."""
_SUBJECT: Final = "subject"
_UNDER_WAY: Final = Issue("conflict", "this patient is being erased already; try again shortly")
_HOLDS: Final = Issue("conflict", "holds are placed all the while; the same again goes on where it was")
_NOBODY: Final = Issue("not-found", "nothing is stored of this patient, and nothing was erased before")


class MongoErasing(Erasing):
    """The verbs on one database."""

    def __init__(  # noqa: PLR0913 -- what it is made of, all keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        metrics: StoreMetrics,
        tools: ErasureTools,
        audit: AuditTrail,
        leases: Leases,
    ) -> None:
        self._patient_data = PatientData(database, settings=settings, metrics=metrics)
        self._mentions = Mentions(database, settings=settings, metrics=metrics)
        self._database = database
        self._tools = tools
        self._audit = audit
        self._audit_records = AuditErasure(database, tools.erasures, settings=settings, metrics=metrics)
        self._leases = leases
        self._metrics = metrics
        self._seconds = settings.store_timeout_seconds
        self._holds: Collection = durable(database, HOLDS)
        self._files: Collection = durable(database, FILES)

    @override
    async def erase(self, demand: Demand) -> Erased:
        reason = reason_for(demand.reason, subjects=[demand.subject.name])
        group = await self._tools.erasures.digest_of(demand.tenant, name_of(demand.subject))
        lease = await self._leases.take(f"erasure:{demand.tenant}/{group}")
        if lease is None:
            raise ServiceError(Category.CONFLICT, _UNDER_WAY)
        done = False
        try:
            erased = await self._erase(demand._replace(reason=reason), group, lease)
            done = True
        except LeaseLost:
            raise ServiceError(Category.CONFLICT, _UNDER_WAY) from None
        finally:
            await self._leases.release(lease, done=done)
        return erased

    @override
    async def lift(self, tenant: Tenant, subject: Subject, *, reason: str, by: str) -> int:
        why = reason_for(reason, subjects=[subject.name])
        lifted = await self._tools.erasures.lift(tenant, name_of(subject))
        if not lifted:
            text = "nothing of this patient was erased, or it may come again already"
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", text))
        group = await self._tools.erasures.digest_of(tenant, name_of(subject))
        await self._audit.note(AuditRecord(tenant, self._tools.clock(), by, Deed.ERASURE_LIFTED, why, group))
        return lifted

    async def _erase(self, demand: Demand, group: str, lease: Lease) -> Erased:
        tenant, subject = demand.tenant, demand.subject

        renewed = monotonic()

        async def heartbeat() -> None:
            nonlocal renewed
            if monotonic() - renewed > RENEW_SECONDS:
                await self._leases.renew(lease)
                renewed = monotonic()

        if subject.identifier and not demand.every:
            carriers = await self._patient_data.carriers(tenant, subject.identifier)
            if len(carriers) > 1 and not await self._patient_data.is_one(tenant, carriers):
                raise _several(len(carriers))
        own = KnownAs(
            {subject.reference} if subject.reference else set(),
            {subject.identifier} if subject.identifier else set(),
        )
        found = await self._patient_data.find(tenant, own, heartbeat)
        again = await self._erased_before(tenant, subject)
        told = await self._told(tenant, found, heartbeat)
        if not (found.everything() or any(told) or again or demand.absent):
            raise ServiceError(Category.NOT_FOUND, _NOBODY)
        _check_reason(demand.reason, found)
        run = await self._tools.runs.begin(
            lease, RunKind.ERASURE, tenant=str(tenant), subject=group, reason=demand.reason
        )
        work = ErasureRun(self._tools, demand, group, lease, run)
        strays = await self._mentions.strays(tenant)
        found, shared = await self._delete(work, tenant, found, told, heartbeat)
        if work.has_begun:
            await self._tools.erasures.finished(tenant)
            await self._forget_beside(tenant, own)
            # Nobody knows whom they are about; those on their way to a letter have one by now.
            await self._mentions.drop(strays & await self._mentions.strays(tenant))
            wanted = Wanted(frozenset(names_of(found)), tuple(dict.fromkeys(found.names)))
            await self._audit_records.forget(tenant, own, wanted, heartbeat)
            await forget_named(
                self._database,
                tenant,
                wanted.in_query,
                now=self._tools.clock(),
                metrics=self._metrics,
                seconds=self._seconds,
            )
        receipt = await self._tools.runs.close(lease, run)
        by, now = demand.by, self._tools.clock()
        await self._audit.note(AuditRecord(tenant, now, by, Deed.PATIENT_ERASED, demand.reason, group))
        return Erased(receipt, shared=len(shared), again=again and not receipt.deleted)

    async def _delete(
        self,
        work: ErasureRun,
        tenant: Tenant,
        found: Belongings,
        told: tuple[list[str], list[str]],
        heartbeat: Heartbeat,
    ) -> tuple[Belongings, set[str]]:
        """Delete in rounds until there is nothing more; all that was found, and what is another's too.

        A hold that is placed meanwhile makes it look again. The last look begins when all that was being
        stored when the names were placed is there.
        """
        own, shared = found.own, set[str]()
        rounds = interrupted = 0
        looked = -inf
        while interrupted < ATTEMPTS_MAX:
            if rounds or interrupted:
                looked = monotonic()
                names, found = found.names, await self._patient_data.find(tenant, own, heartbeat)
                found.names += names
                told = await self._told(tenant, found, heartbeat)
            shared |= found.shared
            placed = await self._tools.holds.placed()
            if await self._is_wholly_held(tenant, own):
                await work.skip(list(found.everything().values()))
                return found, shared
            try:
                gone = await work.delete(found, *told, placed=placed, first=not rounds)
                rounds += 1
                if rounds >= ROUNDS_MAX or (rounds > 1 and not gone):
                    late = work.names_placed_at + self._tools.late_seconds
                    if looked >= late:
                        await work.delete_files()
                        return found, shared
                    await _until(late, heartbeat)
            except HoldPlaced:
                interrupted += 1
        raise ServiceError(Category.CONFLICT, _HOLDS)

    async def _erased_before(self, tenant: Tenant, subject: Subject) -> bool:
        with guarded(self._metrics, "known_erasure", seconds=self._seconds):
            return bool(await self._tools.erasures.known(tenant, [name_of(subject)]))

    async def _told(
        self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat
    ) -> tuple[list[str], list[str]]:
        """The letters and the answers that tell of the patient."""
        wanted = Wanted(frozenset(names_of(found)), tuple(dict.fromkeys(found.names)))
        letters = await self._mentions.letters(tenant, wanted, heartbeat)
        return letters, await self._mentions.answers(tenant, wanted, heartbeat)

    async def _is_wholly_held(self, tenant: Tenant, own: KnownAs) -> bool:
        """Whether a hold on the patient, or on the tenant, covers every document found."""
        someone = {"_id": _SUBJECT, "type": "", "id": "", "keys": own.keys}
        return _SUBJECT in await self._tools.holds.held(tenant, [someone], self._tools.clock())

    async def _forget_beside(self, tenant: Tenant, own: KnownAs) -> None:
        """Forget what may tell of the patient beside resources: uploads that wait, holds that have ended."""
        await self._release_uploads(tenant)
        await self._forget_ended_holds(tenant, own)

    async def _release_uploads(self, tenant: Tenant) -> None:
        """Let the collector have uploads that nothing refers to yet: nobody knows whom they are about.

        A message that names one in the hour that is left keeps it.
        """
        now = self._tools.clock()
        waiting = {"tenant": str(tenant), "held": {"$gt": now}}
        change = {"$min": {"touched": now}, "$unset": {"held": ""}}
        with guarded(self._metrics, "release_uploads", seconds=self._seconds):
            await self._files.update_many(waiting, change, hint="waiting")

    async def _forget_ended_holds(self, tenant: Tenant, own: KnownAs) -> None:
        """Holds that have ended no longer say on whom they were."""
        now = self._tools.clock()
        over = [{"released_at": {"$ne": None}}, {"expires_at": {"$ne": None, "$lte": now}}]
        told = {*own.references, *own.identifiers, *(value_of(one) for one in own.identifiers)}
        with guarded(self._metrics, "forget_holds", seconds=self._seconds):
            ended = {"tenant": str(tenant), "$or": over}
            found = await self._holds.find(ended, {"subject": 1, "patients": 1}).to_list(None)
            naming = [one["_id"] for one in found if _names(one, told)]
            if naming:
                change = {"$set": {"subject": ERASED}, "$unset": {"patients": ""}}
                await self._holds.update_many({"_id": {"$in": naming}}, change)


async def _until(moment: float, heartbeat: Heartbeat) -> None:
    """Wait until a moment on the monotonic clock."""
    while (left := moment - monotonic()) > 0:
        await asyncio.sleep(min(left, RENEW_SECONDS / 2))
        await heartbeat()


def _names(hold: Any, told: set[str]) -> bool:  # noqa: ANN401 -- a document
    subject: str = hold["subject"]
    return any(part in subject for part in told) or not told.isdisjoint(hold.get("patients", ()))


def _check_reason(reason: str, found: Belongings) -> None:
    """Raise ServiceError `incorrect` when the reason holds what the patient turns out to be known by."""
    reason_for(reason, subjects=[*found.own.references, *found.own.identifiers])
    said = reason.casefold()
    for name in found.names:  # "Mrs X asked": one who has no given name there has a name all the same.
        if re.search(rf"(?<!\w){re.escape(name.family.casefold())}(?!\w)", said):
            text = "the reason must not hold the patient's name: it is kept after the patient's data"
            raise ServiceError(Category.INCORRECT, Issue("value", text, ("reason",)))


def _several(number: int) -> ServiceError:
    text = (
        f"{number} Patients who differ carry this identifier: name one by `Patient/id`, or ask for every one"
        " of them (`--every`)"
    )
    return ServiceError(Category.CONFLICT, Issue("multiple-matches", text))
