"""Bounds on the dead letters of a tenant: the oldest go, in the background."""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from store.detached import detached
from store.errors import ServiceError
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import DEAD_LETTER_BODIES, DEAD_LETTERS
from store.mongo.retention.holds import MongoHolds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database, Session
    from store.settings import StoreSettings
    from store.tenancy import Tenant


TRIM_SHARE: Final = 100
"""Trimming starts when a tenant may be over its bounds by one part in so many."""


TRIM_BATCH: Final = 500


def _surplus(heads: Sequence[Mapping[str, Any]], *, count: int, size: int) -> list[str]:
    """The ids from the first one on, newest first, with which a bound is passed."""
    total = 0
    for number, head in enumerate(heads):
        total += head["kept"]
        if number >= count or total > size:
            return [one["_id"] for one in heads[number:]]
    return []


class Trimming:
    """Trims tenants as their letters come."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._letters: Collection = durable(database, DEAD_LETTERS)
        self._in_transaction = (database[DEAD_LETTERS], database[DEAD_LETTER_BODIES])
        self._holds = MongoHolds(database, settings=settings, metrics=metrics)
        self._settings = settings
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._untrimmed: dict[Tenant, tuple[int, int]] = {}
        """Tenant → letters and bytes since it was last trimmed. Absent: not since this process started."""
        self._trims: dict[Tenant, asyncio.Task[None]] = {}

    async def drain(self) -> None:
        """Wait for what is being trimmed."""
        while self._trims:
            await asyncio.wait(list(self._trims.values()))

    def note(self, tenant: Tenant, size: int) -> None:
        """Count a new letter; trim the tenant in the background when it may be over its bounds."""
        letters, total = self._untrimmed.get(tenant, (self._settings.dead_letters_max, 0))
        self._untrimmed[tenant] = (letters + 1, total + size)
        due = (
            letters + 1 >= self._settings.dead_letters_max // TRIM_SHARE
            or total + size >= self._settings.dead_letters_bytes_max // TRIM_SHARE
        )
        if due and tenant not in self._trims:
            self._untrimmed[tenant] = (0, 0)
            self._trims[tenant] = detached(self._trim_quietly(tenant))

    async def _trim_quietly(self, tenant: Tenant) -> None:
        try:
            await self._trim(tenant)
        except ServiceError:
            self._untrimmed.pop(tenant, None)  # The next letter tries again; the guard has counted it.
        finally:
            del self._trims[tenant]

    async def _trim(self, tenant: Tenant) -> None:
        """Delete the oldest letters beyond the bounds, unless the tenant is held."""
        with guarded(self._metrics, "trim_dead_letters", seconds=self._seconds):
            # Answered from the index: ids and sizes, newest first.
            heads = await self._letters.find(
                {"tenant": str(tenant)}, {"_id": 1, "kept": 1}, sort=[("at", -1), ("_id", -1)], hint="newest"
            ).to_list(None)
        surplus = _surplus(
            heads, count=self._settings.dead_letters_max, size=self._settings.dead_letters_bytes_max
        )
        for start in range(0, len(surplus), TRIM_BATCH):
            batch = surplus[start : start + TRIM_BATCH]
            delete = partial(self._delete, tenant, batch)
            if not await self._holds.unless_held(tenant, self._clock(), delete):
                return  # As the sweep: what is held is kept, however much it is.

    async def _delete(self, tenant: Tenant, ids: Sequence[str], session: Session) -> None:
        letters, bodies = self._in_transaction
        await letters.delete_many({"_id": {"$in": ids}, "tenant": str(tenant)}, session=session)
        await bodies.delete_many({"letter": {"$in": ids}}, session=session)
