"""Room for messages of all MLLP connections: how many large ones are in memory at once.

A message takes no place while it is small, one of some when it grows beyond, and one of few when it is large.
Who finds none waits, and its sender with it: nothing more is read from the connection. Places are taken in
this order alone, so that nobody waits for somebody who waits for them. While somebody waits, a message that
hardly grows loses its place, and its connection: senders that stand still hold up nobody for long. Places go
round among networks (`ingest.places`), and one that has more than its part loses one to another.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from time import monotonic
from typing import TYPE_CHECKING, Final

from ingest.places import network_of
from ingest.work import next_of

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


class _Places:
    """Places of one size, who has them, and who waits."""

    def __init__(self, number: int) -> None:
        self._free = number
        self.taken: set[Place] = set()
        self._waiting: dict[str, deque[tuple[Place, asyncio.Future[None]]]] = {}
        """Places that are waited for, by network; the one whose turn was longest ago first."""

    async def take(self, place: Place) -> None:
        """Wait for one."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(place.network, deque()).append((place, turn))
        self._hand_out()
        try:
            while not (turn.done() or (await asyncio.wait({turn}, timeout=LOOK_SECONDS))[0]):
                self.make_way(place.network, monotonic())
        except asyncio.CancelledError:
            if turn.done():
                self.give(place)  # It was given and is not taken.
            turn.cancel()
            raise

    def give(self, place: Place) -> None:
        """Take one back."""
        self.taken.discard(place)
        self._free += 1
        self._hand_out()

    def _hand_out(self) -> None:
        """Give what is free to the networks that have fewest, by turns."""
        while self._free and self._waiting:
            has = self._number()
            network = min(self._waiting, key=has.__getitem__)
            place, turn = next_of(self._waiting, network)
            if not turn.done():
                self._free -= 1
                self.taken.add(place)
                turn.set_result(None)

    def make_way(self, network: str, now: float) -> None:
        """Have one leave whose message hardly grows, or else one of a network that has more than its part.

        The slowest of them, and none that has come as a whole.
        """
        rates = [(rate, id(one), one) for one in self.taken if (rate := one.rate(now)) is not None]
        has = self._number()
        leaving = [one for one in rates if one[0] < SLOW_RATE] or [
            one for one in rates if has[one[-1].network] > has[network] + 1
        ]
        if leaving:
            min(leaving)[-1].lose()

    def _number(self) -> Counter[str]:
        return Counter(one.network for one in self.taken)


class ConnectionRoom:
    """Places shared by all connections."""

    def __init__(self, bytes_max: int, message_bytes_max: int) -> None:
        large = int(bytes_max * LARGE_PART)
        self.large = _Places(max(1, large // message_bytes_max))
        self.medium = _Places(max(2, (bytes_max - large) // MEDIUM_BYTES))


class Place:
    """The places that the message of one connection has taken."""

    __slots__ = ("_begun_at", "_begun_size", "_is_waiting", "_lose", "_room", "_size", "_taken", "network")

    def __init__(self, room: ConnectionRoom, address: str, lose: Callable[[], object]) -> None:
        """`lose` ends the connection."""
        self.network = network_of(address)
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
