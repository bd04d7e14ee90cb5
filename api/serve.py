"""`dod serve`: both applications in one loop, from the first signal to a clean end.

SIGTERM → readiness off → keep serving until load balancers noticed → stop accepting → finish what is
under way → close the stores → stop the embedded MongoDB → exit 0. Another signal ends the wait it meets.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, Self

from aiohttp import web
from typing_extensions import override

from api.annex.annex import annexed
from api.app import ALL_DUTIES, Duty
from api.database import database
from api.health import create_admin_app
from api.herald.herald import heralded
from api.http.app_keys import READINESS, REGISTRY
from api.served import served
from api.server.connection_limits import limits_of, raise_files
from api.server.logs import configure_logging
from api.server.memory import settle_memory
from api.server.runner import AT_ONCE_SECONDS, FhirRunner, shaking_hands
from api.server.tls import Files, reloading
from api.server.tls_metrics import TlsMetrics
from api.version import VERSION
from ingest.accepting import ACCEPTED_AT_ONCE, let_wait
from store.errors import StartupError

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from api.database import Database
    from api.server.connection_limits import Limits
    from api.server.tls import ReloadingContext
    from api.settings.service import Settings

LOG: Final = logging.getLogger("api.serve")
PRIVILEGED: Final = 1024
"""The first port that anybody may listen on."""
PORT_MAX: Final = 65_535
_REASONS: Final = {
    errno.EADDRINUSE: "is in use",
    errno.EACCES: "is not yours to listen on",
    errno.EADDRNOTAVAIL: "cannot be listened on: this machine has no such address",
}


class BrokenOffError(StartupError):
    """A signal came before the service had started."""


class Stop:
    """The signals that ask the process to end, each with the seconds for which it goes on serving.

    Load balancers have to notice; nobody balances load in front of a Ctrl-C. A start, which may wait for a
    database, is broken off. See DECISIONS.md#start-broken-off.
    """

    def __init__(self, drain_seconds: float, **more: float) -> None:
        self._drains = {signal.SIGTERM: drain_seconds, signal.SIGINT: 0.0}
        self._drains |= {signal.Signals[name]: seconds for name, seconds in more.items()}
        self._loop = asyncio.get_running_loop()
        self.first: asyncio.Future[signal.Signals] = self._loop.create_future()
        self.again = asyncio.Event()
        self.is_broken_off = False
        """Whether the first one came before all had started."""
        self._starting: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        self._starting = asyncio.current_task()
        for wanted in self._drains:
            self._loop.add_signal_handler(wanted, self._receive, wanted)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        """Whether what is raised is the end of a start that was broken off."""
        for wanted in self._drains:
            self._loop.remove_signal_handler(wanted)
        starting = self._starting
        self._starting = None
        if starting is None or not self.is_broken_off or kind is not asyncio.CancelledError:
            return False
        return not starting.uncancel()

    def started(self) -> None:
        """From now on a signal lets what is under way end."""
        if not self.is_broken_off:
            self._starting = None

    def _receive(self, received: signal.Signals) -> None:
        if self.first.done():
            self.again.set()
        else:
            LOG.info("stopping", extra={"signal": received.name})
            self.first.set_result(received)
            if self._starting is not None:
                self.is_broken_off = True
                self._starting.cancel()

    async def drained(self) -> None:
        """Wait as long as the signal asks for, or until the next one."""
        if self.first.done() and (seconds := self._drains[self.first.result()]):
            with suppress(TimeoutError):
                await asyncio.wait_for(self.again.wait(), seconds)
            self.again.clear()


class Service:
    """A service that accepts requests."""

    def __init__(self, *, url: str, admin_url: str, stop: Stop, database: Database) -> None:
        self.url = url
        self.admin_url = admin_url
        self._stop = stop
        self._database = database

    async def ended(self) -> None:
        """Return at the first signal. Raises StartupError when the embedded MongoDB ends before."""
        exited = self._database.exited
        reasons: set[asyncio.Future[Any]] = {self._stop.first} | ({exited} if exited is not None else set())
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.first.done():
            LOG.error("the embedded MongoDB ended by itself")
            raise StartupError(self._database.obituary())


async def serve(settings: Settings) -> None:
    """Serve until a signal asks to stop."""
    with suppress(BrokenOffError):
        async with running(settings) as service:
            await service.ended()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Service]:
    """The service, started; on the way out it drains and closes. `dod demo` uses it too.

    Raises BrokenOffError when a signal comes before.
    """
    configure_logging(settings.log_level)
    limits = limits_of(settings, files=raise_files())
    with Stop(settings.drain_seconds) as stop:
        async with _started(settings, stop, limits) as service:
            yield service
    LOG.info("stopped")
    if stop.is_broken_off:
        raise BrokenOffError("Stopped by a signal before it had started.")


@asynccontextmanager
async def _started(settings: Settings, stop: Stop, limits: Limits) -> AsyncIterator[Service]:
    seconds = settings.head_seconds
    sites = Sites(
        admin=partial(listen, host=settings.admin_host, port=settings.admin_port, option="--admin-port"),
        fhir=partial(
            listen, host=settings.host, port=settings.port, option="--port", handshake_seconds=seconds
        ),
    )
    async with (
        database(settings, role="serve") as mongodb,
        serving(settings, stop, limits, mongodb, sites) as service,
    ):
        yield service


class Listen(Protocol):
    """A way to begin to listen."""

    def __call__(self, runner: web.AppRunner, *, secured: ReloadingContext | None) -> Awaitable[str]:
        """Listen, with TLS or without; gives the URL."""


class Sites(NamedTuple):
    """The ways to begin to listen, for both applications."""

    admin: Listen
    fhir: Listen
    admin_routes: Sequence[web.RouteDef] = ()
    """Further routes of the admin endpoint."""


@asynccontextmanager
async def serving(  # noqa: PLR0913 -- the parts of a process
    settings: Settings,
    stop: Stop,
    limits: Limits,
    mongodb: Database,
    sites: Sites,
    *,
    duties: frozenset[Duty] = ALL_DUTIES,
) -> AsyncIterator[Service]:
    """Both applications on a database that runs."""
    async with AsyncExitStack() as stack:
        app = served(settings, mongodb.uri, duties=duties)
        await stack.enter_async_context(annexed(app, mongodb.uri))
        if Duty.TELL in duties:
            stack.enter_context(heralded(app, mongodb.uri))
        admin = await new_runner(create_admin_app(app, sites.admin_routes), settings)
        stack.push_async_callback(admin.cleanup)  # Closed last, so that probes see the draining.
        admin_url = await sites.admin(admin, secured=None)
        runner = await new_runner(app, settings, limits)
        secured = await _secured(stack, settings, app)
        stack.push_async_callback(_close, runner, stop)
        url = await sites.fhir(runner, secured=secured)
        settle_memory()
        app[READINESS].started = True
        LOG.info("listening", extra=start_fields(settings, url, admin_url))
        stop.started()
        try:
            yield Service(url=url, admin_url=admin_url, stop=stop, database=mongodb)
        finally:
            app[READINESS].draining = True
            runner.let_go()
            await stop.drained()


async def new_runner(app: web.Application, settings: Settings, limits: Limits | None = None) -> FhirRunner:
    """The application, set up. aiohttp's access log would show the query."""
    seconds = max(settings.shutdown_seconds, AT_ONCE_SECONDS)
    runner = FhirRunner(app, limits=limits, access_log=None, shutdown_timeout=seconds)
    try:
        await runner.setup()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


