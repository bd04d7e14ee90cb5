"""Reads that share turns: each gets its own answer, and none is begun past its deadline."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import pytest

from store.errors import Category, ServiceError
from store.fair import Asker, Shares
from store.mongo.driver.read_batches import TURN_SECONDS, ReadBatches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SECONDS = 30.0
LAB = Asker("lab", "client")
ONE = Shares(1, 1, 1)
MANY = Shares(1_000, 1_000, 1_000)


@pytest.fixture
def turns() -> Iterator[ReadBatches]:
    made = ReadBatches(threads=ONE, waiting=MANY, jobs_max=3, name="test")
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


async def held(turns: ReadBatches, gate: Gate) -> asyncio.Task[str]:
    """The one thread of the turns, busy with the gate."""
    task = asyncio.create_task(turns.run(LAB, gate.job, seconds=SECONDS))
    await asyncio.to_thread(gate.begun.wait, SECONDS)
    return task


async def test_each_gets_its_own_answer(turns: ReadBatches) -> None:
    jobs = [partial(_answer, number) for number in range(20)]
    assert await asyncio.gather(*(turns.run(LAB, job, seconds=SECONDS) for job in jobs)) == list(range(20))


def _answer(number: int, _: float) -> int:
    return number


async def test_a_failure_reaches_only_its_own_waiter(turns: ReadBatches) -> None:
    def fail(_: float) -> int:
        raise ServiceError(Category.FAULT)

    gate = Gate()
    first = await held(turns, gate)
    rest = [
        asyncio.create_task(turns.run(LAB, job, seconds=SECONDS)) for job in (lambda _: 1, fail, lambda _: 3)
    ]
    gate.opened.set()
    answers = await asyncio.gather(first, *rest, return_exceptions=True)
    assert answers[0] == "gate"
    assert (answers[1], answers[3]) == (1, 3)
    assert isinstance(answers[2], ServiceError)


async def test_those_that_wait_are_begun_in_order(turns: ReadBatches) -> None:
    begun: list[int] = []
    gate = Gate()
    first = await held(turns, gate)
    waiting = [asyncio.create_task(turns.run(LAB, say(n, begun), seconds=SECONDS)) for n in range(7)]
    gate.opened.set()
    await asyncio.gather(first, *waiting)
    assert begun == list(range(7))


async def test_what_waited_past_its_deadline_is_not_begun(turns: ReadBatches) -> None:
    begun: list[str] = []
    gate = Gate()
    first = await held(turns, gate)
    late = asyncio.create_task(turns.run(LAB, lambda _: begun.append("late"), seconds=0))
    good = asyncio.create_task(turns.run(LAB, lambda _: begun.append("good"), seconds=SECONDS))
    await asyncio.sleep(0)
    gate.opened.set()
    await asyncio.gather(first, good)
    with pytest.raises(ServiceError) as raised:
        await late
    assert raised.value.category is Category.TIMEOUT
    assert begun == ["good"]


async def test_a_job_knows_how_long_it_has(turns: ReadBatches) -> None:
    left = await turns.run(LAB, lambda seconds: seconds, seconds=SECONDS)
    assert 0 < left <= SECONDS


async def test_one_that_nobody_waits_for_any_more_is_not_begun(turns: ReadBatches) -> None:
    begun: list[str] = []
    gate = Gate()
    first = await held(turns, gate)
    given_up = asyncio.create_task(turns.run(LAB, lambda _: begun.append("given up"), seconds=SECONDS))
    kept = asyncio.create_task(turns.run(LAB, lambda _: begun.append("kept"), seconds=SECONDS))
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

    turns = ReadBatches(threads=ONE, waiting=MANY, jobs_max=3, name="test", around=around)
    gate = Gate()
    first = await held(turns, gate)
    jobs = [partial(_answer, number) for number in range(3)]
    waiting = [asyncio.create_task(turns.run(LAB, job, seconds=SECONDS)) for job in jobs]
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

    turns = ReadBatches(threads=ONE, waiting=MANY, jobs_max=3, name="test", around=around)
    with pytest.raises(ServiceError):
        await turns.run(LAB, partial(_answer, 1), seconds=SECONDS)
    assert await turns.run(LAB, partial(_answer, 2), seconds=SECONDS) == 2
    turns.close()


async def test_no_client_and_no_tenant_takes_all_threads() -> None:
    turns = ReadBatches(threads=Shares(2, 3, 4), waiting=Shares(10, 100, 1_000), jobs_max=2, name="test")
    gates = [Gate() for _ in range(20)]
    greedy, colleague = Asker("lab", "greedy"), Asker("lab", "colleague")
    try:
        held = [
            asyncio.create_task(turns.run(asker, gate.job, seconds=SECONDS))
            for asker, some in ((greedy, gates[:10]), (colleague, gates[10:]))
            for gate in some
        ]
        await asyncio.sleep(0)
        # Two threads of the one, a third of its tenant; the fourth is for others, however many wait.
        for gate in (gates[0], gates[10]):
            await asyncio.to_thread(gate.begun.wait, SECONDS)
        for number in range(10):
            assert (
                await turns.run(Asker("clinic", "any"), partial(_answer, number), seconds=SECONDS) == number
            )
        assert sum(gate.begun.is_set() for gate in gates) <= 3
        # Past ten that wait a client is refused; others are not.
        more = [asyncio.create_task(turns.run(greedy, gates[0].job, seconds=SECONDS)) for _ in range(10)]
        await asyncio.sleep(0)
        refused = [error for one in more if one.done() and (error := one.exception()) is not None]
        held += [one for one in more if not one.done()]
        assert refused
        assert {getattr(error, "category", error) for error in refused} == {Category.THROTTLED}
        assert await turns.run(Asker("clinic", "any"), partial(_answer, 1), seconds=SECONDS) == 1
    finally:
        for gate in gates:
            gate.opened.set()
        assert set(await asyncio.gather(*held)) == {"gate"}
        turns.close()


async def test_a_turn_that_takes_long_lets_others_go_first_and_loses_none() -> None:
    turns = ReadBatches(threads=ONE, waiting=MANY, jobs_max=8, name="test")
    begun: list[int] = []

    def long(number: int, _: float) -> int:
        begun.append(number)
        until = monotonic() + 2 * TURN_SECONDS
        while monotonic() < until:
            pass
        return number

    held = [asyncio.create_task(turns.run(LAB, partial(long, n), seconds=SECONDS)) for n in range(6)]
    await asyncio.sleep(0)
    clinics = [Asker("clinic", "any"), Asker("clinic", "another")]
    others = [asyncio.create_task(turns.run(one, partial(long, 100), seconds=SECONDS)) for one in clinics]
    assert await asyncio.gather(*held) == list(range(6))
    assert await asyncio.gather(*others) == [100, 100]
    turns.close()
    assert begun.index(100) < 6
    assert [number for number in begun if number < 100] == list(range(6))


async def test_an_asker_rests_behind_a_turn_and_nobody_else_does() -> None:
    took: list[tuple[Asker, float]] = []

    def rest(asker: Asker, seconds: float) -> float:
        took.append((asker, seconds))
        return SECONDS if asker == LAB else 0.0

    turns = ReadBatches(threads=Shares(1, 1, 2), waiting=MANY, jobs_max=1, name="test", rest=rest)
    clinic = Asker("clinic", "any")
    assert await turns.run(LAB, partial(_answer, 1), seconds=SECONDS) == 1
    begun: list[int] = []
    waits = asyncio.create_task(turns.run(LAB, say(2, begun), seconds=SECONDS))
    for number in range(5):
        assert await turns.run(clinic, partial(_answer, number), seconds=SECONDS) == number
    assert (begun, len(turns)) == ([], 1)
    assert [asker for asker, _ in took] == [LAB, *[clinic] * 5]
    assert all(0 < seconds < SECONDS for _, seconds in took)
    waits.cancel()
    turns.close()


async def test_rested_it_goes_on() -> None:
    turns = ReadBatches(threads=ONE, waiting=MANY, jobs_max=1, name="test", rest=lambda _, __: 1e-6)
    some = [turns.run(LAB, partial(_answer, number), seconds=SECONDS) for number in range(5)]
    assert await asyncio.gather(*some) == list(range(5))
    turns.close()
