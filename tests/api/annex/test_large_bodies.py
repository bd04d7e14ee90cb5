"""The life of the annex: begun once, followed by another after a pause, ended when nobody needs it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry

from api.annex import annex as module
from api.annex.annex import LargeBodies
from api.processes.metrics import annex_metrics
from api.settings.service import Settings
from store.errors import ServiceError
from tests.support.children import Machine, Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine.of(monkeypatch)


@asynccontextmanager
async def bodies(folder: Path) -> AsyncIterator[LargeBodies]:
    made = LargeBodies(Settings(), "mongodb://nowhere", folder, annex_metrics(CollectorRegistry()))
    yield made
    await made.close()


async def begun(made: LargeBodies) -> bool:
    """Whether an annex is there for a large body that comes now."""
    made.foresee()
    if made._begun is None:
        return False
    with suppress(ServiceError):
        await made._begun
        return True
    return False


async def settled(made: LargeBodies) -> None:
    """Return when each process that has ended is put away."""
    while made._running or made._keeping:  # noqa: ASYNC110 -- no event tells it
        await asyncio.sleep(0)


async def test_it_is_begun_once_and_again_after_a_pause_that_doubles(
    machine: Machine, tmp_path: Path
) -> None:
    async with bodies(tmp_path) as made:
        assert [await begun(made), await begun(made)] == [True, True]
        assert len(machine.begun) == 1
        pauses = []
        for _ in range(6):
            machine.begun[-1].tell(signal.SIGKILL)
            await settled(made)
            assert not await begun(made)
            pauses.append(made._pause)
            made._not_before = 0.0
            assert await begun(made)
        assert pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
        machine.begun[-1].started -= module.STEADY_SECONDS + 1
        machine.begun[-1].tell(signal.SIGKILL)
        await settled(made)
        assert made._pause == 0.5


@pytest.mark.parametrize("fault", ["fails", "is not ready"])
async def test_one_that_cannot_be_started_is_tried_again_after_a_pause(
    machine: Machine, tmp_path: Path, fault: str
) -> None:
    machine.fails, machine.is_ready = fault == "fails", False
    async with bodies(tmp_path) as made:
        assert not await begun(made)
        await settled(made)
        assert made._pause
        machine.fails, machine.is_ready = False, True
        assert not await begun(made)
        made._not_before = 0.0
        assert await begun(made)


async def test_it_ends_when_nobody_needs_it_and_is_begun_anew(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    async with bodies(tmp_path) as made:
        assert await begun(made)
        [running] = made._running
        running.under_way = 1
        running.used_at -= module.IDLE_SECONDS + 1
        for _ in range(20):
            await asyncio.sleep(0)
        assert running.child.is_running
        running.under_way = 0
        await settled(made)
        assert await begun(made)  # Without a pause.
        assert len(machine.begun) == 2


async def test_one_that_answers_nothing_is_killed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    async with bodies(tmp_path) as made:
        assert await begun(made)
        machine.begun[0].stuck = True
        assert await machine.begun[0].ended() == -signal.SIGKILL


async def test_one_that_does_not_end_with_the_service_is_killed(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.0)
    monkeypatch.setattr(Process, "dismiss", lambda _: None)
    async with bodies(tmp_path) as made:
        assert await begun(made)
    assert machine.begun[0].over.result() == -signal.SIGKILL


async def test_one_that_never_starts_holds_up_no_end(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An annex that waits for the database does not hear that it is dismissed."""
    monkeypatch.setattr(module, "END_SECONDS", 0.0)
    monkeypatch.setattr(Process, "dismiss", lambda _: None)
    machine.starts = False
    async with asyncio.timeout(30), bodies(tmp_path) as made:
        made.foresee()
        while not made._running:  # noqa: ASYNC110 -- no event tells it
            await asyncio.sleep(0)
    assert machine.begun[0].over.result() == -signal.SIGKILL
