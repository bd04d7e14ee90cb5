"""Group commit: pushes that are under way together share one journaled write, each waits for its own result.

One fsync serves them all, so throughput grows with the load while a lone push waits for nobody. Measured
figures are in `docs/benchmark-figures.md`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import count, repeat
from time import monotonic
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from store.detached import detached
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.driver.circuit_breaker import refusal
from store.spans import spent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.settings import StoreSettings

Work = TypeVar("Work")
Done = TypeVar("Done")


_FULL: Final = Issue("transient", "too many writes are waiting; nothing was stored, try again shortly")
_LATE: Final = Issue("timeout", "the database did not answer in time; the same can be sent again")


class _Submission(Generic[Done]):
    """Works handed in together: one future for all, for one for each would cost as much as the writes."""

    __slots__ = ("answers", "future", "missing")

    def __init__(self, works: int) -> None:
        self.answers: dict[int, Done | BaseException] = {}
        self.missing = works
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, place: int, answer: Done | BaseException) -> None:
        """Note the result of one work; the last one wakes the waiter, if it still waits."""
        self.answers[place] = answer
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(None)


class _Waiting(NamedTuple, Generic[Work, Done]):
    work: Work
    name: str
    """Name that no other work of its group may have."""
    size: int
    submission: _Submission[Done]
    place: int
    until: float
    """Moment, on the monotonic clock, past which the work is not begun."""


class GroupCommit(Generic[Work, Done]):
    """A bounded queue in front of a function that commits many at once.

    `commit` answers each of its works with a result or an exception; what it raises itself is the answer to
    all. `same` names what two works of one group must not share (two writes to one resource). `metrics` are
    those of pushes: whatever else is committed together goes without.
    """

    def __init__(  # noqa: PLR0913 (all but the first keyword-only)
        self,
        commit: Callable[[Sequence[Work]], Awaitable[Sequence[Done | ServiceError]]],
        *,
        same: Callable[[Work], str],
        size: Callable[[Work], int],
        settings: StoreSettings,
        metrics: StoreMetrics | None = None,
        pulse: Pulse | None = None,
    ) -> None:
        self._commit = commit
        self._pulse = pulse
        if pulse is not None:
            pulse.on_lost = self._refuse_waiting
        self._same = same
        self._size = size
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[_Waiting[Work, Done]] = deque()
        self._bytes = 0
        """Bytes of the works that wait."""
        if metrics is not None:
            metrics.queue(lambda: len(self._waiting), lambda: self._bytes)
        self._under_way: dict[asyncio.Task[None], frozenset[str]] = {}

    async def submit(self, works: Sequence[Work]) -> list[Done]:
        """Commit these; returns when all are durable.

        Raises ServiceError when the queue is full or MongoDB is away, before any of them is begun, when
        the group's turn does not come in time, or when one of them is refused.
        """
        return all_done(await self.outcomes(works))

    async def outcomes(self, works: Sequence[Work]) -> list[Done | BaseException]:
        """Result of each work, or the exception that `submit` would raise for it. Raises what stops all of
        them.
        """
        if self._pulse is not None:
            self._pulse.check()
        if not works:
            return []
        sizes = [self._size(work) for work in works]
        size = sum(sizes)
        self._check_room(len(works), size)
        submission: _Submission[Done] = _Submission(len(works))
        begun = monotonic()
        until = begun + self._settings.store_timeout_seconds
        names = map(self._same, works)
        self._waiting.extend(map(_Waiting, works, names, sizes, repeat(submission), count(), repeat(until)))
        self._bytes += size
        self._start()
        await submission.future
        spent("commit", monotonic() - begun, writes=len(works))
        return [submission.answers[place] for place in range(len(works))]

    def _check_room(self, works: int, size: int) -> None:
        """Refuse what does not fit; what is larger than the whole queue goes when nobody waits."""
        if not self._waiting:
            return
        reason = None
        if len(self._waiting) + works > self._settings.commit_queue_max:
            reason = "operations"
        elif self._bytes + size > self._settings.commit_queue_bytes_max:
            reason = "bytes"
        if reason is not None:
            if self._metrics is not None:
                self._metrics.rejected(reason)
            raise ServiceError(Category.UNAVAILABLE, _FULL)

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self) -> None:
        while self._waiting and len(self._under_way) < self._settings.commit_parallel:
            group = self._take()
            if not group:
                return  # Its resource is being written: the group that ends starts the next one.
            task = detached(self._run(group))
            self._under_way[task] = frozenset([one.name for one in group])
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
                late = self._next()
                late.submission.answer(late.place, ServiceError(Category.TIMEOUT, _LATE))
                continue
            _, name, size, *_ = self._waiting[0]
            total += size
            if name in names or (group and total > self._settings.commit_bytes_max):
                break
            names.add(name)
            group.append(self._next())
        if group and self._metrics is not None:
            since = now + self._settings.store_timeout_seconds
            self._metrics.commit(len(group), [since - one.until for one in group])
        return group

    def _next(self) -> _Waiting[Work, Done]:
        one = self._waiting.popleft()
        self._bytes -= one.size
        return one

    async def _run(self, group: Sequence[_Waiting[Work, Done]]) -> None:
        try:
            results = await self._commit([one.work for one in group])
        except BaseException as error:
            if self._pulse is not None:
                self._pulse.failed(error)
            for one in group:
                one.submission.answer(one.place, _for_all(error))
            if not isinstance(error, Exception):
                raise
            return
        for one, result in zip(group, results, strict=True):
            answer = _for_all(result) if isinstance(result, ServiceError) else result
            one.submission.answer(one.place, answer)

    def _refuse_waiting(self) -> None:
        """MongoDB is away: those not begun yet would only wait to hear so."""
        while self._waiting:
            one = self._next()
            one.submission.answer(one.place, refusal())


def all_done(answers: Sequence[Done | BaseException]) -> list[Done]:
    """All answers; raises the first that is a refusal."""
    for one in answers:
        if isinstance(one, BaseException):
            raise one
    return [one for one in answers if not isinstance(one, BaseException)]


def _for_all(error: BaseException) -> BaseException:
    """Exception for one waiter: a copy, for one object raised in many tasks would mix their tracebacks."""
    if isinstance(error, ServiceError):
        return ServiceError(error.category, *error.issues)
    if isinstance(error, asyncio.CancelledError):
        return ServiceError(Category.UNAVAILABLE, Issue("transient", "the service is stopping"))
    return error
