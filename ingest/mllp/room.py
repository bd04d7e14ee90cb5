"""Room for messages of all MLLP connections: how many large ones are in memory at once.

A message takes no place while it is small, one of some when it grows beyond, and one of few when it is large.
Who finds none waits, and its sender with it: nothing more is read from the connection. Places are taken in
this order alone, so that nobody waits for somebody who waits for them. While somebody waits, a message that
hardly grows loses its place, and its connection: senders that stand still hold up nobody for long.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL_BYTES: Final = 65_536
"""Largest message that needs no place: nearly every one without a document."""
MEDIUM_BYTES: Final = 2_000_000
"""Largest message that takes a medium place alone."""
LARGE_PART: Final = 0.75
"""Part of the bytes that is for large messages."""
LOOK_SECONDS: Final = 1.0
"""Pause between two looks for a message that hardly grows, while somebody waits for its place."""
SLOW_RATE: Final = 16_384
"""Bytes a second below which a message hardly grows."""
SLOW_SECONDS: Final = 2.0
"""Time for which a message has its place in any case."""


class _Places(asyncio.Semaphore):
    """Places of one size, and who has them."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.taken: set[Place] = set()

    async def take(self, place: Place) -> None:
        """Wait for one."""
        taking = asyncio.ensure_future(self.acquire())
        try:
            while not (await asyncio.wait({taking}, timeout=LOOK_SECONDS))[0]:
                self.let_go_of_slowest(monotonic())
        except asyncio.CancelledError:
            if not taking.cancel() and not taking.cancelled():
                self.release()  # It was given and is not taken.
            raise
        self.taken.add(place)

    def give(self, place: Place) -> None:
        """Take one back."""
        self.taken.discard(place)
        self.release()

    def let_go_of_slowest(self, now: float) -> None:
        """Have the slowest of those leave that hardly grow."""
        rates = [(rate, id(one), one) for one in self.taken if (rate := one.rate(now)) is not None]
        if rates and min(rates)[0] < SLOW_RATE:
            min(rates)[-1].lose()


class ConnectionRoom:
    """Places shared by all connections."""

    def __init__(self, bytes_max: int, message_bytes_max: int) -> None:
        large = int(bytes_max * LARGE_PART)
        self.large = _Places(max(1, large // message_bytes_max))
        self.medium = _Places(max(2, (bytes_max - large) // MEDIUM_BYTES))


class Place:
    """The places that the message of one connection has taken."""

    __slots__ = ("_begun_at", "_begun_size", "_is_waiting", "_lose", "_room", "_size", "_taken")

    def __init__(self, room: ConnectionRoom, lose: Callable[[], object]) -> None:
        """`lose` ends the connection."""
        self._room = room
        self._lose = lose
        self._taken: list[_Places] = []
        self._is_waiting = False
        """Whether its sender is held up by us."""
        self._begun_at: float | None = None
        self._begun_size = 0
        self._size = 0

    async def grow(self, size: int, *, now: Callable[[], float] = monotonic) -> None:
        """Wait until there is room for a message of this size."""
        self._size = size
        if self._taken and self._begun_at is None:  # Another message of the connection.
            self._begun_at, self._begun_size = now(), size
        if size > SMALL_BYTES and not self._taken:
            await self._take(self._room.medium)
            self._begun_at, self._begun_size = now(), size
        if size > MEDIUM_BYTES and len(self._taken) == 1:
            await self._take(self._room.large)
            self._begun_at, self._begun_size = now(), size

    async def _take(self, places: _Places) -> None:
        self._is_waiting = True
        try:
            await places.take(self)
        finally:
            self._is_waiting = False
        self._taken.append(places)

    def rate(self, now: float) -> float | None:
        """Bytes a second since it has its last place; None: it has not been watched for long enough, is held
        up by us, or has come as a whole.
        """
        if self._begun_at is None or self._is_waiting or now - self._begun_at < SLOW_SECONDS:
            return None
        return (self._size - self._begun_size) / (now - self._begun_at)

    def has_come(self) -> None:
        """Keep the places until `leave`: the message has come as a whole."""
        self._begun_at = None

    def lose(self) -> None:
        """End the connection: somebody else needs its place."""
        self._lose()

    def leave(self) -> None:
        """Give all places back."""
        self._begun_at = None
        while self._taken:
            self._taken.pop().give(self)
