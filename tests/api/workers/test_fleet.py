"""Places of the fleet: filled again whatever keeps a worker from starting for a while."""

from __future__ import annotations

import asyncio
import errno
from typing import Any, cast

import pytest

from api.workers import fleet as module
from api.workers.fleet import Place


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
