"""Audit records that are handed in together share one journaled write, in a thread of its own.

A search hands its record in before it searches, and asks for it afterwards: its slack is the time in between.
A write that begins after a third of it takes along what came meanwhile, and has ended before anybody asks.
Who asks earlier has the write begun at once; a lone record, whose search is quick, is written at once too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from store.metrics import AuditMetrics

Item = TypeVar("Item")

LEAST_SLACK: Final = 0.002
"""Seconds of slack below which a write begins at once: there is no load."""
MOST_SLACK: Final = 0.06
"""Seconds of slack that are counted on at most."""
_PART: Final = 1 / 3
"""Part of the slack in which records gather."""
_WEIGHT: Final = 0.05
"""Weight of one record's slack in the average."""
_FULL: Final = Issue("transient", "too many audit records are waiting; try again shortly")
_NOT_KEPT: Final = Issue(
    "transient", "the access could not be put on record, and without a record nothing is answered; try again"
)


class Submission(Generic[Item]):
    """A record on its way; see `Pending`."""

    __slots__ = ("_error", "_is_over", "_waiter", "_writer", "item", "since")

    def __init__(self, item: Item, writer: GroupWriter[Item], since: float) -> None:
        self.item = item
        self.since = since
        """Moment at which it was handed in, on the monotonic clock."""
        self._writer = writer
        self._is_over = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def kept(self) -> None:
        """Return when the record is durable. Raises ServiceError when it could not be kept."""
        if not self._is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            self._writer.is_asked_for(self)
            await self._waiter
        else:
            self._writer.had_slack(self)
        if self._error is not None:
            raise ServiceError(Category.UNAVAILABLE, _NOT_KEPT) from self._error

    @property
    def is_asked_for(self) -> bool:
        """Whether somebody waits for it."""
        return self._waiter is not None

    def end(self, error: Exception | None) -> None:
        """Note what came of the write."""
        self._is_over, self._error = True, error
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class GroupWriter(Generic[Item]):
    """A bounded queue in front of a function that writes many items at once. Of one event loop."""

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        group_max: int,
        waiting_max: int,
        metrics: AuditMetrics | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._write = write
        self._group_max = group_max
        self._waiting_max = waiting_max
        self._metrics = metrics
        self._clock = clock
        self._waiting: deque[Submission[Item]] = deque()
        self._running: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._slack = 0.0
        """Average time between handing in and asking."""
        if metrics is not None:
            metrics.queue(lambda: len(self._waiting))

    def submit(self, item: Item) -> Submission[Item]:
        """Hand in an item. Raises ServiceError `unavailable` when too many wait."""
        if len(self._waiting) >= self._waiting_max:
            if self._metrics is not None:
                self._metrics.lost(1)
            raise ServiceError(Category.UNAVAILABLE, _FULL)
        submission = Submission(item, self, self._clock())
        self._waiting.append(submission)
        if self._running is None and self._timer is None:
            self._begin_in_time()
        return submission

    def is_asked_for(self, submission: Submission[Item]) -> None:
        """Begin the write of a record that somebody waits for."""
        self.had_slack(submission)
        if self._running is None:
            self._begin()

    def had_slack(self, submission: Submission[Item]) -> None:
        """Learn from a record how long there is until it is asked for."""
        slack = min(self._clock() - submission.since, MOST_SLACK)
        if slack > LEAST_SLACK / 10:  # Else it was handed in last of all: that says nothing of searches.
            self._slack += (slack - self._slack) * _WEIGHT

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._running is not None or self._waiting:
            if self._running is None:
                self._begin()
            assert self._running is not None  # noqa: S101 -- begun
            await asyncio.wait({self._running})

    def _begin_in_time(self) -> None:
        """Begin a write when the slack of the oldest record leaves no more room to gather."""
        oldest = self._waiting[0]
        left = oldest.since + self._slack * _PART - self._clock()
        if self._slack < LEAST_SLACK or left <= 0 or any(one.is_asked_for for one in self._waiting):
            self._begin()
        else:
            self._timer = asyncio.get_running_loop().call_later(left, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._running is None and self._waiting:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._group_max))]
            self._running = detached(self._one(group))

    async def _one(self, group: Sequence[Submission[Item]]) -> None:
        error: Exception | None = None
        try:
            await self._write([one.item for one in group])
        except Exception as raised:  # noqa: BLE001 -- told to each who waits for a record of the group
            error = raised
        except BaseException:
            self._ended(group, ServiceError(Category.UNAVAILABLE, _NOT_KEPT))
            raise
        self._ended(group, error)

    def _ended(self, group: Sequence[Submission[Item]], error: Exception | None) -> None:
        self._running = None
        if self._metrics is not None:
            self._metrics.written(len(group), kept=error is None)
        for one in group:
            one.end(error)
        if self._waiting:
            self._begin_in_time()


def in_thread(pool: ThreadPoolExecutor, call: Callable[[], None]) -> Awaitable[None]:
    """The call in a thread of the pool, its end told to the loop in one step."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def ended(error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def work() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as raised:  # noqa: BLE001 -- handed to whoever waits
            error = raised
        loop.call_soon_threadsafe(ended, error)

    pool.submit(work)
    return future
