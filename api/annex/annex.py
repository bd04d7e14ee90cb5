"""The annex, as the process beside it sees it: begun when it is needed, looked after, ended when it is idle.

It is a further process of the same service on the same database. Whatever a body does to it, who sends small
ones is served as before; it costs what was under way in it, and another one is begun.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from typing_extensions import override

from api.annex.handed import FIELD_BYTES_MAX, HEADER, TENANT_HEADER, Handed
from api.annex.order import AnnexOrder, settings_of
from api.http.app_keys import DOORKEEPER, REGISTRY, SETTINGS
from api.http.large_bodies import ANNEX, Annex
from api.http.routing import ROLES, Group
from api.processes.beside import BESIDE, folder
from api.processes.children import Children
from api.processes.metrics import annex_metrics
from ingest.http.app_keys import AUDITED, TENANT
from ingest.http.body import BODY, let_go
from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from api.processes.child import Child
    from api.processes.families import Row
    from api.processes.metrics import ProcessMetrics
    from api.settings.service import Settings

LOG: Final = logging.getLogger("api.annex")
READY_SECONDS: Final = 60.0
"""Time that it may take to start."""
IDLE_SECONDS: Final = 300.0
"""Time without a large body after which it ends."""
STEADY_SECONDS: Final = 30.0
"""Life of an annex that needs no pause before the next one."""
PAUSE_SECONDS: Final = (0.5, 5.0)
"""Shortest and longest pause; it doubles from one to the next."""
LOOK_SECONDS: Final = 1.0
"""Pause between two looks whether it answers."""
END_SECONDS: Final = 5.0
"""Time that it may take to end: all requests of the process beside it have."""
PART_BYTES: Final = 131_072
_DROPPED: Final = frozenset({"content-length", "transfer-encoding", "connection", "date", "server"})
"""Header fields of its answer that are said anew."""
_NONE: Final = Issue(
    "transient", "the process for large bodies is not there; nothing was stored, try again shortly"
)
_GONE: Final = Issue(
    "transient",
    "the process for large bodies ended meanwhile, and whether it had stored this is not known: send it"
    " again, with the same `Idempotency-Key` if it had one",
)


class Running:
    """An annex that runs, and the way to it."""

    def __init__(self, child: Child, work: str) -> None:
        self.child = child
        self.under_way = 0
        self.used_at = asyncio.get_running_loop().time()
        self.is_dismissed = False
        self.looking: asyncio.Task[None] | None = None
        """Task that looks after it, once it is ready."""
        # A connection for each request: one that is kept may be closed just when it is used again.
        connector = aiohttp.UnixConnector(work, limit=0, force_close=True)
        self.client = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.USER_AGENT),
            max_field_size=FIELD_BYTES_MAX,
        )

    async def ask(self, header: str, body: bytearray) -> web.Response:
        """Answer of the annex. Raises aiohttp's ClientError when it ends meanwhile."""
        headers = {HEADER: header, hdrs.CONTENT_LENGTH: str(len(body))}
        self.under_way += 1
        try:
            async with self.client.post("http://annex/", headers=headers, data=_parts(body)) as said:
                content = await said.read()
        finally:
            self.under_way -= 1
            self.used_at = asyncio.get_running_loop().time()
        kept = CIMultiDict((n, v) for n, v in said.headers.items() if n.lower() not in _DROPPED)
        return web.Response(status=said.status, headers=kept, body=content)


async def _parts(body: bytearray) -> AsyncIterator[memoryview]:
    with memoryview(body) as whole:
        for start in range(0, len(whole), PART_BYTES):
            yield whole[start : start + PART_BYTES]


