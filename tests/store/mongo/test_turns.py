"""Reads that share turns: each gets its own answer, and none is begun past its deadline."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.mongo.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SECONDS = 30.0


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns(threads=1, jobs_max=3, name="test")
    yield made
    made.close()


class Gate:
    """A job that holds its thread until it is opened, and says when it began."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()

    def job(self, _: float) -> str:
        self.begun.set()
        self.opened.wait(SECONDS)
        return "gate"


def say(number: int, into: list[int]) -> Callable[[float], None]:
    """A job that notes its number."""

    def job(_: float) -> None:
        into.append(number)

    return job


async def held(turns: Turns, gate: Gate) -> asyncio.Task[str]:
    """The one thread of the turns, busy with the gate."""
    task = asyncio.create_task(turns.run(gate.job, seconds=SECONDS))
    await asyncio.to_thread(gate.begun.wait, SECONDS)
    return task


async def test_each_gets_its_own_answer(turns: Turns) -> None:
    jobs = [partial(_answer, number) for number in range(20)]
    assert await asyncio.gather(*(turns.run(job, seconds=SECONDS) for job in jobs)) == list(range(20))


def _answer(number: int, _: float) -> int:
    return number


async def test_a_failure_reaches_only_its_own_waiter(turns: Turns) -> None:
    def fail(_: float) -> int:
        raise ServiceError(Category.FAULT)

    gate = Gate()
    first = await held(turns, gate)
    rest = [asyncio.create_task(turns.run(job, seconds=SECONDS)) for job in (lambda _: 1, fail, lambda _: 3)]
    gate.opened.set()
    answers = await asyncio.gather(first, *rest, return_exceptions=True)
    assert answers[0] == "gate"
    assert (answers[1], answers[3]) == (1, 3)
    assert isinstance(answers[2], ServiceError)


async def test_those_that_wait_are_begun_in_order(turns: Turns) -> None:
    begun: list[int] = []
    gate = Gate()
    first = await held(turns, gate)
    waiting = [asyncio.create_task(turns.run(say(n, begun), seconds=SECONDS)) for n in range(7)]
    gate.opened.set()
    await asyncio.gather(first, *waiting)
    assert begun == list(range(7))


async def test_what_waited_past_its_deadline_is_not_begun(turns: Turns) -> None:
    begun: list[str] = []
    gate = Gate()
    first = await held(turns, gate)
    late = asyncio.create_task(turns.run(lambda _: begun.append("late"), seconds=0))
    good = asyncio.create_task(turns.run(lambda _: begun.append("good"), seconds=SECONDS))
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(first, good)
    with pytest.raises(ServiceError) as raised:
        await late
    assert raised.value.category is Category.TIMEOUT
    assert begun == ["good"]


async def test_a_job_knows_how_long_it_has(turns: Turns) -> None:
    left = await turns.run(lambda seconds: seconds, seconds=SECONDS)
    assert 0 < left <= SECONDS


async def test_one_that_nobody_waits_for_any_more_is_not_begun(turns: Turns) -> None:
    begun: list[str] = []
    gate = Gate()
    first = await held(turns, gate)
    given_up = asyncio.create_task(turns.run(lambda _: begun.append("given up"), seconds=SECONDS))
    kept = asyncio.create_task(turns.run(lambda _: begun.append("kept"), seconds=SECONDS))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.opened.set()
    await asyncio.gather(first, kept)
    assert begun == ["kept"]


async def test_what_is_around_a_turn_sees_its_jobs_once() -> None:
    seen: list[tuple[list[object], bool]] = []

    @contextmanager
    def around(jobs: Sequence[object], left: float) -> Iterator[None]:
        seen.append((list(jobs), 0 < left <= SECONDS))
        yield
        seen.append(([], True))

    turns = Turns(threads=1, jobs_max=3, name="test", around=around)
    gate = Gate()
    first = await held(turns, gate)
    jobs = [partial(_answer, number) for number in range(3)]
    waiting = [asyncio.create_task(turns.run(job, seconds=SECONDS)) for job in jobs]
    await asyncio.sleep(0)
    gate.opened.set()
    assert await asyncio.gather(first, *waiting) == ["gate", 0, 1, 2]
    assert seen == [([gate.job], True), ([], True), (jobs, True), ([], True)]
    turns.close()


async def test_a_failure_around_a_turn_reaches_all_in_it_and_nobody_else() -> None:
    fails = iter([True, False])

    @contextmanager
    def around(_: Sequence[object], __: float) -> Iterator[None]:
        if next(fails):
            raise ServiceError(Category.FAULT)
        yield

    turns = Turns(threads=1, jobs_max=3, name="test", around=around)
    with pytest.raises(ServiceError):
        await turns.run(partial(_answer, 1), seconds=SECONDS)
    assert await turns.run(partial(_answer, 2), seconds=SECONDS) == 2
    turns.close()
