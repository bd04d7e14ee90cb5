"""Worker of `dod serve --workers`: a service on the sockets and the database of its supervisor.

`python -m api.workers.worker`, started by the supervisor alone. It ends as a service does, at SIGTERM after
its drain, at SIGINT without, at SIGHUP because another one has its place; and when its standard input ends,
because the supervisor is gone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NoReturn

from aiohttp import web
from typing_extensions import override

from api.app import ALL_DUTIES, NO_DUTIES
from api.database import Database, database
from api.health import families
from api.processes.families import FAMILIES
from api.serve import Sites, Stop, serving
from api.server.connection_limits import limits_of, raise_files
from api.server.event_loop import run
from api.server.logs import configure_logging
from api.server.runner import shaking_hands
from api.settings.service import load_settings
from api.workers.order import WorkOrder, divided
from ingest.accepting import let_wait
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.server.tls import ReloadingContext
    from api.settings.service import Settings

ACCEPTED_AT_ONCE: Final = 1
"""Connections accepted before others get a turn of the loop: a busy worker leaves them to the rest."""


HANDED_OVER_SECONDS: Final = 1.0
"""Time in which a worker whose place another has tells the clients that it had to connect anew."""


async def work(order: WorkOrder, settings: Settings) -> None:
    """Serve until a signal, or until the supervisor is gone."""
    configure_logging(settings.log_level)
    limits = limits_of(settings, files=raise_files())
    listener = _Listener(order, handshake_seconds=settings.head_seconds)
    sites = Sites(listener.admin, listener.fhir, [web.get(FAMILIES, families)])
    with Stop(settings.drain_seconds, SIGHUP=HANDED_OVER_SECONDS) as stop:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _supervisor_gone)
        async with (
            _mongodb(settings, order.uri) as mongodb,
            serving(
                settings,
                stop,
                limits,
                mongodb,
                sites,
                duties=ALL_DUTIES if order.is_timekeeper else NO_DUTIES,
            ) as service,
        ):
            await service.ended()


@asynccontextmanager
async def _mongodb(settings: Settings, uri: str | None) -> AsyncIterator[Database]:
    """The database that the supervisor looks after, or that of the settings."""
    if uri is not None:
        yield Database(uri)
        return
    async with database(settings, role="serve") as named:
        yield named


class _SharedSite(web.SockSite):
    """A site of aiohttp's on a socket, whose handshakes have a deadline of ours."""

    __slots__ = ("handshake_seconds",)

    handshake_seconds: float

    @override
    async def start(self) -> None:
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None  # noqa: S101 -- the runner is set up
        self._server = await asyncio.get_running_loop().create_server(
            shaking_hands(server, self._ssl_context, self.handshake_seconds),
            sock=self._sock,
            backlog=self._backlog,
        )


class _Listener:
    """The sockets of a worker."""

    def __init__(self, order: WorkOrder, *, handshake_seconds: float) -> None:
        self._order = order
        self._handshake_seconds = handshake_seconds

    async def fhir(self, runner: web.AppRunner, *, secured: ReloadingContext | None) -> str:
        """Accept connections on the sockets that all workers share."""
        for descriptor in self._order.listening:
            shared = socket.socket(fileno=descriptor)
            site = _SharedSite(runner, shared, backlog=ACCEPTED_AT_ONCE, ssl_context=secured)
            site.handshake_seconds = self._handshake_seconds
            await site.start()
            let_wait([shared])
        return self._order.url

    async def admin(self, runner: web.AppRunner, *, secured: ReloadingContext | None) -> str:  # noqa: ARG002
        """Answer the supervisor."""
        await web.UnixSite(runner, self._order.admin).start()
        return self._order.admin


def _supervisor_gone() -> None:
    """Standard input has ended: nothing else ever comes on it."""
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> NoReturn:
    """Take the order and work."""
    order = WorkOrder.read(sys.stdin.buffer.readline())
    try:
        settings = divided(load_settings(**order.options), order.workers)
        run(work(order, settings), event_loop=settings.event_loop)
    except StartupError as error:
        sys.exit(str(error))
    sys.exit(0)


if __name__ == "__main__":
    main()