async def _secured(
    stack: AsyncExitStack, settings: Settings, app: web.Application
) -> ReloadingContext | None:
    """TLS by the files that the settings name; None: they name none. Raises StartupError."""
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    files = Files(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
    metrics = TlsMetrics(app[REGISTRY])
    return await stack.enter_async_context(
        reloading(files, seconds=settings.tls_reload_seconds, metrics=metrics)
    )


class _Site(web.TCPSite):
    """A site of aiohttp's whose handshakes have places and a deadline of ours."""

    __slots__ = ("handshake_seconds",)

    handshake_seconds: float | None

    @override
    async def start(self) -> None:
        if self._ssl_context is None or self.handshake_seconds is None:
            await super().start()
            return
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None  # noqa: S101 -- the runner is set up
        self._server = listening = await asyncio.get_running_loop().create_server(
            shaking_hands(server, self._ssl_context, self.handshake_seconds),
            self._host,
            self._port,
            backlog=self._backlog,
        )
        self._bound_port = listening.sockets[0].getsockname()[1]


async def listen(  # noqa: PLR0913 -- all but three keyword-only
    runner: web.AppRunner,
    host: str,
    port: int,
    *,
    option: str,
    secured: ReloadingContext | None = None,
    handshake_seconds: float | None = None,
) -> str:
    """Accept connections; gives the URL with the port that was really taken."""
    site = _Site(runner, host, port, backlog=ACCEPTED_AT_ONCE, ssl_context=secured)
    site.handshake_seconds = handshake_seconds
    try:
        await site.start()
        let_wait(listening_sockets(site))
    except OSError as error:
        raise not_listening(error, host, port, option=option) from None
    return site.name


def not_listening(error: OSError, host: str, port: int, *, option: str) -> StartupError:
    """Sentence on why this port cannot be had, and how another one is taken."""
    reason = _REASONS.get(error.errno or 0, "cannot be listened on")
    return StartupError(f"Port {port} of {host} {reason}; {port_hint(option, _other(port))}.")


def port_hint(option: str, other: int) -> str:
    """Hint how another port is taken, by whoever called this."""
    setting = f"DOD_{option.removeprefix('--').replace('-', '_').upper()}={other}"
    made = f"`make … ARGS='{option} {other}'`" if "MAKELEVEL" in os.environ else f"`{option} {other}`"
    return f"{made} or {setting} takes another port, 0 any that is free"


def _other(port: int) -> int:
    """A port that may be free, for a hint."""
    return port + 1 if PRIVILEGED <= port < PORT_MAX else 8081


def listening_sockets(site: web.BaseSite) -> Sequence[socket.socket]:
    """Sockets of a site that has started."""
    return getattr(site._server, "sockets", ())  # noqa: SLF001 -- aiohttp has no other way to them


async def _close(runner: web.AppRunner, stop: Stop) -> None:
    """Stop accepting, finish what is under way, close the stores; another signal cuts it short."""
    closing = asyncio.ensure_future(runner.cleanup())
    again = asyncio.ensure_future(stop.again.wait())
    await asyncio.wait({closing, again}, return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not closing.done() and runner.server is not None:
        closing.cancel()
        with suppress(asyncio.CancelledError):
            await closing
        await runner.server.shutdown(AT_ONCE_SECONDS)
        await runner.cleanup()
    else:
        await closing


def start_fields(settings: Settings, url: str, admin_url: str) -> dict[str, str]:
    """Fields of the log line of a start."""
    return {"address": url, "admin_address": admin_url, "role": settings.role, "version": VERSION}
