"""Group commit: pushes that are under way together share one journaled write, each waits for its own result.

One fsync serves them all, so throughput grows with the load while a lone push waits for nobody. Measured
figures are in `docs/performance.md`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from store.metrics import StoreMetrics
    from store.settings import StoreSettings

Work = TypeVar("Work")
Done = TypeVar("Done")


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
        self._waiting: deque[tuple[Work, asyncio.Future[Done]]] = deque()
        self._under_way: dict[asyncio.Task[None], frozenset[str]] = {}

    async def submit(self, works: Sequence[Work]) -> list[Done]:
        """Commit these; returns when all are durable. Raises ServiceError when the queue is full."""
        if len(self._waiting) + len(works) > self._settings.commit_queue_max and self._waiting:
            text = "too many writes are waiting; try again shortly"
            raise ServiceError(Category.UNAVAILABLE, Issue("throttled", text))
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Done]] = [loop.create_future() for _ in works]
        self._waiting.extend(zip(works, futures, strict=True))
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
            self._under_way[task] = frozenset(self._same(work) for work, _ in group)
            task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._start()

    def _take(self) -> list[tuple[Work, asyncio.Future[Done]]]:
        """The next group: in order, within the limits, no resource twice or under way already.

        Two groups that write one resource would race, and the one that loses starts over.
        """
        group: list[tuple[Work, asyncio.Future[Done]]] = []
        names: set[str] = set().union(*self._under_way.values())
        total = 0
        while self._waiting and len(group) < self._settings.commit_operations_max:
            work = self._waiting[0][0]
            name, total = self._same(work), total + self._size(work)
            if name in names or (group and total > self._settings.commit_bytes_max):
                break
            names.add(name)
            group.append(self._waiting.popleft())
        if group:
            self._metrics.commit(len(group), len(self._waiting))
        return group

    async def _run(self, group: Sequence[tuple[Work, asyncio.Future[Done]]]) -> None:
        try:
            results = await self._commit([work for work, _ in group])
        except BaseException as error:
            for _, future in group:
                if not future.done():
                    future.set_exception(_for_all(error))
            if not isinstance(error, Exception):
                raise
            return
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, ServiceError):
                future.set_exception(_for_all(result))
            else:
                future.set_result(result)


def _for_all(error: BaseException) -> BaseException:
    """Each waiter gets its own exception: one object raised in many tasks would mix their tracebacks."""
    if isinstance(error, ServiceError):
        return ServiceError(error.category, *error.issues)
    if isinstance(error, asyncio.CancelledError):
        return ServiceError(Category.UNAVAILABLE, Issue("transient", "the service is stopping"))
    return error
