"""`dod serve --workers`: one supervisor, several processes on one address.

The supervisor has the listening sockets, the embedded MongoDB and the admin endpoint, and serves no client.
SIGTERM and SIGINT end all workers as they end a service of one process; SIGHUP replaces them one by one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from api.database import database
from api.health import add_probes, livez, shared
from api.middleware.answer_headers import say_server
from api.processes.children import Children
from api.processes.families import joined
from api.serve import Stop, listen, new_runner, start_fields
from api.server.logs import configure_logging
from api.workers.addresses import listening_on, url_of
from api.workers.fleet import Fleet, FleetPlan
from api.workers.metrics import Start, SupervisorMetrics
from api.workers.order import count_of
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from api.database import Database
    from api.settings.service import Settings

LOG: Final = logging.getLogger("api.workers")
END_SECONDS: Final = 15.0
"""Time that workers may take to end beyond their drain and their shutdown."""


async def supervise(settings: Settings, options: Mapping[str, Any]) -> None:
    """Serve with workers until a signal asks to stop. `options` are those given on the command line."""
    configure_logging(settings.log_level)
    with Stop(settings.drain_seconds) as stop, ExitStack() as stack:
        listening = listening_on(settings.host, settings.port)
        for one in listening:
            stack.callback(one.close)
        children = Children(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dod-"))))
        async with database(settings, role="serve") as mongodb:
            plan = FleetPlan(
                options=options,
                uri=None if settings.mongodb_uri is not None else mongodb.uri,
                listening=tuple(one.fileno() for one in listening),
                url=url_of(listening, settings.host, is_secured=settings.tls_certificate is not None),
                workers=count_of(settings),
            )
            async with _served(settings, plan, children, stop) as fleet:
                await _until_stopped(fleet, mongodb, stop)
    LOG.info("stopped")


@asynccontextmanager
async def _served(
    settings: Settings, plan: FleetPlan, children: Children, stop: Stop
) -> AsyncIterator[Fleet]:
    """The workers and the admin endpoint; on the way out the workers end first, so that probes see it."""
    registry = CollectorRegistry()
    registry.register(Start())
    metrics = SupervisorMetrics(registry)
    fleet = Fleet(plan, children, metrics, start_seconds=settings.startup_seconds)
    metrics.running(lambda: fleet.size)
    admin = await new_runner(_admin_app(fleet, registry), settings)
    try:
        admin_url = await listen(admin, settings.admin_host, settings.admin_port, option="--admin-port")
        stop.first.add_done_callback(lambda first: fleet.tell(signal.Signals(first.result())))
        try:
            await fleet.start()
            if not fleet.ending:
                LOG.info("listening", extra=start_fields(settings, plan.url, admin_url))
                stop.started()
            yield fleet
        finally:
            again = asyncio.create_task(_hand_on(fleet, stop))
            await fleet.over(settings.drain_seconds + settings.shutdown_seconds + END_SECONDS)
            again.cancel()
    finally:
        await admin.cleanup()


async def _until_stopped(fleet: Fleet, mongodb: Database, stop: Stop) -> None:
    """Reload at each SIGHUP, until a signal. Raises StartupError when the embedded MongoDB ends before."""
    loop = asyncio.get_running_loop()
    hangups = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangups.set)
    reloading = asyncio.create_task(_reload_at(fleet, hangups))
    ends: set[asyncio.Future[Any]] = {stop.first}
    if mongodb.exited is not None:
        ends.add(mongodb.exited)
    try:
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not stop.first.done():
            LOG.error("the embedded MongoDB ended by itself")
            fleet.tell(signal.SIGINT)
            raise StartupError(mongodb.obituary())
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        reloading.cancel()
        with suppress(asyncio.CancelledError):
            await reloading


async def _reload_at(fleet: Fleet, hangups: asyncio.Event) -> None:
    while True:
        await hangups.wait()
        hangups.clear()
        try:
            await fleet.reload()
        except Exception:
            LOG.exception("the workers could not be replaced; SIGHUP tries again")
            fleet.metrics.reloaded(complete=False)


async def _hand_on(fleet: Fleet, stop: Stop) -> None:
    """Hand further signals on: each ends the wait that a worker is in."""
    while True:
        await stop.again.wait()
        stop.again.clear()
        fleet.tell(signal.SIGTERM)


def _admin_app(fleet: Fleet, registry: CollectorRegistry) -> web.Application:
    """The admin endpoint of the whole: what its workers say, taken together."""

    async def readyz(_: web.Request) -> web.Response:
        """200 when a worker takes traffic."""
        states = await fleet.states()
        ready = not fleet.ending and any(state.get("ready") for state in states)
        reasons = sorted({reason for state in states for reason in state.get("reasons", ())})
        said = {"ready": ready, "serving": not fleet.ending, "workers": states}
        body = orjson.dumps({**said, "reasons": reasons} if reasons else said)
        return web.Response(body=body, status=200 if ready else 503, content_type="application/json")

    async def metrics(request: web.Request) -> web.StreamResponse:
        """All that was counted, by workers that have ended too."""
        return await make_aiohttp_handler(joined(registry, await fleet.rows()))(request)

    app = web.Application()
    app.on_response_prepare.append(say_server)
    add_probes(app, {"/livez": livez, "/readyz": readyz, "/metrics": shared(metrics)})
    return app
