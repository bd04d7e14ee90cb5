"""Expired resources that stay nevertheless: held, or needed by something that stays.

Needs are walked upwards, from what may go to what needs it, and to what needs that (`store.retention.needs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import RESOURCES
from store.retention.needs import DEPTH_MAX, rank
from store.retention.runs import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database
    from store.retention.holds import Holds
    from store.tenancy import Tenant

PAGE: Final = 1_000
"""Needers looked at in one command."""
HELD_FIELDS: Final = {"type": 1, "was": 1, "id": 1, "keys": 1, "of": 1}
"""Fields that holds ask of a document."""
_NEEDER: Final = {**HELD_FIELDS, "needs": 1, "expires_at": 1}


class Needing:
    """Rules of what is still needed, asked by every stage that deletes resources."""

    def __init__(
        self,
        database: Database,
        holds: Holds,
        *,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        seconds: float,
    ) -> None:
        self._resources = majority(database, RESOURCES)
        self._holds = holds
        self._clock = clock
        self._metrics = metrics
        self._seconds = seconds

    async def held(self, tenant: Tenant, documents: Sequence[Mapping[str, Any]]) -> frozenset[str]:
        """`_id` of documents that a hold covers by itself."""
        if not documents:
            return frozenset()
        if await self._holds.whole_tenant(tenant, self._clock()):
            return frozenset(one["_id"] for one in documents)
        return await self._holds.held(tenant, documents, self._clock())

    async def whole_tenant(self, tenant: Tenant) -> bool:
        """Whether all of it is held."""
        return await self._holds.whole_tenant(tenant, self._clock())

    async def kept(
        self, tenant: Tenant, documents: Sequence[Mapping[str, Any]], as_of: datetime
    ) -> dict[str, Reason]:
        """Reasons for which expired current documents stay, by `_id`; those that go are left out."""
        kept = dict.fromkeys(await self.held(tenant, documents), Reason.HELD)
        below: dict[str, set[str]] = {}
        """`Type/id` → the documents whose fate depends on what needs it."""
        for one in documents:
            if one["_id"] not in kept and "type" in one and rank(one["type"]) > 0:
                below.setdefault(f"{one['type']}/{one['id']}", set()).add(one["_id"])
        for _ in range(DEPTH_MAX):
            if not below:
                break
            below = await self._above(tenant, below, as_of, kept)
        return kept

    async def _above(
        self, tenant: Tenant, below: Mapping[str, set[str]], as_of: datetime, kept: dict[str, Reason]
    ) -> dict[str, set[str]]:
        """A step towards the needers. Adds to `kept`; gives back what has to be asked next."""
        above: dict[str, set[str]] = {}
        wanted = {"tenant": str(tenant), "needs": {"$in": sorted(below)}}
        with guarded(self._metrics, "needing", seconds=self._seconds):
            cursor = self._resources.find(wanted, _NEEDER, hint="needing", batch_size=PAGE)
            while page := await cursor.to_list(PAGE):
                held = await self.held(tenant, [one for one in page if one["expires_at"] <= as_of])
                for needer in page:
                    reason = Reason.NEEDED if needer["expires_at"] > as_of else Reason.HELD
                    depending = {n for name in needer["needs"] for n in below.get(name, ())} - kept.keys()
                    if reason is Reason.NEEDED or needer["_id"] in held:
                        kept.update(dict.fromkeys(depending, reason))
                    elif depending and "type" in needer and rank(needer["type"]) > 0:
                        above.setdefault(f"{needer['type']}/{needer['id']}", set()).update(depending)
        return {name: left for name, ids in above.items() if (left := ids - kept.keys())}
