"""Reads that are under way together share a turn of one driver thread.

Handing one call to a thread and its answer back costs the event loop more than the call itself: a lock, two
wake-ups, and a fight for the interpreter. A lone read starts at once; under load a turn takes several, and
what they have in common is done once around them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

Answer = TypeVar("Answer")
Around: TypeAlias = "Callable[[Sequence[Any], float], AbstractContextManager[object]]"
"""What a turn is taken in: given its jobs, and the seconds that the first of them has left."""


class _Waiting(NamedTuple):
    job: Callable[[float], object]
    until: float
    """On the monotonic clock."""
    future: asyncio.Future[object]


class Turns:
    """A few threads, and the reads that wait for them.

    A job is a plain function of the seconds it has left; one that waited too long is not begun, so that a
    database that hangs fails everyone at the deadline instead of one after the other.
    """

    def __init__(
        self,
        *,
        threads: int,
        jobs_max: int,
        name: str,
        around: Around = lambda _, __: nullcontext(),
    ) -> None:
        self._around = around
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._jobs_max = jobs_max
        self._waiting: deque[_Waiting] = deque()
        self._busy = 0

    async def run(self, job: Callable[[float], Answer], *, seconds: float) -> Answer:
        """What the job returns or raises, within about `seconds`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._waiting.append(_Waiting(job, monotonic() + seconds, future))
        self._start(loop)
        return await future  # type: ignore[return-value]  # the job's own answer

    def close(self) -> None:
        """Begin nothing more; threads end when what they do has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting and self._busy < self._threads:
            # What waits is spread over the threads that are free.
            fair = -(-len(self._waiting) // (self._threads - self._busy))
            turn = [self._waiting.popleft() for _ in range(min(fair, self._jobs_max))]
            turn = [one for one in turn if not one.future.done()]  # Nobody waits for those any more.
            if turn:
                self._pool.submit(self._take, turn, loop)
                self._busy += 1

    def _ended(
        self, turn: Sequence[_Waiting], answers: Sequence[object], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._busy -= 1
        for (_, _, future), answer in zip(turn, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)
        self._start(loop)

    # --- in a thread

    def _take(self, turn: Sequence[_Waiting], loop: asyncio.AbstractEventLoop) -> None:
        """Each job's answer, or what it raised, handed back together."""
        answers: Sequence[object]
        try:
            with self._around([one.job for one in turn], turn[0].until - monotonic()):
                answers = [_answer(one) for one in turn]
        except Exception as error:  # noqa: BLE001 -- a turn that never ended would keep its thread for good
            answers = [error] * len(turn)
        # One call into the loop, where a future of the pool would wake one of the loop that wakes these.
        loop.call_soon_threadsafe(self._ended, turn, answers, loop)


def _answer(one: _Waiting) -> object:
    left = one.until - monotonic()
    if left <= 0:
        text = "the database did not answer in time; try again"
        return ServiceError(Category.TIMEOUT, Issue("timeout", text))
    try:
        return one.job(left)
    except Exception as error:  # noqa: BLE001 -- handed to whoever waits for this job
        return error
