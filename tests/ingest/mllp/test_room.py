"""Room for messages of MLLP connections: who waits, and whom somebody else's wait costs the place."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ingest.mllp import room
from ingest.mllp.room import SLOW_RATE, SLOW_SECONDS, SMALL_BYTES, ConnectionRoom, Place

if TYPE_CHECKING:
    import pytest


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

        return Place(shared, "10.0.0.1", lose)

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
    first, second, third = (Place(shared, "10.0.0.1", lambda: None) for _ in range(3))
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


async def test_networks_take_turns_and_one_with_more_than_its_part_loses_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three places of one network, each with a message that grows well; a hundred more of it wait."""
    now, lost = 0.0, list[Place]()
    monkeypatch.setattr(room, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(room, "monotonic", lambda: now)
    shared = ConnectionRoom(24_000_000, 1_000_000)  # Three medium places.

    def of(address: str) -> Place:
        def lose() -> None:
            if made not in lost:
                lost.append(made)
                made.leave()

        made = Place(shared, address, lose)
        return made

    async def grow(one: Place) -> Place:
        await one.grow(SMALL_BYTES + 1, now=lambda: now)
        return one

    greedy = [of(f"2001:db8::{number:x}") for number in range(103)]
    first = [await grow(one) for one in greedy[:3]]
    waiting = [asyncio.ensure_future(grow(one)) for one in greedy[3:]]
    await asyncio.sleep(0)
    honest = asyncio.ensure_future(grow(of("10.0.0.1")))
    now = SLOW_SECONDS + 1
    for number, one in enumerate(first):
        await one.grow(SMALL_BYTES + 1 + (number + 2) * int(SLOW_RATE * now), now=lambda: now)
    last = await honest
    assert lost == [first[0]]
    assert not any(one.done() for one in waiting)
    other = asyncio.ensure_future(grow(of("10.0.0.2")))
    for _ in range(50):
        await asyncio.sleep(0)
    assert lost == [first[0], first[1]]
    await other
    third = asyncio.ensure_future(grow(of("10.0.0.3")))
    for _ in range(50):
        await asyncio.sleep(0)
    assert (len(lost), third.done()) == (2, False)  # Each has its part.
    last.leave()
    await third
    for task in (*waiting, third):
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
