"""The listener: how many connections it has, and whose."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest

from ingest.mllp.listener import Heard, Limits, Listener, Peer
from ingest.mllp.room import ConnectionRoom

LIMITS = Limits(10_000, 2, idle_seconds=100.0, stall_seconds=100.0, message_seconds=100.0)


class Counts(Counter[str]):
    """Counters of a listener."""

    def connected(self, listener: str, number: int) -> None:
        self[listener] += number

    def refused(self, listener: str, reason: str) -> None:
        self[f"{listener}: {reason}"] += 1


async def nothing(_: Heard, __: Peer) -> list[bytes]:
    return []


@pytest.mark.parametrize(("admitted", "counts"), [(2, {"x": 2}), (1, {"x": 1, "x: stranger": 39})])
def test_many_that_come_together_are_no_more_than_there_may_be(admitted: int, counts: dict[str, int]) -> None:
    """Accepted eight at a time, as Python's own event loop does; strangers cost nobody else the place."""

    async def come() -> Counts:
        asked, told, are_there = 0, Counts(), asyncio.Event()

        def admits(_: Peer) -> bool:
            nonlocal asked
            asked += 1
            if asked == 40:
                are_there.set()
            return admitted > 1 or asked == 1

        room = ConnectionRoom(10_000_000, 1_000_000)
        listener = Listener("x", nothing, admits, limits=LIMITS, room=room, metrics=told)
        port = await listener.start("127.0.0.1", 0)
        together = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        await are_there.wait()
        for _ in range(5):
            await asyncio.sleep(0)  # Those that give way end.
        found = Counts(told)
        for one in together:
            one.close()
        await listener.close(1.0)
        return found

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert +runner.run(come()) == counts
