"""Erasures behind requests: what a request is told is what came of the erasure that it asked for."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from api.background.purges import UNTOLD_SECONDS, Purges
from store.errors import Category, ServiceError
from store.retention.erasure import Demand
from store.retention.subjects import Subject
from tests.support.store import LAB

DEMAND = Demand(LAB, Subject(reference="Patient/p1"), "asked for", "tests")


class Erasing:
    """Erasures that end when the test says so; each has a receipt of its own."""

    def __init__(self) -> None:
        self.begun = 0
        self.go = asyncio.Event()
        self.fails: Exception | None = None

    async def erase(self, _: Demand) -> Any:
        self.begun += 1
        number = self.begun
        await self.go.wait()
        if self.fails is not None:
            raise self.fails
        return _Erased(number)


class _Erased:
    def __init__(self, number: int) -> None:
        self.number = number
        self.receipt = self
        self.rows = ()


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def erasing() -> Erasing:
    return Erasing()


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def purges(erasing: Erasing, clock: Seconds) -> Purges:
    metrics: Any = _Metrics()
    return Purges(cast("Any", erasing), metrics=metrics, wait_seconds=0, monotonic=clock)


class _Metrics:
    def deleted(self, _: object) -> None:
        """Nothing."""


async def ended(purges: Purges) -> None:
    await asyncio.wait(list(purges._tasks.values()))


async def number_of(purges: Purges) -> int | None:
    erased: Any = await purges.erase(DEMAND)
    return None if erased is None else erased.number


async def test_the_same_request_again_is_told_what_came_of_it(erasing: Erasing, purges: Purges) -> None:
    assert await number_of(purges) is None
    assert await number_of(purges) is None
    erasing.go.set()
    await ended(purges)
    assert await number_of(purges) == 1
    assert erasing.begun == 1


async def test_long_afterwards_it_is_another_erasure(
    erasing: Erasing, purges: Purges, clock: Seconds
) -> None:
    assert await number_of(purges) is None
    erasing.go.set()
    await ended(purges)
    # Nobody asked. Meanwhile it was lifted, and the patient has come again.
    clock.now += UNTOLD_SECONDS + 1
    assert await number_of(purges) == 2


async def test_an_end_ends_all_of_them_whatever_became_of_one(erasing: Erasing, purges: Purges) -> None:
    erasing.fails = RuntimeError("made up")
    assert await number_of(purges) is None
    erasing.go.set()
    await ended(purges)
    erasing.go.clear()
    other = DEMAND._replace(subject=Subject(reference="Patient/p2"))
    assert await purges.erase(other) is None
    await purges.stop()
    assert all(task.done() for task in purges._tasks.values())


async def test_a_failure_is_told_once(erasing: Erasing, purges: Purges) -> None:
    erasing.fails = ServiceError(Category.CONFLICT)
    assert await number_of(purges) is None
    erasing.go.set()
    await ended(purges)
    with pytest.raises(ServiceError):
        await number_of(purges)
    erasing.fails = None
    assert await number_of(purges) == 2
