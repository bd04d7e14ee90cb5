"""Reads that are under way together share a turn of one driver thread.

Handing one call to a thread and its answer back costs the event loop more than the call itself: a lock, two
wake-ups, and a fight for the interpreter. A lone read starts at once; under load a turn takes several.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Answer = TypeVar("Answer")


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

    def __init__(self, *, threads: int, jobs_max: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._jobs_max = jobs_max
        self._waiting: deque[_Waiting] = deque()
        self._busy = 0

    async def run(self, job: Callable[[float], Answer], *, seconds: float) -> Answer:
        """What the job returns or raises, within about `seconds`."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(job, monotonic() + seconds, future))
        self._start()
        return await future  # type: ignore[return-value]  # the job's own answer

    def close(self) -> None:
        """Begin nothing more; threads end when what they do has ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._waiting and self._busy < self._threads:
            # What waits is spread over the threads that are free.
            fair = -(-len(self._waiting) // (self._threads - self._busy))
            turn = [self._waiting.popleft() for _ in range(min(fair, self._jobs_max))]
            turn = [one for one in turn if not one.future.done()]  # Nobody waits for those any more.
            if turn:
                self._busy += 1
                running = asyncio.get_running_loop().run_in_executor(self._pool, _take_turn, turn)
                running.add_done_callback(partial(self._ended, turn))

    def _ended(self, turn: Sequence[_Waiting], done: asyncio.Future[list[object]]) -> None:
        self._busy -= 1
        if not done.cancelled():
            for (_, _, future), answer in zip(turn, done.result(), strict=True):
                if future.done():
                    continue
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)
        self._start()


def _take_turn(turn: Sequence[_Waiting]) -> list[object]:
    """In a thread: each job's answer, or what it raised."""
    return [_answer(one) for one in turn]


def _answer(one: _Waiting) -> object:
    left = one.until - monotonic()
    if left <= 0:
        text = "the database did not answer in time; try again"
        return ServiceError(Category.TIMEOUT, Issue("timeout", text))
    try:
        return one.job(left)
    except Exception as error:  # noqa: BLE001 -- handed to whoever waits for this job
        return error
