"""Many pieces of work on one request: a few at once, in order, with turns for others in between."""

from __future__ import annotations

import asyncio

import pytest

from ingest import work
from ingest.work import AT_ONCE, TOGETHER, Turns, each_of, unhurried


async def test_a_few_are_under_way_at_once_and_the_results_are_in_order() -> None:
    under_way, most = 0, 0

    async def double(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(number % 3):
            await asyncio.sleep(0)
        under_way -= 1
        return 2 * number

    assert await each_of(range(200), double) == [2 * n for n in range(200)]
    assert most == TOGETHER
    assert await each_of([], double) == []


async def test_a_failure_ends_the_rest() -> None:
    begun: list[int] = []

    async def fail(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        await each_of(range(1_000), fail)
    await asyncio.sleep(0)
    assert len(begun) == TOGETHER


async def test_others_get_turns_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock takes a millisecond: a piece is over after three."""
    now, turns = 0.0, 0

    def monotonic() -> float:
        nonlocal now
        now += 0.001
        return now

    monkeypatch.setattr(work, "monotonic", monotonic)

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def nothing(_: int) -> None:
        return None

    for doing in (each_of(range(300), nothing), _all(range(300))):
        turns = 0
        beside = asyncio.ensure_future(other())
        await doing
        beside.cancel()
        assert turns >= 50


async def _all(numbers: range) -> None:
    assert [n async for n in unhurried(numbers)] == list(numbers)


async def test_turns_are_given_to_those_who_ask_one_after_another() -> None:
    turns, began = Turns(), list[str]()

    async def begin(asker: str) -> None:
        await turns.take(asker)
        began.append(asker)

    tasks = [asyncio.ensure_future(begin(asker)) for asker in "a" * 40 + "bc"]
    await asyncio.sleep(0)
    assert began == ["a"] * AT_ONCE
    gone = tasks[AT_ONCE]
    gone.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert gone.cancelled()
    assert sorted(began[AT_ONCE : AT_ONCE * 2])[-2:] == ["b", "c"]
    assert len(began) == 41
    await begin("d")
    assert not turns._waiting
