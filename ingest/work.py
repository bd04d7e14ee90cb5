"""Ways to do work: here and now or beside the event loop, and many pieces of it without holding up others."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
K = TypeVar("K", bound="Hashable")

PIECE_SECONDS: Final = 0.003
"""Seconds of work on the event loop before others get a turn."""
AT_ONCE: Final = 8
"""Pieces that begin in one turn of the event loop."""
TOGETHER: Final = 8
"""Pieces of one request that wait for the database at once."""


class Work(Protocol):
    """Way to call a pure function: at once, or beside the event loop."""

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of the function."""


async def at_once(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it here: the way of bodies that are small."""
    return function(*args, **kwargs)


class Pace:
    """Time that work has taken since others had a turn; all who work on the same share it."""

    def __init__(self) -> None:
        self._until = monotonic() + PIECE_SECONDS
        self._is_over = False

    async def keep(self) -> None:
        """Go on, in a later turn of the event loop when the time of this one is over."""
        while monotonic() >= self._until:
            if not self._is_over:
                self._is_over = True
                asyncio.get_running_loop().call_soon(self._begin)
            await asyncio.sleep(0)

    def _begin(self) -> None:
        self._until = monotonic() + PIECE_SECONDS
        self._is_over = False


class Turns:
    """Turns to begin something: a few in each turn of the event loop, those who ask one after another.

    See DECISIONS.md#requests-begin-by-turns.
    """

    def __init__(self) -> None:
        self._left = AT_ONCE
        self._is_counting = False
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self, asker: Hashable) -> None:
        """Go on, in a later turn of the event loop when enough has begun in this one."""
        self._count()
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(turn)
        await turn

    def _count(self) -> None:
        if not self._is_counting:
            self._is_counting = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Let the next ones go on."""
        self._is_counting, self._left = False, AT_ONCE
        while self._left and self._waiting:
            turn = next_of(self._waiting, next(iter(self._waiting)))
            if not turn.done():
                self._left -= 1
                turn.set_result(None)
        if self._left < AT_ONCE:
            self._count()


def next_of(waiting: dict[K, deque[V]], asker: K) -> V:
    """The first of what waits for an asker, taken out; what is left of it waits behind all others'."""
    some = waiting.pop(asker)
    first = some.popleft()
    if some:
        waiting[asker] = some
    return first


async def unhurried(items: Iterable[T], pace: Pace | None = None) -> AsyncIterator[T]:
    """Items one by one; others get turns in between, however long the work on each takes together.

    Those who have a pace in common take that long together.
    """
    pace = pace or Pace()
    for item in items:
        await pace.keep()
        yield item


async def each_of(items: Iterable[T], call: Callable[[T], Awaitable[V]]) -> list[V]:
    """Results of a call for each item, in their order; a few are under way at once.

    All at once, thousands of them would hold up the event loop, and stand in front of others at the database.
    """
    left, pace = deque(enumerate(items)), Pace()
    results = dict[int, V]()

    async def work() -> None:
        try:
            while left:
                number, item = left.popleft()
                results[number] = await call(item)
                await pace.keep()
        except BaseException:
            left.clear()
            raise

    await asyncio.gather(*(work() for _ in range(min(TOGETHER, len(left)))))
    return [results[number] for number in range(len(results))]
