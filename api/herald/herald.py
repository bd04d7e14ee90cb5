"""The herald, as the process beside it sees it: begun with the first subscription, looked after, begun anew
when it ends by itself.

Matching and delivering take the interpreter that pushes need. Whatever becomes of it, all that it does is on
record step by step and under a lease: who comes next goes on there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from typing_extensions import override

from api.background.herald import HERALD, Herald
from api.herald.order import HeraldOrder, settings_of
from api.http.app_keys import REGISTRY, SETTINGS
from api.processes.beside import BESIDE, folder
from api.processes.children import Children
from api.processes.metrics import herald_metrics
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
    from pathlib import Path

    from aiohttp import web

    from api.processes.child import Child
    from api.processes.families import Row
    from api.processes.metrics import ProcessMetrics
    from api.settings.service import Settings

T = TypeVar("T")
LOG: Final = logging.getLogger("api.herald")
LOOK_SECONDS: Final = 1.0
"""Pause between two looks whether it is needed, or whether it answers."""
READY_SECONDS: Final = 60.0
"""Time that it may take to start."""
IDLE_SECONDS: Final = 300.0
"""Time without a subscription after which it ends."""
STEADY_SECONDS: Final = 30.0
"""Life of a herald that needs no long pause before the next one."""
PAUSE_MAX: Final = 30.0
"""Longest pause, in seconds; it doubles from one to the next."""
END_SECONDS: Final = 5.0
"""Time that it may take to end."""


class HeraldProcess(Herald):
    """Begins it, looks after it, ends it."""

    def __init__(self, settings: Settings, uri: str, place: Path, metrics: ProcessMetrics) -> None:
        self._settings = settings_of(settings)
        self._uri = uri
        self._metrics = metrics
        self._children = Children(place)
        self._is_ready = False
        self._over = asyncio.Event()
        self._free: Callable[[int], Awaitable[None]] = _nothing_to_free
        metrics.running.set_function(lambda: len(self._children.running))

    @override
    def is_there(self) -> bool:
        return self._is_ready

    async def rows(self) -> list[Iterable[Row]]:
        """All that heralds counted, for `/metrics`."""
        return await self._children.rows()

    @override
    @asynccontextmanager
    async def kept(
        self, is_needed: Callable[[], Awaitable[bool]], free: Callable[[int], Awaitable[None]]
    ) -> AsyncIterator[None]:
        self._free = free
        keeping = asyncio.ensure_future(self._keep(is_needed))
        try:
            yield
        finally:
            self._over.set()
            await keeping

    # --- its life

    async def _keep(self, is_needed: Callable[[], Awaitable[bool]]) -> None:
        """Have one while it is needed."""
        pause = LOOK_SECONDS
        while not self._over.is_set():
            try:
                if await self._said(is_needed, before=False):
                    lived = await self._have_one(is_needed)
                    pause = LOOK_SECONDS if lived > STEADY_SECONDS else min(PAUSE_MAX, 2 * pause)
            except Exception:
                LOG.exception("the process that tells subscribers could not be kept; it is tried again")
                pause = PAUSE_MAX
            await self._rest(pause)

    async def _have_one(self, is_needed: Callable[[], Awaitable[bool]]) -> float:
        """Begin one, and look after it until its end; the seconds that it lived."""
        order = HeraldOrder(self._settings, self._uri, admin=f"{self._children.place()}.admin")
        try:
            child = await self._children.begin(order)
        except Exception:  # No memory, no process, no file descriptor left.
            LOG.exception("the process that tells subscribers could not be started")
            return 0.0
        try:
            if await self._until_ready(child):
                LOG.info("began the process that tells subscribers")
                self._is_ready = True
                await self._look_after(child, is_needed)
        finally:
            self._is_ready = False
            await self._end(child)
        return asyncio.get_running_loop().time() - child.started

    async def _until_ready(self, child: Child) -> bool:
        """Wait until it works; False: it ended, took too long, or is needed no more."""
        ready = asyncio.ensure_future(child.ready(READY_SECONDS))
        over = asyncio.ensure_future(self._over.wait())
        await asyncio.wait({ready, over}, return_when=asyncio.FIRST_COMPLETED)
        for one in (ready, over):
            one.cancel()
        await asyncio.gather(ready, over, return_exceptions=True)
        return not ready.cancelled() and ready.result()

    async def _look_after(self, child: Child, is_needed: Callable[[], Awaitable[bool]]) -> None:
        """Return when it has ended, has stood still for long, or nobody has needed it for long."""
        loop = asyncio.get_running_loop()
        needed_at = loop.time()
        while child.is_running and not self._over.is_set():
            await self._rest(LOOK_SECONDS, child)
            if await child.is_stuck():
                LOG.error("the process that tells subscribers does not answer and is ended")
                child.tell(signal.SIGKILL)
                await child.ended()
            elif await self._said(is_needed, before=True):
                needed_at = loop.time()
            elif loop.time() - needed_at > IDLE_SECONDS:
                return

    async def _end(self, child: Child) -> None:
        """Have it end, if it has not, and keep what it has counted."""
        by_itself = not child.is_running
        if not by_itself:
            await child.rows()
            child.dismiss()
        try:
            code = await asyncio.wait_for(child.ended(), END_SECONDS)
        except TimeoutError:
            child.tell(signal.SIGKILL)
            code = await child.ended()
        if by_itself:
            LOG.error("the process that tells subscribers ended by itself", extra={"status": code})
        self._metrics.ended(dismissed=not by_itself, code=code)
        await self._children.gone(child)
        if by_itself:  # While the database is away, its leases end by themselves.
            await self._answer(self._free(child.pid))

    async def _rest(self, seconds: float, child: Child | None = None) -> None:
        """Wait so long, or until the end of the service or of this process."""
        ends: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._over.wait())]
        if child is not None:
            ends.append(asyncio.ensure_future(child.ended()))
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for one in ends:
            one.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    async def _said(self, is_needed: Callable[[], Awaitable[bool]], *, before: bool) -> bool:
        """Whether it is needed; as `before` while the database does not say."""
        said = await self._answer(is_needed())
        return before if said is None else said

    async def _answer(self, question: Awaitable[T]) -> T | None:
        """Answer of the database; None: it does not say. The end waits for none."""
        asked, over = asyncio.ensure_future(question), asyncio.ensure_future(self._over.wait())
        await asyncio.wait({asked, over}, return_when=asyncio.FIRST_COMPLETED)
        for one in (asked, over):
            one.cancel()
        [said, _] = await asyncio.gather(asked, over, return_exceptions=True)
        if isinstance(said, ServiceError | asyncio.CancelledError):
            return None
        if isinstance(said, BaseException):
            raise said
        return said


async def _nothing_to_free(_: int) -> None:
    """Do nothing: none was kept yet."""


@contextmanager
def heralded(app: web.Application, uri: str) -> Iterator[None]:
    """The application, with the change feed and subscribers left to a herald, as its settings say."""
    settings = app[SETTINGS]
    if settings.role != "all" or not (settings.subscription_process and settings.changes_look_seconds):
        yield
        return
    with folder() as place:
        if place is not None:
            metrics = herald_metrics(app[REGISTRY])
            app[HERALD] = process = HeraldProcess(settings, uri, place, metrics)
            app.setdefault(BESIDE, []).append(process)
        yield
