"""The workers of a service: begun, kept alive, replaced one after another, ended together."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Final

from api.workers.order import WorkOrder
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from api.processes.child import Child
    from api.processes.children import Children
    from api.processes.families import Row
    from api.workers.metrics import SupervisorMetrics

LOG: Final = logging.getLogger("api.workers")
READY_SECONDS: Final = 120.0
"""Time that a worker may take to be ready, beyond the wait for the database; then a reload is broken off."""
STEADY_SECONDS: Final = 10.0
"""A worker that ends sooner is replaced only after a pause."""
PAUSE_SECONDS: Final = (0.1, 10.0)
"""Shortest and longest pause before a worker is replaced; it doubles from one to the next."""
LOOK_SECONDS: Final = 1.0
"""Pause between two looks whether each worker answers."""


class FleetPlan:
    """Plan that all workers of a service are told alike."""

    def __init__(
        self,
        *,
        options: Mapping[str, Any],
        uri: str | None,
        listening: tuple[int, ...],
        url: str,
        workers: int,
    ) -> None:
        self.url = url
        self.workers = workers
        self._alike: dict[str, Any] = {
            "options": options,
            "uri": uri,
            "listening": listening,
            "url": url,
            "workers": workers,
        }

    def order(self, index: int, admin: str) -> WorkOrder:
        """The order of the next worker at this place; the first place has the jobs on a timer."""
        return WorkOrder(**self._alike, admin=admin, is_timekeeper=index == 0)


class Place:
    """Place that the fleet keeps filled with a worker."""

    def __init__(self, fleet: Fleet, index: int, first: Child) -> None:
        self.current = first
        self._fleet = fleet
        self._index = index
        self._changing = asyncio.Lock()
        self._pause = PAUSE_SECONDS[0]

    async def kept(self) -> None:
        """Replace the worker each time it ends by itself, until the fleet ends."""
        while True:
            worker = self.current
            code = await worker.ended()
            async with self._changing:
                if worker is not self.current:
                    continue  # Replaced on purpose.
                await self._fleet.gone(worker)
                if self._fleet.ending:
                    return
                LOG.error("a worker ended by itself", extra={"worker": self._index, "status": code})
                self._fleet.metrics.ended("killed" if code < 0 else "exited")
                self.current = await self._another(self._next_pause(worker))

    async def _another(self, pause: float) -> Child:
        """A worker begun after a pause; what may have ended the last one may keep the next from starting."""
        while True:
            await asyncio.sleep(pause)
            try:
                return await self._fleet.begin(self._index)
            except Exception:  # No memory, no process, no file descriptor left.
                LOG.exception("a worker could not be started; it is tried again")
            pause = min(PAUSE_SECONDS[1], pause * 2)

    def _next_pause(self, worker: Child) -> float:
        shortest, longest = PAUSE_SECONDS
        lived = asyncio.get_running_loop().time() - worker.started
        self._pause = shortest if lived > STEADY_SECONDS else min(longest, self._pause * 2)
        return self._pause

    async def renewed(self, seconds: float) -> bool:
        """Put a new worker in the place, then end the old one; whether the new one got ready."""
        async with self._changing:
            try:
                fresh = await self._fleet.begin(self._index)
            except Exception:
                LOG.exception("a worker could not be started")
                return False
            if not await fresh.ready(seconds):
                fresh.tell(signal.SIGKILL)
                await fresh.ended()
                await self._fleet.gone(fresh)
                return False
            old, self.current = self.current, fresh
            old.tell(signal.SIGHUP)  # No whole drain: the address stays, so no balancer has to notice.
            await old.ended()
            await self._fleet.gone(old)
            self._fleet.metrics.ended("replaced")
            return True


class Fleet:
    """All workers."""

    def __init__(
        self, plan: FleetPlan, children: Children, metrics: SupervisorMetrics, *, start_seconds: float
    ) -> None:
        self.metrics = metrics
        self.ending = False
        self._plan = plan
        self._children = children
        self._ready_seconds = start_seconds + READY_SECONDS
        self._places: list[Place] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def size(self) -> int:
        """Number of workers that run."""
        return len(self._children.running)

    async def start(self) -> None:
        """Begin all workers; return when the first is ready. Raises StartupError when it cannot get ready.

        One goes first: what is wrong with the database, or an index that is missing, concerns them all.
        """
        first = await self.begin(0)
        if not await first.ready(self._ready_seconds) and not self.ending:
            raise StartupError("No worker could start; what it said is above.")
        children = [first, *[await self.begin(index) for index in range(1, self._plan.workers)]]
        self._places = [Place(self, index, child) for index, child in enumerate(children)]
        self._tasks = [asyncio.create_task(place.kept()) for place in self._places]
        self._tasks.append(asyncio.create_task(self._watch()))

    async def reload(self) -> None:
        """Replace all workers, one after another. They read settings and code anew."""
        LOG.info("replacing the workers")
        for place in self._places:
            if self.ending:
                return
            if not await place.renewed(self._ready_seconds):
                LOG.error("a new worker did not get ready; the others stay as they are")
                self.metrics.reloaded(complete=False)
                return
        self.metrics.reloaded(complete=True)
        LOG.info("replaced the workers")

    def tell(self, number: signal.Signals) -> None:
        """Hand a signal that asks to end on to all workers; no worker is replaced from now on."""
        self.ending = True
        for child in self._children.running:
            child.tell(number)

    async def over(self, seconds: float) -> None:
        """Wait until all workers have ended; kill what has not after so many seconds."""
        if not self.ending:  # No signal has come: something failed.
            self.tell(signal.SIGINT)
        waiting = [asyncio.ensure_future(child.ended()) for child in self._children.running]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        for child in self._children.running:
            child.tell(signal.SIGKILL)
        await asyncio.gather(*waiting)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for child in self._children.running:
            await child.closed()

    async def begin(self, index: int) -> Child:
        """Start a worker at this place."""
        child = await self._children.begin(self._plan.order(index, f"{self._children.place()}.sock"))
        if self.ending:  # The signal came while it was being started.
            child.tell(signal.SIGTERM)
        return child

    async def gone(self, child: Child) -> None:
        """Keep what a worker that has ended has counted."""
        await self._children.gone(child)

    async def states(self) -> list[dict[str, Any]]:
        """State of each worker."""
        return await asyncio.gather(*[child.state() for child in self._children.running])

    async def rows(self) -> list[Iterable[Row]]:
        """The metrics of each worker, and of those that have ended."""
        return await self._children.rows()

    async def _watch(self) -> None:
        """Kill what has stood still for long; its place is filled again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except Exception:
                LOG.exception("the workers could not be asked how they are; it is tried again")

    async def _look(self) -> None:
        children = [place.current for place in self._places]
        stuck = await asyncio.gather(*[child.is_stuck() for child in children])
        for child, is_stuck in zip(children, stuck, strict=True):
            if is_stuck and child.is_running and not self.ending:
                LOG.error("a worker does not answer and is replaced")
                child.tell(signal.SIGKILL)
