"""The life of the herald: begun when it is needed, followed by another after a pause, ended when idle."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from api.herald import herald as module
from api.herald.herald import HeraldProcess
from api.processes.metrics import herald_metrics
from api.settings.service import Settings
from store.errors import Category, ServiceError
from tests.support.children import Machine, Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.children import Process as Child


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    return Machine.of(monkeypatch)


class Need:
    """Subscriptions, or none, or a database that does not say."""

    def __init__(self) -> None:
        self.there = True
        self.away = False
        self.asked = 0
        self.freed: list[int] = []

    async def __call__(self) -> bool:
        self.asked += 1
        if self.away:
            raise ServiceError(Category.UNAVAILABLE)
        return self.there

    async def free(self, pid: int) -> None:
        self.freed.append(pid)
        if self.away:
            raise ServiceError(Category.UNAVAILABLE)


@asynccontextmanager
async def kept(folder: Path, need: Need) -> AsyncIterator[HeraldProcess]:
    made = HeraldProcess(Settings(), "mongodb://nowhere", folder, herald_metrics(CollectorRegistry()))
    async with made.kept(need, need.free):
        yield made


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not done():  # noqa: ASYNC110 -- no event tells it
            await asyncio.sleep(0)


async def looked(need: Need, times: int = 5) -> None:
    """Return when it was asked so often whether a herald is needed."""
    asked = need.asked
    await until(lambda: need.asked >= asked + times)


async def test_it_is_begun_with_the_first_subscription_and_ends_with_the_service(
    machine: Machine, tmp_path: Path
) -> None:
    need = Need()
    need.there = False
    async with kept(tmp_path, need) as made:
        await looked(need)
        assert not machine.begun
        assert not made.is_there()
        assert not await made.rows()
        need.there = True
        await until(made.is_there)
        await looked(need)
        assert len(machine.begun) == 1
    assert machine.begun[0].over.result() == 0
    assert not made.is_there()


async def test_another_follows_one_that_ended_and_duties_are_here_meanwhile(
    machine: Machine, tmp_path: Path
) -> None:
    need = Need()
    async with kept(tmp_path, need) as made:
        for number in range(1, 4):
            await until(made.is_there)
            assert len(machine.begun) == number
            # What it held others have at once, unless the database is away.
            assert len(need.freed) == number - 1
            need.away = number == 2
            machine.fails = True
            machine.begun[-1].tell(signal.SIGKILL)
            await until(lambda: len(need.freed) == number)  # noqa: B023
            machine.fails = need.away = False


async def test_pauses_double_until_one_has_lived_for_long(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def rest(self: HeraldProcess, seconds: float, child: Child | None = None) -> None:
        await asyncio.sleep(0)
        if child is None:
            pauses.append(seconds)
        else:
            child.started -= lived
            child.tell(signal.SIGKILL)

    lived = 0.0
    monkeypatch.setattr(module, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(HeraldProcess, "_rest", rest)
    async with kept(tmp_path, Need()):
        await until(lambda: len(pauses) == 6)
        assert pauses == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
        lived = module.STEADY_SECONDS + 1
        await until(lambda: pauses[-1] == 1.0)


async def test_it_ends_when_nobody_has_needed_it_for_long(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = Need()
    async with kept(tmp_path, need) as made:
        await until(made.is_there)
        need.there = False
        await looked(need)
        assert made.is_there()  # For a while.
        need.away = True
        await looked(need)
        monkeypatch.setattr(module, "IDLE_SECONDS", -1.0)
        await looked(need)
        assert made.is_there()  # Nobody knows.
        need.away = False
        await until(lambda: not made.is_there())
        assert machine.begun[0].over.result() == 0
        await looked(need)
        assert len(machine.begun) == 1
        need.there = True
        await until(made.is_there)


@pytest.mark.parametrize("fault", ["fails", "is not ready"])
async def test_one_that_cannot_be_started_is_tried_again(
    machine: Machine, tmp_path: Path, fault: str
) -> None:
    machine.fails, machine.is_ready = fault == "fails", False
    need = Need()
    async with kept(tmp_path, need) as made:
        await looked(need)
        assert not made.is_there()
        machine.fails, machine.is_ready = False, True
        await until(made.is_there)


async def test_our_own_fault_is_no_end_of_it(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "PAUSE_MAX", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(Process, "is_stuck", lambda _: 1 / 0)
        async with kept(tmp_path, Need()):
            await until(lambda: len(machine.begun) > 2)
    assert "could not be kept" in caplog.text
    assert all(not one.is_running for one in machine.begun)


async def test_its_folder_is_made_again(machine: Machine, tmp_path: Path) -> None:
    place = tmp_path / "gone"
    async with kept(place, Need()) as made:
        await until(made.is_there)
        assert place.is_dir()


async def test_one_that_answers_nothing_is_killed(machine: Machine, tmp_path: Path) -> None:
    async with kept(tmp_path, Need()) as made:
        await until(made.is_there)
        machine.begun[0].stuck = True
        assert await machine.begun[0].ended() == -signal.SIGKILL


async def test_one_that_does_not_end_with_the_service_is_killed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.0)
    monkeypatch.setattr(Process, "dismiss", lambda _: None)
    async with kept(tmp_path, Need()) as made:
        await until(made.is_there)
    assert machine.begun[0].over.result() == -signal.SIGKILL


async def test_a_service_that_ends_waits_for_no_start(machine: Machine, tmp_path: Path) -> None:
    machine.starts = False
    async with kept(tmp_path, Need()) as made:
        await until(lambda: bool(machine.begun))
    assert not made.is_there()
    assert machine.begun[0].over.result() == 0


async def test_the_end_waits_for_no_database(machine: Machine, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def silent() -> bool:
        asked.set()
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        return await answer

    made = HeraldProcess(Settings(), "mongodb://nowhere", tmp_path, herald_metrics(CollectorRegistry()))
    async with asyncio.timeout(30), made.kept(silent, Need().free):
        await asked.wait()
    assert not machine.begun
