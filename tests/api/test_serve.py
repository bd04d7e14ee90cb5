"""From the first signal to a clean end: who is still served, for how long, and what comes last."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from api import serve, served
from api.database import Database
from api.settings.service import Settings
from store.errors import StartupError
from store.stores import Stores
from tests.support.edge import LAB, bearer, edge_routes, edge_stores, memory_access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from api.serve import Service
    from tests.support.access import MemoryAccess


class House:
    """A service on a fake database, and a diary of what happened in which order."""

    def __init__(self) -> None:
        self.access: MemoryAccess = memory_access()
        self.diary: list[str] = []
        self.gate = asyncio.Event()
        self.arrived = asyncio.Event()
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def slow(self, _: web.Request) -> web.StreamResponse:
        self.arrived.set()
        await self.gate.wait()
        self.diary.append("answered")
        return web.Response(text="done")

    @asynccontextmanager
    async def database(self, *_: object, **__: object) -> AsyncIterator[Database]:
        yield Database("mongodb://fake", self.exited)
        self.diary.append("database stopped")

    @asynccontextmanager
    async def opened(self, *_: object, **__: object) -> AsyncIterator[Stores]:
        async def ping() -> None:
            self.diary.append("ping")

        yield edge_stores(self.access, ping)
        self.diary.append("stores closed")

    async def ask(self, service: Service) -> int:
        async with aiohttp.ClientSession() as client:
            path = f"{service.url}/fhir/R4/{LAB}/DiagnosticReport"
            async with client.get(path, headers=bearer(self.access)) as response:
                return response.status

    async def readiness(self, service: Service) -> int:
        async with aiohttp.ClientSession() as client, client.get(f"{service.admin_url}/readyz") as response:
            return response.status


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> House:
    built = House()
    monkeypatch.setattr(serve, "database", built.database)
    monkeypatch.setattr(served, "opened", built.opened)
    monkeypatch.setattr(served, "routes", lambda: edge_routes(built.slow))
    monkeypatch.setattr(serve, "configure_logging", lambda _: None)
    return built


def settings(*, drain_seconds: float = 30.0, port: int = 0) -> Settings:
    return Settings(port=port, admin_port=0, drain_seconds=drain_seconds, shutdown_seconds=30.0)


async def test_sigterm_drains_then_finishes_what_is_under_way_then_closes(house: House) -> None:
    async def look_while_draining(service: Service) -> int:
        await asyncio.sleep(0.1)
        status = await house.readiness(service)
        house.gate.set()
        return status

    async with serve.running(settings(drain_seconds=0.3)) as service:
        assert await house.readiness(service) == 200
        under_way = asyncio.ensure_future(house.ask(service))
        await house.arrived.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await service.ended()
        looking = asyncio.ensure_future(look_while_draining(service))
    assert await looking == 503
    assert await under_way == 200
    assert house.diary == ["ping", "answered", "stores closed", "database stopped"]


async def test_ctrl_c_does_not_wait_for_load_balancers(house: House) -> None:
    async with asyncio.timeout(5), serve.running(settings()) as service:
        os.kill(os.getpid(), signal.SIGINT)
        await service.ended()
    assert house.diary == ["stores closed", "database stopped"]


async def test_another_signal_ends_the_wait_it_meets(house: House) -> None:
    async def insist() -> None:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.1)

    async with asyncio.timeout(5), serve.running(settings()) as service:
        under_way = asyncio.ensure_future(house.ask(service))
        await house.arrived.wait()
        insisting = asyncio.ensure_future(insist())
        await service.ended()
    await insisting
    with pytest.raises(aiohttp.ClientError):
        await under_way
    assert house.diary == ["stores closed", "database stopped"]


@pytest.mark.usefixtures("house")
async def test_a_signal_breaks_off_a_start_that_waits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A start waited for its database to the end, whoever asked it to end."""

    @asynccontextmanager
    async def away(*_: object, **__: object) -> AsyncIterator[None]:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(served, "opened", away)
    caplog.set_level("INFO", "api.serve")
    async with asyncio.timeout(60):
        await serve.serve(settings())
        with pytest.raises(serve.BrokenOffError):
            async with serve.running(settings()):
                pytest.fail("started")
    assert [record.message for record in caplog.records] == ["stopping", "stopped"] * 2
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_database_that_ends_by_itself_ends_the_service(house: House) -> None:
    house.exited.set_result(-9)
    with pytest.raises(StartupError, match="ended by itself"):
        await serve.serve(settings())


async def test_a_port_in_use_is_one_sentence(house: House) -> None:
    async with serve.running(settings()) as service:
        taken = int(service.url.rpartition(":")[2])
        with pytest.raises(
            StartupError, match=rf"Port {taken} of 127\.0\.0\.1 is in use; .*--port {taken + 1}"
        ):
            await serve.serve(settings(port=taken))


async def test_signals_are_left_alone_afterwards(house: House) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with serve.running(settings()):
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