class LargeBodies(Annex):
    """Begins the annex, hands over, looks after it."""

    def __init__(self, settings: Settings, uri: str, folder: Path, metrics: ProcessMetrics) -> None:
        self._settings = settings_of(settings)
        self._uri = uri
        self._metrics = metrics
        self._children = Children(folder)
        self._begun: asyncio.Task[Running] | None = None
        self._running: list[Running] = []
        self._keeping: set[asyncio.Task[None]] = set()
        self._pause = 0.0
        self._not_before = 0.0
        self._is_over = False
        metrics.running.set_function(lambda: len(self._children.running))

    @override
    def foresee(self) -> None:
        if self._begun is None and asyncio.get_running_loop().time() >= self._not_before:
            self._begun = detached(self._begin())
            # Told to whoever waits, if anybody does.
            self._begun.add_done_callback(asyncio.Task.exception)

    @override
    async def answer(self, request: web.Request) -> web.Response:
        body = request[BODY]
        header = Handed.of(request, len(body)).header()
        let_go(request)  # Its room is kept until it is answered.
        self.foresee()
        if self._begun is None:
            raise ServiceError(Category.UNAVAILABLE, _NONE)
        running = await asyncio.shield(self._begun)
        try:
            response = await running.ask(header, body)
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, FileNotFoundError):
                LOG.warning("the socket of the process for large bodies is gone: it is ended")
                running.child.tell(signal.SIGKILL)
            raise ServiceError(Category.UNAVAILABLE, _NONE) from None
        except (aiohttp.ClientError, ConnectionError):
            raise ServiceError(Category.UNAVAILABLE, _GONE) from None
        if AUDITED in request:
            request[AUDITED].is_told()
        tenant = response.headers.pop(TENANT_HEADER, None)
        if tenant is not None and TENANT not in request:
            settings = await request.app[DOORKEEPER].tenant(parse_tenant(tenant))
            if settings is not None:
                request[TENANT] = settings
        return response

    @override
    async def rows(self) -> list[Iterable[Row]]:
        return await self._children.rows()

    async def close(self) -> None:
        """End it; nobody waits for its answers any more."""
        self._is_over, begun = True, self._begun
        for one in self._running:
            self._dismiss(one)
        ends = {*self._keeping, *(() if begun is None else (begun,))}
        if ends:  # One that begins waits for the database, which may be away.
            await asyncio.wait(ends, timeout=END_SECONDS)
            for one in self._running:
                one.child.tell(signal.SIGKILL)
            await asyncio.gather(*ends, return_exceptions=True)
            await asyncio.gather(*self._keeping)

    # --- its life

    async def _begin(self) -> Running:
        """Start it. Raises ServiceError `unavailable` when it cannot be started."""
        place = self._children.place()
        order = AnnexOrder(self._settings, self._uri, admin=f"{place}.admin", work=f"{place}.work")
        try:
            running = Running(await self._children.begin(order), order.work)
        except Exception:  # No memory, no process, no file descriptor left.
            LOG.exception("the process for large bodies could not be started")
            self._put_off(0.0)
            raise ServiceError(Category.UNAVAILABLE, _NONE) from None
        self._running.append(running)
        if self._is_over:
            self._dismiss(running)
            running.child.tell(signal.SIGKILL)  # Nobody has handed it anything.
        kept = detached(self._kept(running))
        self._keeping.add(kept)
        kept.add_done_callback(self._keeping.discard)
        if not await running.child.ready(READY_SECONDS):
            running.child.tell(signal.SIGKILL)
            raise ServiceError(Category.UNAVAILABLE, _NONE)
        running.looking = asyncio.ensure_future(self._look_after(running))
        LOG.info("began the process for large bodies")
        return running

    async def _kept(self, running: Running) -> None:
        """Wait for its end, and keep what it has counted."""
        child = running.child
        code = await child.ended()
        if running.looking is not None:
            running.looking.cancel()
        self._running.remove(running)
        if not running.is_dismissed:
            LOG.error("the process for large bodies ended by itself", extra={"status": code})
            self._put_off(asyncio.get_running_loop().time() - child.started)
        self._metrics.ended(dismissed=running.is_dismissed, code=code)
        await self._children.gone(child)
        await running.client.close()

    async def _look_after(self, running: Running) -> None:
        """Kill it when it has stood still for long; end it when nobody has needed it for long."""
        loop = asyncio.get_running_loop()
        while running.child.is_running and not running.is_dismissed:
            await asyncio.sleep(LOOK_SECONDS)
            if await running.child.is_stuck():
                LOG.error("the process for large bodies does not answer and is ended")
                running.child.tell(signal.SIGKILL)
            elif not running.under_way and loop.time() - running.used_at > IDLE_SECONDS:
                await running.child.rows()
                if not running.under_way:
                    self._dismiss(running)

    def _dismiss(self, running: Running) -> None:
        running.is_dismissed = True
        self._begun = None
        running.child.dismiss()

    def _put_off(self, lived: float) -> None:
        """Begin another one for a large body that comes after a pause."""
        self._begun = None
        shortest, longest = PAUSE_SECONDS
        self._pause = shortest if lived > STEADY_SECONDS else min(longest, max(shortest, self._pause * 2))
        self._not_before = asyncio.get_running_loop().time() + self._pause


@asynccontextmanager
async def annexed(app: web.Application, uri: str) -> AsyncIterator[None]:
    """The application, with its large bodies handed over, as its settings say. Its requests end before."""
    settings = app[SETTINGS]
    if not settings.large_body_bytes or Group.WRITE not in ROLES[settings.role]:
        yield
        return
    with folder() as place:
        if place is None:
            yield
            return
        metrics = annex_metrics(app[REGISTRY])
        app[ANNEX] = bodies = LargeBodies(settings, uri, place, metrics)
        app.setdefault(BESIDE, []).append(bodies)
        try:
            yield
        finally:
            await bodies.close()
