"""Room for messages of all MLLP connections: how many large ones are in memory at once.

A message takes no place while it is small, one of some when it grows beyond, and one of few when it is large.
Who finds none waits, and its sender with it: nothing more is read from the connection. Places are taken in
this order alone, so that nobody waits for somebody who waits for them.
"""

from __future__ import annotations

from asyncio import Semaphore
from typing import Final

SMALL_BYTES: Final = 65_536
"""Largest message that needs no place: nearly every one without a document."""
MEDIUM_BYTES: Final = 2_000_000
"""Largest message that takes a medium place alone."""
LARGE_PART: Final = 0.75
"""Part of the bytes that is for large messages."""


class ConnectionRoom:
    """Places shared by all connections."""

    def __init__(self, bytes_max: int, message_bytes_max: int) -> None:
        large = int(bytes_max * LARGE_PART)
        self.large = Semaphore(max(1, large // message_bytes_max))
        self.medium = Semaphore(max(2, (bytes_max - large) // MEDIUM_BYTES))


class Place:
    """The places that the message of one connection has taken."""

    __slots__ = ("_room", "_taken")

    def __init__(self, room: ConnectionRoom) -> None:
        self._room = room
        self._taken: list[Semaphore] = []

    async def grow(self, size: int) -> None:
        """Wait until there is room for a message of this size."""
        if size > SMALL_BYTES and not self._taken:
            await self._take(self._room.medium)
        if size > MEDIUM_BYTES and len(self._taken) == 1:
            await self._take(self._room.large)

    async def _take(self, places: Semaphore) -> None:
        await places.acquire()
        self._taken.append(places)

    def leave(self) -> None:
        """Give all places back."""
        while self._taken:
            self._taken.pop().release()
