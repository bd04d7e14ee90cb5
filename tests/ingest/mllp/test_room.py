"""Room for messages of MLLP connections: who waits, and whom somebody else's wait costs the place."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import pytest

from ingest.mllp import room
from ingest.mllp.leaving import first_to_go
from ingest.mllp.room import SLOW_RATE, SLOW_SECONDS, SMALL_BYTES, ConnectionRoom, Place


class One(NamedTuple):
    """A connection that may give way."""

    address: str
    since: float
    is_idle: bool = True
    is_answering: bool = False


@pytest.mark.parametrize(
    ("connections", "number"),
    [
        ([One("a", 1), One("b", 2)], 0),
        ([One("a", 2), One("b", 1)], 1),
        ([One("a", 1), One("b", 2), One("b", 3)], 1),
        ([One("a", 1, is_idle=False), One("b", 2)], 1),
        ([One("a", 2, is_idle=False), One("b", 1, is_idle=False)], 1),
        ([One("a", 1, is_idle=False, is_answering=True), One("b", 2, is_idle=False)], 1),
        ([One("a", 1, is_idle=False, is_answering=True)], None),
        ([], None),
    ],
)
def test_who_gives_way(connections: list[One], number: int | None) -> None:
    assert first_to_go(connections) == (None if number is None else connections[number])


async def test_whose_message_hardly_grows_loses_its_place_to_who_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, is_lost = 0.0, asyncio.Event()
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(room, "monotonic", lambda: now)
    shared, lost = ConnectionRoom(2_000_000, 1_000_000), list[int]()

    def place(number: int) -> Place:
        def lose() -> None:
            lost.append(number)
            is_lost.set()

        return Place(shared, lose)

    places = [place(number) for number in range(3)]
    for one in places[:2]:
        await one.grow(SMALL_BYTES + 1, now=lambda: now)
    waiting = asyncio.ensure_future(places[2].grow(SMALL_BYTES + 1, now=lambda: now))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not lost  # Nobody has been watched for long.
    now = SLOW_SECONDS + 1
    await places[0].grow(SMALL_BYTES + 1 + int(SLOW_RATE * now) + 1)
    await is_lost.wait()
    assert set(lost) == {1}
    places[1].leave()
    await waiting
    places[0].has_come()
    places[2].has_come()
    assert [one.rate(1_000.0) for one in places] == [None] * 3


async def test_a_place_that_is_no_longer_waited_for_is_not_lost() -> None:
    shared = ConnectionRoom(2_000_000, 1_000_000)
    first, second, third = (Place(shared, lambda: None) for _ in range(3))
    await first.grow(SMALL_BYTES + 1)
    await second.grow(SMALL_BYTES + 1)
    waiting = asyncio.ensure_future(third.grow(SMALL_BYTES + 1))
    await asyncio.sleep(0)
    first.leave()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    third.leave()
    async with asyncio.timeout(5):
        await first.grow(SMALL_BYTES + 1)
