"""Reads that are under way together share a turn of one driver thread.

Handing one call to a thread and its answer back costs the event loop more than the call itself: a lock, two
wake-ups, and a fight for the interpreter. A lone read starts at once; under load a turn takes several, and
what they have in common is done once around them.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeVar

from store.errors import Category, ServiceError
from store.fair import FairQueue
from store.fhir.issues import Issue
from store.mongo.driver.guard import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from store.fair import Asker, Shares

Answer = TypeVar("Answer")
Around: TypeAlias = "Callable[[Sequence[Any], float], AbstractContextManager[object]]"
"""Frame in which a batch of jobs is run: given the jobs, and the seconds that the first of them has left."""


class _Waiting(NamedTuple):
    asker: Asker
    job: Callable[[float], object]
    since: float
    """Moment, on the monotonic clock, from which it waits."""
    until: float
    future: asyncio.Future[object]


TURN_SECONDS: Final = 0.02
"""Time after which a turn begins no more of its jobs while others wait, for these are no quick ones."""


class ReadBatches:
    """A few threads, and the reads that wait for them; each asker has a share of both.

    A job is a plain function of the seconds it has left; one that waited too long is not begun, so that a
    database that hangs fails everyone at the deadline instead of one after the other.
    """

    def __init__(  # noqa: PLR0913 -- keyword-only
        self,
        *,
        threads: Shares,
        waiting: Shares,
        jobs_max: int,
        name: str,
        around: Around = lambda _, __: nullcontext(),
        waited: Callable[[float], None] = lambda _: None,
        most: Callable[[Asker], int] | None = None,
        rest: Callable[[Asker, float], float] = lambda _, __: 0.0,
    ) -> None:
        """`rest`: seconds for which an asker has no other turn in place of one that took so many seconds."""
        self._waited = waited
        self._rest = rest
        self._around = around
        self._pool = ThreadPoolExecutor(threads.all, thread_name_prefix=name)
        self._threads = threads.all
        self._jobs_max = jobs_max
        self._waiting: FairQueue[_Waiting] = FairQueue(places=threads, waiting=waiting, most=most)
        self._busy = 0

    async def run(self, asker: Asker, job: Callable[[float], Answer], *, seconds: float) -> Answer:
        """Result of the job, within about `seconds`. Raises what the job raises.

        Raises ServiceError `throttled` or `unavailable` when too many wait already.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        now = monotonic()
        self._waiting.put(asker, _Waiting(asker, job, now, now + bounded(seconds), future))
        self._start(loop)
        return await future  # type: ignore[return-value]  # the job's own answer

    def __len__(self) -> int:
        """Number of reads that wait."""
        return len(self._waiting)

    def waiting_of(self, asker: Asker) -> int:
        """Number of reads of an asker that wait."""
        return self._waiting.waiting_of(asker)

    def close(self) -> None:
        """Take no more reads. Threads end with the batch that they are at."""
        self._threads = 0  # Whoever rests comes back to no pool.
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._busy < self._threads:
            # What waits is spread over the threads that are free.
            fair = -(-len(self._waiting) // (self._threads - self._busy))
            turn, askers = self._turn(min(fair, self._jobs_max))
            if not askers:  # Whoever waits has its share under way.
                return
            if turn:
                now = monotonic()
                for one in turn:
                    self._waited(now - one.since)
                self._pool.submit(self._take, turn, askers, loop)
                self._busy += 1
            else:
                self._free(askers)

    def _turn(self, most: int) -> tuple[list[_Waiting], list[Asker]]:
        """The jobs of one thread, and for whom it is taken."""
        turn: list[_Waiting] = []
        askers: list[Asker] = []
        while len(turn) < most and (taken := self._waiting.take(askers)) is not None:
            asker, waiting = taken
            if asker not in askers:
                askers.append(asker)
            if not waiting.future.done():  # Else nobody waits for it any more.
                turn.append(waiting)
        return turn, askers

    def _free(self, askers: Sequence[Asker]) -> None:
        for asker in askers:
            self._waiting.ended(asker)

    def _rested(self, asker: Asker, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting.ended(asker)
        self._start(loop)

    def _ended(
        self,
        turn: Sequence[_Waiting],
        askers: Sequence[Asker],
        answers: Sequence[object],
        seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._busy -= 1
        for asker in askers:
            if (rest := self._rest(asker, seconds)) > 0:  # Its thread is free, its place is not.
                loop.call_later(rest, self._rested, asker, loop)
            else:
                self._waiting.ended(asker)
        for late in reversed(turn[len(answers) :]):
            self._waiting.back(late.asker, late)
        for one, answer in zip(turn, answers, strict=False):
            if one.future.done():
                continue
            if isinstance(answer, Exception):
                one.future.set_exception(answer)
            else:
                one.future.set_result(answer)
        self._start(loop)

    # --- in a thread

    def _take(
        self, turn: Sequence[_Waiting], askers: Sequence[Asker], loop: asyncio.AbstractEventLoop
    ) -> None:
        """Each job's answer, or what it raised, handed back together; of those that were begun."""
        answers: list[object] = []
        begun = monotonic()
        try:
            with self._around([one.job for one in turn], turn[0].until - begun):
                for one in turn:
                    if answers and monotonic() - begun > TURN_SECONDS and self._waiting.askers > len(askers):
                        break
                    answers.append(_answer(one))
        except Exception as error:  # noqa: BLE001 -- a turn that never ended would keep its thread for good
            answers = [error] * len(turn)
        # One call into the loop, where a future of the pool would wake one of the loop that wakes these.
        loop.call_soon_threadsafe(self._ended, turn, askers, answers, monotonic() - begun, loop)


def _answer(one: _Waiting) -> object:
    left = one.until - monotonic()
    if left <= 0:
        text = "the database did not answer in time; try again"
        return ServiceError(Category.TIMEOUT, Issue("timeout", text))
    try:
        return one.job(left)
    except Exception as error:  # noqa: BLE001 -- handed to whoever waits for this job
        return error
