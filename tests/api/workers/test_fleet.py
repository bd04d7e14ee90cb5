"""Places of the fleet: filled again whatever keeps a worker from starting for a while."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from api.processes.child import Child
from api.processes.children import Children
from api.processes.families import FAMILIES
from api.workers import fleet as module
from api.workers import supervisor
from api.workers.fleet import Fleet, Place
from api.workers.metrics import SupervisorMetrics

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


class Worker:
    """A worker that ends when the test says so."""

    def __init__(self) -> None:
        self.started = 0.0
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ended(self) -> int:
        return await asyncio.shield(self.over)

    async def ready(self, _: float) -> bool:
        return True

    def tell(self, _: int) -> None:
        self.over.set_result(0)


class Machine:
    """A fleet on a machine that cannot start a process so many times."""

    ending = False

    def __init__(self, *, fails: int) -> None:
        self.fails = fails
        self.begun: list[Worker] = []
        self.filled = asyncio.Event()
        self.metrics = self

    def ended(self, _: str) -> None:
        """Count nothing."""

    def reloaded(self, *, complete: bool) -> None:
        """Count nothing."""

    async def gone(self, _: object) -> None:
        """Keep nothing."""

    async def begin(self, _: int) -> Worker:
        if self.fails:
            self.fails -= 1
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        self.begun.append(Worker())
        self.filled.set()
        return self.begun[-1]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", (0.0, 0.0))


async def test_a_place_is_filled_again_once_there_is_memory() -> None:
    first, machine = Worker(), Machine(fails=3)
    place = Place(cast("Any", machine), 0, cast("Any", first))
    keeping = asyncio.ensure_future(place.kept())
    first.over.set_result(-9)
    async with asyncio.timeout(10):
        await machine.filled.wait()
    assert not keeping.done()
    assert place.current is cast("Any", machine.begun[-1])
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_a_worker_that_cannot_be_replaced_stays() -> None:
    first, machine = Worker(), Machine(fails=1)
    place = Place(cast("Any", machine), 0, cast("Any", first))
    assert not await place.renewed(1.0)
    assert place.current is cast("Any", first)
    assert await place.renewed(1.0)
    assert place.current is cast("Any", machine.begun[-1])


class Failing:
    """A call that fails the first time, of nobody's making."""

    def __init__(self) -> None:
        self.calls = 0
        self.again = asyncio.Event()

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("unforeseen")
        self.again.set()

    async def awaited(self, *_: object) -> list[object]:
        self()
        return []


async def outlives(loop: Coroutine[Any, Any, None], failing: Failing) -> None:
    """The loop goes on behind a failure nobody thought of."""
    going = asyncio.ensure_future(loop)
    async with asyncio.timeout(10):
        await failing.again.wait()
    assert not going.done()
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)


def fleet_of(tmp_path: Path) -> Fleet:
    children = Children(tmp_path)
    return Fleet(cast("Any", None), children, SupervisorMetrics(CollectorRegistry()), start_seconds=0.0)


async def test_the_watch_over_the_workers_outlives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    fleet, failing = fleet_of(tmp_path), Failing()
    monkeypatch.setattr(fleet, "_look", failing.awaited)
    await outlives(fleet._watch(), failing)


async def test_a_reload_that_fails_ends_neither_the_service_nor_the_next_one() -> None:
    failing, hangups, machine = Failing(), asyncio.Event(), Machine(fails=0)
    machine.reload = failing.awaited  # type: ignore[attr-defined]
    going = asyncio.ensure_future(supervisor._reload_at(cast("Any", machine), hangups))
    async with asyncio.timeout(10):
        while not failing.again.is_set():
            hangups.set()
            await asyncio.sleep(0)
    assert not going.done()
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)


async def test_counts_that_cannot_be_read_keep_no_place_empty(tmp_path: Path) -> None:
    class Gone(Worker):
        pid, scraped, beside = 7, (), ()

        async def closed(self) -> None:
            """Hold nothing."""

    (tmp_path / "counter_7.db").write_bytes(b"half a file")
    fleet, worker = fleet_of(tmp_path), cast("Any", Gone())
    fleet._children.running.append(worker)
    await fleet.gone(worker)
    assert fleet.size == 0


async def test_whoever_asks_a_worker_that_ends_is_answered(tmp_path: Path) -> None:
    """Connections are let go of once nobody asks any more; who comes later hears what was read before."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def families(_: web.Request) -> web.Response:
        asked.set()
        await answer.wait()
        return web.json_response({"own": [], "beside": []})

    app = web.Application()
    app.router.add_get(FAMILIES, families)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "admin")).start()
    process = await asyncio.create_subprocess_exec("true")
    child = Child(cast("Any", SimpleNamespace(admin=str(tmp_path / "admin"))), process)
    asking = asyncio.create_task(child.rows())
    await asked.wait()
    closing = asyncio.create_task(child.closed())
    await asyncio.sleep(0)
    assert not closing.done()
    answer.set()
    assert await asking == []
    await closing
    assert (await child.rows(), await child.state()) == ([], {})
    await child.ended()
    await runner.cleanup()
