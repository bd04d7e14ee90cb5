"""Stages of the sweep for what expires by its age alone: dead letters with their bodies, audit records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import AUDIT, DEAD_LETTER_BODIES, DEAD_LETTERS
from store.mongo.retention.overdue import behind, page
from store.retention.runs import Reason, Row
from store.retention.sweep import Deleted, Found, Stage, SweepStep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database, Session
    from store.mongo.retention.still_needed import Needing
    from store.tenancy import Tenant

LETTERS_MAX: Final = 100
"""Letters in one step: their bodies may be large."""


class Aged(Stage):
    """Documents of one collection that go by their age; only a hold on the whole tenant keeps them."""

    def __init__(  # noqa: PLR0913 -- what makes a stage
        self,
        database: Database,
        collection: str,
        reason: Reason,
        needing: Needing,
        *,
        moment: str,
        with_them: str | None = None,
        metrics: StoreMetrics,
        seconds: float,
    ) -> None:
        self.name = collection
        self._reason = reason
        self._moment = moment
        self._needing = needing
        self._metrics = metrics
        self._seconds = seconds
        self._aged = majority(database, collection)
        self._plain = database[collection]
        self._with_them = None if with_them is None else database[with_them]

    @override
    async def look(
        self, tenant: Tenant, as_of: datetime, after: Mapping[str, Any] | None, limit: int
    ) -> SweepStep:
        most = min(limit, LETTERS_MAX)
        fields = {"expires_at": 1, self._moment: 1}
        with guarded(self._metrics, "overdue_letters", seconds=self._seconds):
            found = await page(self._aged, tenant, as_of, after, most, fields)
        if found and await self._needing.whole_tenant(tenant):
            skipped = [self._counted(tenant, one, Reason.HELD) for one in found]
            return SweepStep((), skipped, behind(found, most))
        return SweepStep(found, (), behind(found, most))

    @override
    async def count(self, tenant: Tenant, as_of: datetime, step: SweepStep) -> Sequence[Found]:
        return [self._counted(tenant, one, self._reason) for one in step.going]

    @override
    async def delete(self, tenant: Tenant, as_of: datetime, step: SweepStep, session: Session) -> Deleted:
        # A letter that came again meanwhile has a later end.
        own, those = {"tenant": str(tenant)}, [one["_id"] for one in step.going]
        wanted = {**own, "_id": {"$in": those}, "expires_at": {"$lte": as_of}}
        cursor = self._plain.find(wanted, {"_id": 1}, hint="_id_", session=session)
        ids = [one["_id"] for one in await cursor.to_list(None)]
        if ids:
            await self._plain.delete_many({**own, "_id": {"$in": ids}}, hint="_id_", session=session)
            if self._with_them is not None:
                await self._with_them.delete_many({"letter": {"$in": ids}}, session=session)
        return Deleted(Counter({Row(str(tenant), 0, "", self._reason.value): len(ids)} if ids else {}))

    def _counted(self, tenant: Tenant, document: Mapping[str, Any], reason: Reason) -> Found:
        return Found(Row(str(tenant), 0, "", reason.value), f"{document[self._moment]:%Y-%m}")


class LostPieces(Stage):
    """Pieces of bodies whose letter was never written: a crash came in between. They are no letters."""

    name = "dead_letter_pieces"

    def __init__(
        self, database: Database, needing: Needing, *, metrics: StoreMetrics, seconds: float
    ) -> None:
        self._needing = needing
        self._metrics = metrics
        self._seconds = seconds
        self._pieces = majority(database, DEAD_LETTER_BODIES)
        self._letters = majority(database, DEAD_LETTERS)
        self._plain = database[DEAD_LETTER_BODIES]

    @override
    async def look(
        self, tenant: Tenant, as_of: datetime, after: Mapping[str, Any] | None, limit: int
    ) -> SweepStep:
        most = min(limit, LETTERS_MAX)
        with guarded(self._metrics, "lost_pieces", seconds=self._seconds):
            found = await page(self._pieces, tenant, as_of, after, most, {"expires_at": 1, "letter": 1})
            named = {"_id": {"$in": sorted({one["letter"] for one in found})}}
            there = {one["_id"] for one in await self._letters.find(named, {"_id": 1}).to_list(None)}
        lost = [one for one in found if one["letter"] not in there]
        if lost and await self._needing.whole_tenant(tenant):
            lost = []
        return SweepStep(lost, (), behind(found, most))

    @override
    async def count(self, tenant: Tenant, as_of: datetime, step: SweepStep) -> Sequence[Found]:
        return ()

    @override
    async def delete(
        self,
        tenant: Tenant,
        as_of: datetime,
        step: SweepStep,
        session: Session,
    ) -> Deleted:
        ids = [one["_id"] for one in step.going]
        await self._plain.delete_many({"_id": {"$in": ids}}, session=session)
        return Deleted({})


def letters(database: Database, needing: Needing, **kwargs: Any) -> Aged:  # noqa: ANN401 -- passed on
    """Refused pushes, with their bodies."""
    return Aged(
        database,
        DEAD_LETTERS,
        Reason.DEAD_LETTER,
        needing,
        moment="at",
        with_them=DEAD_LETTER_BODIES,
        **kwargs,
    )


def audits(database: Database, needing: Needing, **kwargs: Any) -> Aged:  # noqa: ANN401 -- passed on
    """Stage of the sweep for audit records past their time."""
    return Aged(database, AUDIT, Reason.AUDIT, needing, moment="at", **kwargs)
