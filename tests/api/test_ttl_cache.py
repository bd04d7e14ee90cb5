"""Remembering, forgetting, and asking once."""

from __future__ import annotations

import asyncio

import pytest

from api.ttl_cache import TtlCache


class Oracle:
    """Answers with a letter's capital; knows nothing of digits; counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = 0.0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self, key: str) -> str | None:
        self.asked.append(key)
        await self.gate.wait()
        if key == "!":
            raise LookupError
        return None if key.isdigit() else key.upper()

    def memory(self, *, size_max: int = 10) -> TtlCache[str, str]:
        return TtlCache(self.ask, seconds=1.0, size_max=size_max, monotonic=lambda: self.now)


async def test_an_answer_is_remembered_until_it_is_old() -> None:
    oracle = Oracle()
    memory = oracle.memory()
    assert [await memory.get("a"), await memory.get("a")] == ["A", "A"]
    oracle.now = 0.99
    await memory.get("a")
    assert oracle.asked == ["a"]
    oracle.now = 1.0
    await memory.get("a")
    assert oracle.asked == ["a", "a"]


async def test_nothing_is_not_remembered() -> None:
    oracle = Oracle()
    memory = oracle.memory()
    assert [await memory.get("1"), await memory.get("1")] == [None, None]
    assert oracle.asked == ["1", "1"]


async def test_callers_at_the_same_time_share_one_question() -> None:
    oracle = Oracle()
    memory = oracle.memory()
    assert await asyncio.gather(*(memory.get("a") for _ in range(50))) == ["A"] * 50
    assert oracle.asked == ["a"]


async def test_one_caller_going_away_does_not_fail_the_others() -> None:
    oracle = Oracle()
    memory = oracle.memory()
    oracle.gate.clear()
    first, second = asyncio.ensure_future(memory.get("a")), asyncio.ensure_future(memory.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    oracle.gate.set()
    assert await second == "A"


async def test_a_failure_reaches_all_callers_and_is_not_remembered() -> None:
    oracle = Oracle()
    memory = oracle.memory()
    failures = await asyncio.gather(memory.get("!"), memory.get("!"), return_exceptions=True)
    assert [type(failure) for failure in failures] == [LookupError, LookupError]
    with pytest.raises(LookupError):
        await memory.get("!")
    assert oracle.asked == ["!", "!"]


async def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    oracle = Oracle()
    memory = oracle.memory(size_max=2)
    for key in "abc":
        await memory.get(key)
    for key in "bca":
        await memory.get(key)
    assert oracle.asked == ["a", "b", "c", "a"]
