"""`Changes` on MongoDB: blocks read by number, and waiting for the next one."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from typing_extensions import override

from store.changes.changes import Change, ChangePage, Changes, Position, PositionLost
from store.detached import detached
from store.errors import ServiceError
from store.mongo.changes.blocks import behind, changes_in, position_in
from store.mongo.driver.client import majority
from store.mongo.driver.gathering import Gathering
from store.mongo.driver.guard import guarded
from store.mongo.indexes import CHANGE_STATE, CHANGES, RESOURCES
from store.resources.resource_keys import ResourceKey
from store.search.planning.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database
    from store.settings import StoreSettings
    from store.tenancy import Tenant

LOG: Final = logging.getLogger("store.changes")
AT_ONCE: Final = 16
"""Blocks that come together: there are few changes in each while little happens, and many in a flood."""
TOGETHER_MAX: Final = 100
"""Most questions that are asked together, each for the resources of one notification."""
LOOK_SECONDS: Final = 0.2
"""Pause between two looks whether there is something new, while somebody waits for it."""


class MongoChanges(Changes):
    """Change feed of one database: pages of changes, and waiting for the next one."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._seconds = settings.store_timeout_seconds
        self._blocks = majority(database, CHANGES)
        self._state = majority(database, CHANGE_STATE)
        self._resources = majority(database, RESOURCES)
        self._waiting: dict[asyncio.Future[frozenset[Tenant]], Mapping[Tenant, Position]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._there: Gathering[Collection[str], frozenset[str]] = Gathering(self._there_of, most=TOGETHER_MAX)

    @override
    async def head(self, tenant: Tenant) -> Position:
        with guarded(self._metrics, "change_head", seconds=self._seconds):
            return position_in(await self._state.find_one({"_id": str(tenant)}))

    @override
    async def read(self, tenant: Tenant, after: Position, *, limit: int) -> ChangePage:
        page = await self._read(tenant, after, limit)
        if page is not None:
            return page
        head = await self.head(tenant)
        if head.number > after.number:  # They came between the two looks, or have been forgotten.
            page = await self._read(tenant, after, limit)
            if page is not None:
                return page
        if head.number != after.number or _differ(head, after):
            raise PositionLost
        return ChangePage((), head)

    async def _read(self, tenant: Tenant, after: Position, limit: int) -> ChangePage | None:
        """Changes behind a position; None: there are none. Raises PositionLost."""
        # The block of the position comes along: its mark tells whether it is the same history.
        wanted = {"tenant": str(tenant), "last": {"$gte": after.number}}
        with guarded(self._metrics, "changes", seconds=self._seconds):
            cursor = self._blocks.find(wanted, sort=[("last", 1)], limit=limit + 1, hint="numbers")
            changes: list[Change] = []
            async for block in cursor.batch_size(AT_ONCE):
                if block["first"] <= after.number and _differ(behind(block), after):
                    raise PositionLost
                changes += [one for one in changes_in(block) if one.number > after.number]
                if len(changes) >= limit:
                    break
            await cursor.close()
        if not changes:
            return None
        if changes[0].number != after.number + 1:
            raise PositionLost
        del changes[limit:]
        return ChangePage(tuple(changes), changes[-1].position)

    @override
    async def readable(self, tenant: Tenant, keys: Collection[ResourceKey]) -> frozenset[ResourceKey]:
        owner = str(tenant)
        names = {document_id(owner, *key): key for key in keys}
        if not names:
            return frozenset()
        there = await self._there.ask(names)
        return frozenset(key for name, key in names.items() if name in there)

    async def _there_of(self, asked: Sequence[Collection[str]]) -> list[frozenset[str]]:
        """Names that are there, of all that are asked for: the same for each who asks."""
        names = {name for some in asked for name in some}
        wanted = {"_id": {"$in": sorted(names)}, "expires_at": {"$gt": self._clock()}}
        with guarded(self._metrics, "readable", seconds=self._seconds):
            found = await self._resources.find(wanted, {"_id": 1}).to_list(None)
        return [frozenset(one["_id"] for one in found)] * len(asked)

    # --- waiting

    @override
    async def wait(self, after: Mapping[Tenant, Position], *, seconds: float) -> frozenset[Tenant]:
        future: asyncio.Future[frozenset[Tenant]] = asyncio.get_running_loop().create_future()
        self._waiting[future] = dict(after)
        if self._looking is None or self._looking.done():
            self._looking = detached(self._look())
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return frozenset()
        finally:
            self._waiting.pop(future, None)

    async def _look(self) -> None:
        """Ask for all who wait, as long as anybody does."""
        while self._waiting:
            try:
                await self._tell()
            except ServiceError:
                pass  # Counted by the guard; whoever waits does so until its time is up.
            except Exception:
                LOG.exception("it could not be asked what changed; it is tried again")
            self._news.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), LOOK_SECONDS)

    async def _tell(self) -> None:
        names = sorted({str(tenant) for after in self._waiting.values() for tenant in after})
        with guarded(self._metrics, "change_heads", seconds=self._seconds):
            found = await self._state.find({"_id": {"$in": names}}).to_list(None)
        heads: dict[str, Mapping[str, Any]] = {one["_id"]: one for one in found}
        for future, after in list(self._waiting.items()):
            moved = frozenset(
                tenant
                for tenant, position in after.items()
                if position_in(heads.get(str(tenant))).number != position.number
            )
            if moved and not future.done():
                future.set_result(moved)

    @override
    def wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(frozenset())

    def told(self) -> None:
        """Look at once: this process has put something into the feed."""
        self._news.set()

    async def stop(self) -> None:
        """Wait for nothing any more."""
        task, self._looking = self._looking, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _differ(one: Position, other: Position) -> bool:
    """Whether two positions are of different histories, as far as their marks say."""
    return bool(one.mark and other.mark) and one.mark != other.mark
