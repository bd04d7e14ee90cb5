"""The worker: one process of all matches changes and delivers, by lease; the next one goes on where it was.

Two things go on side by side under the lease: changes are counted, tenant by tenant, and each subscription is
tended by a task of its own, so that a slow receiver delays nobody.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from api.outgoing.names import ASKER
from api.subscriptions.holders import app_of
from api.subscriptions.tended import Tended, remembered_max, state_of, until
from store.errors import ServiceError
from store.retention.runs import LeaseLost
from store.subscriptions.events import Overtaken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from api.subscriptions.counting import Counting
    from api.subscriptions.sending.delivery import Delivery, Ports
    from store.changes.changes import Position
    from store.subscriptions.events import Delivering
    from store.subscriptions.records import Subscription
    from store.tenancy import Tenant

LOG: Final = logging.getLogger("api.subscriptions")
LOOK_SECONDS: Final = 1.0
"""Longest time after which subscriptions that were made or changed are noticed."""
FAULT_SECONDS: Final = 1.0
"""Pause after the database was away."""
RENEWALS: Final = 4
"""Renewals of the lease within its time."""


class Worker:
    """Matches and delivers, while it has the lease."""

    def __init__(  # noqa: PLR0913 -- all but three keyword-only
        self,
        ports: Ports,
        counting: Counting,
        delivery: Delivery,
        *,
        clock: Callable[[], datetime],
        lease_seconds: float,
        linger_seconds: float,
    ) -> None:
        self._ports = ports
        self._counting = counting
        self._delivery = delivery
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._linger = linger_seconds
        self._tended: dict[str, Tended] = {}
        self._positions: dict[Tenant, Position] = {}
        self._some_went = False
        """Whether subscriptions were gone at the last look."""
        self._renewed = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work, whenever no other process does, until `stop`."""
        while not self._stopping.is_set():
            try:
                delivering = await self._ports.outbox.take()
                if delivering is not None:
                    await self._work(delivering)
            except ServiceError as error:
                LOG.warning("subscriptions wait", extra={"category": error.category.value})
                await self._rest(FAULT_SECONDS)
            except Exception:
                LOG.exception("subscriptions cannot be worked on")  # Our own defect: others may not have it.
                await self._rest(60 * FAULT_SECONDS)
            else:
                await self._rest(self._lease_seconds / RENEWALS)

    def stop(self) -> None:
        """End the work; another process may take over at once."""
        self._stopping.set()

    async def _work(self, delivering: Delivering) -> None:
        self._renewed = monotonic()
        self._ports.metrics.works(works=True)
        try:
            await self._under_lease(delivering)
        finally:
            await self._let_go()
            self._ports.metrics.works(works=False)
            with suppress(ServiceError):
                await delivering.release()

    async def _under_lease(self, delivering: Delivering) -> None:
        """Count, tend and renew until one of them ends."""
        self._positions = dict(await self._ports.outbox.positions())
        tasks = [
            asyncio.ensure_future(work)
            for work in (self._renew(delivering), self._count(delivering), self._stopping.wait())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                with suppress(LeaseLost):
                    one.result()
        finally:
            for one in tasks:
                one.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self, delivering: Delivering) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / RENEWALS)
            asked = monotonic()
            with suppress(ServiceError):  # Until the lease is over, the next one may do.
                await delivering.renew()
                self._renewed = asked
            if not self._holds():
                raise LeaseLost

    def _holds(self) -> bool:
        """Whether no other process can have taken over yet."""
        return monotonic() - self._renewed < self._lease_seconds

    # --- counting

    async def _count(self, delivering: Delivering) -> None:
        looked = -LOOK_SECONDS
        while True:
            if monotonic() - looked >= LOOK_SECONDS:
                await self._look()
                looked = monotonic()
            tenants = self._by_tenant()
            if not tenants:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            await self._counting.note(delivering, tenants.keys())
            positions = {tenant: self._position(tenant, some) for tenant, some in tenants.items()}
            if await self._joined(delivering, tenants, positions):
                continue
            for tenant in await self._ports.sources.changes.wait(positions, seconds=LOOK_SECONDS):
                await self._page(delivering, tenant, tenants[tenant], positions[tenant])

    async def _joined(
        self,
        delivering: Delivering,
        tenants: Mapping[Tenant, list[Subscription]],
        positions: Mapping[Tenant, Position],
    ) -> bool:
        """Bring new subscriptions up to the others of their tenants; whether there were any.

        A subscription is noticed some time after it was made: what was counted meanwhile it has missed.
        """
        new = [one for some in tenants.values() for one in some if not one.progress.joined]
        for one in new:
            with suppress(Overtaken):
                await self._counting.join(delivering, one, positions[one.tenant])
        if new:
            await self._look()
            for one in new:
                if one.name in self._tended:
                    self._tended[one.name].wake.set()
        return bool(new)

    async def _page(
        self, delivering: Delivering, tenant: Tenant, subscriptions: list[Subscription], before: Position
    ) -> None:
        noticed = {one.name: one for one in subscriptions}

        async def fresh() -> list[Subscription]:
            found = await self._ports.store.of_tenant(tenant, noticed)
            # Others are counted for once they are noticed, and have joined.
            return [one for one in found if one.name in noticed and one.counts and one.progress.joined]

        try:
            counted = await self._counting.page(delivering, tenant, fresh, before)
        except Overtaken:
            # Read too early, both may have been: before a commit that was not answered. Its events are not
            # among those that are remembered, and names that it took out may be.
            self._positions = dict(await self._ports.outbox.positions())
            self._forget(tenant)
            await self._look()
            return
        self._positions[tenant] = counted.position
        if counted.position.number < before.number:
            # Another history: there is no hurry, and perhaps the tenant leaves.
            await asyncio.sleep(FAULT_SECONDS)
        if counted.forgotten:
            self._forget(tenant)
        most = remembered_max(len(self._tended))
        for name, run in counted.events.items():
            known = self._tended.get(name)
            if known is not None:
                one = known.subscription
                progress = replace(one.progress, last=run.last)
                known.subscription = replace(one, progress=progress)
                known.remember(run, most)
                known.wake.set()

    def _forget(self, tenant: Tenant) -> None:
        """Remember no event of a tenant: they are read when they are sent."""
        for tended in self._tended.values():
            if tended.subscription.tenant == tenant:
                tended.recent.clear()

    def _position(self, tenant: Tenant, subscriptions: list[Subscription]) -> Position:
        """Place behind what was counted; where nobody listened meanwhile, that of the first who does now."""
        begin = min((one.start for one in subscriptions), key=lambda position: position.number)
        known = self._positions.get(tenant)
        return begin if known is None or known.number < begin.number else known

    def _by_tenant(self) -> Mapping[Tenant, list[Subscription]]:
        found: dict[Tenant, list[Subscription]] = {}
        for one in self._tended.values():
            if one.subscription.counts:
                found.setdefault(one.subscription.tenant, []).append(one.subscription)
        return found

    # --- tending

    async def _look(self) -> None:
        """Read all subscriptions: begin to tend new ones, wake those that changed, let go of deleted ones."""
        known = {name: tended.subscription for name, tended in self._tended.items()}
        found = {one.name: one for one in await self._ports.store.every(known)}
        if self._some_went:  # What their last steps wrote is there by now.
            await self._ports.outbox.tidy()
        gone = self._tended.keys() - found.keys()
        self._some_went = bool(gone)
        for name in gone:
            task = self._tended.pop(name).task
            if task is not None:
                task.cancel()
        for tenant in self._positions.keys() - {one.tenant for one in found.values()}:
            del self._positions[tenant]  # A tenant that left, and one of its name, have different histories.
        for name, one in found.items():
            tended = self._tended.get(name)
            # One that ends for want of its subscription may find another made under the same id.
            if tended is None or tended.task is None or tended.task.done():
                tended = self._tended[name] = Tended(one)
                tended.task = asyncio.ensure_future(self._tend(tended))
            else:
                if tended.subscription.created != one.created:
                    tended.recent.clear()
                tended.subscription = one
                if tended.seen != state_of(one):
                    tended.wake.set()
        circuits = self._ports.circuits.open(one for one in found.values() if one.sends)
        self._ports.metrics.measured(found.values(), self._clock(), circuits=circuits)

    async def _tend(self, tended: Tended) -> None:
        """Take one step after the other, each when it is due."""
        while True:
            tended.wake.clear()
            one = tended.subscription
            ASKER.set(app_of(one))
            due: float | None = FAULT_SECONDS
            began, least = monotonic(), 0.0
            try:
                fresh = await self._ports.store.fresh(one)
                if fresh is None:
                    return
                seen = tended.seen = state_of(fresh)
                if self._holds():
                    tended.forget_delivered(fresh.progress.delivered)
                    step = await self._delivery.step(fresh, tuple(tended.recent))
                    due = None if step.at is None else (step.at - self._clock()).total_seconds()
                    if step.sent:
                        # From its beginning: events that come at a steady pace wait no longer.
                        least = began + self._linger - monotonic()
                    if step.delivered is not None:  # What this process itself has noted is no news.
                        tended.seen = seen._replace(delivered=step.delivered, next_at=None)
            except ServiceError:
                pass  # The guard has counted it; the next step will do.
            except Exception:
                LOG.exception("a subscription could not be tended", extra={"tenant": str(one.tenant)})
                due = 60 * FAULT_SECONDS
            await until(tended.wake, due, least=least)

    async def _let_go(self) -> None:
        tasks = [one.task for one in self._tended.values() if one.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tended.clear()

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
