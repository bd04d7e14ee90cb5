"""Group commit: pushes that are under way together share one journaled write, each waits for its own result.

One fsync serves them all, so throughput grows with the load while a lone push waits for nobody. Measured
figures are in `docs/performance.md`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import repeat
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from store.metrics import StoreMetrics
    from store.settings import StoreSettings

Work = TypeVar("Work")
Done = TypeVar("Done")


_LATE: Final = Issue("timeout", "the database did not answer in time; the same can be sent again")


class _Waiting(NamedTuple, Generic[Work, Done]):
    work: Work
    future: asyncio.Future[Done]
    until: float
    """On the monotonic clock: past it, it is not begun."""


class GroupCommit(Generic[Work, Done]):
    """A bounded queue in front of a function that commits many at once.

    `commit` answers each of its works with a result or an exception; what it raises itself is the answer to
    all. `same` names what two works of one group must not share (two writes to one resource).
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Work]], Awaitable[Sequence[Done | ServiceError]]],
        *,
        same: Callable[[Work], str],
        size: Callable[[Work], int],
        settings: StoreSettings,
        metrics: StoreMetrics,
    ) -> None:
        self._commit = commit
        self._same = same
        self._size = size
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[_Waiting[Work, Done]] = deque()
        self._under_way: dict[asyncio.Task[None], frozenset[str]] = {}

    async def submit(self, works: Sequence[Work]) -> list[Done]:
        """Commit these; returns when all are durable.

        Raises ServiceError when the queue is full, or when the group's turn does not come in time.
        """
        if len(self._waiting) + len(works) > self._settings.commit_queue_max and self._waiting:
            text = "too many writes are waiting; try again shortly"
            raise ServiceError(Category.UNAVAILABLE, Issue("throttled", text))
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Done]] = [loop.create_future() for _ in works]
        until = monotonic() + self._settings.store_timeout_seconds
        self._waiting.extend(map(_Waiting, works, futures, repeat(until)))
        self._start()
        done = await asyncio.gather(*futures, return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result
        return [result for result in done if not isinstance(result, BaseException)]

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self) -> None:
        while self._waiting and len(self._under_way) < self._settings.commit_parallel:
            group = self._take()
            if not group:
                return  # Its resource is being written: the group that ends starts the next one.
            task = asyncio.create_task(self._run(group))
            self._under_way[task] = frozenset(self._same(one.work) for one in group)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._start()

    def _take(self) -> list[_Waiting[Work, Done]]:
        """The next group: in order, within the limits, no resource twice or under way already.

        Two groups that write one resource would race, and the one that loses starts over.
        """
        group: list[_Waiting[Work, Done]] = []
        names: set[str] = set().union(*self._under_way.values())
        total, now = 0, monotonic()
        while self._waiting and len(group) < self._settings.commit_operations_max:
            if self._waiting[0].until <= now:  # The groups before it ran to their deadlines.
                _answer(self._waiting.popleft(), ServiceError(Category.TIMEOUT, _LATE))
                continue
            work = self._waiting[0].work
            name, total = self._same(work), total + self._size(work)
            if name in names or (group and total > self._settings.commit_bytes_max):
                break
            names.add(name)
            group.append(self._waiting.popleft())
        if group:
            self._metrics.commit(len(group), len(self._waiting))
        return group

    async def _run(self, group: Sequence[_Waiting[Work, Done]]) -> None:
        try:
            results = await self._commit([one.work for one in group])
        except BaseException as error:
            for one in group:
                _answer(one, error)
            if not isinstance(error, Exception):
                raise
            return
        for one, result in zip(group, results, strict=True):
            _answer(one, result)


def _answer(one: _Waiting[Work, Done], answer: Done | BaseException) -> None:
    """Tell a waiter, if it still waits."""
    if one.future.done():
        return
    if isinstance(answer, BaseException):
        one.future.set_exception(_for_all(answer))
    else:
        one.future.set_result(answer)


def _for_all(error: BaseException) -> BaseException:
    """Each waiter gets its own exception: one object raised in many tasks would mix their tracebacks."""
    if isinstance(error, ServiceError):
        return ServiceError(error.category, *error.issues)
    if isinstance(error, asyncio.CancelledError):
        return ServiceError(Category.UNAVAILABLE, Issue("transient", "the service is stopping"))
    return error
