"""Work on large bodies beside the event loop: parsed and prepared a piece at a time, by turns of tenants.

One thread does it, since threads share the interpreter: two would only take turns at it. Bodies whose parsed
form is large wait for one another: a few of them are in memory, and no tenant has more than one of these.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

HEAVY_MAX: Final = 2
"""Heavy bodies under way at once."""
_NO_ROOM: Final = Issue("transient", "too many large bodies are under way; nothing was stored, try again")


class Workshop:
    """The thread, and who waits for it."""

    def __init__(self, *, seconds: float, wait_seconds: float) -> None:
        self.seconds = seconds
        """Seconds of work on one body."""
        self.wait_seconds = wait_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="workshop")
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._is_busy = False
        self._heavy: Counter[str] = Counter()
        self._heavy_waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def close(self) -> None:
        """End the thread, after the piece that it works on."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def do(self, tenant: str, call: Callable[[], T]) -> T:
        """Call it in the thread, when it is this tenant's turn."""
        await self._turn(tenant)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        finally:
            self._next()

    async def _turn(self, tenant: str) -> None:
        if not self._is_busy:
            self._is_busy = True
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._next()  # It was given and is not taken.
            raise

    def _next(self) -> None:
        """Give the thread to the tenant that has waited longest since its last turn."""
        while self._waiting:
            tenant, turns = next(iter(self._waiting.items()))
            del self._waiting[tenant]
            turn = turns.popleft()
            if turns:
                self._waiting[tenant] = turns  # Behind all others.
            if not turn.done():
                turn.set_result(None)
                return
        self._is_busy = False

    async def enter_heavy(self, tenant: str) -> None:
        """Wait until a heavy body of this tenant may be parsed. Raises ServiceError `unavailable`."""
        if self._has_room(tenant):
            self._heavy[tenant] += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._heavy_waiting.setdefault(tenant, deque()).append(turn)
        try:
            async with asyncio.timeout(self.wait_seconds):
                await turn
        except BaseException as error:
            waiting = self._heavy_waiting.get(tenant)
            if waiting is not None and turn in waiting:
                waiting.remove(turn)
            elif not turn.cancelled():
                self.leave_heavy(tenant)  # It was given and is not taken.
            if isinstance(error, TimeoutError):
                raise ServiceError(Category.UNAVAILABLE, _NO_ROOM) from None
            raise

    def _has_room(self, tenant: str) -> bool:
        return not self._heavy[tenant] and self._heavy.total() < HEAVY_MAX

    def leave_heavy(self, tenant: str) -> None:
        """Let the next heavy bodies in: of the tenants that have waited longest since their last one."""
        self._heavy[tenant] -= 1
        for other in tuple(self._heavy_waiting):
            if self._has_room(other):
                self._let_in(other)

    def _let_in(self, tenant: str) -> None:
        turns = self._heavy_waiting.pop(tenant)
        while turns:
            turn = turns.popleft()
            if not turn.done():
                self._heavy[tenant] += 1
                turn.set_result(None)
                break
        if turns:
            self._heavy_waiting[tenant] = turns  # Behind all others.


class Job:
    """The work on one body, bounded in time: a `Work`."""

    def __init__(self, workshop: Workshop, tenant: str) -> None:
        self._workshop = workshop
        self._tenant = tenant
        self._left = workshop.seconds

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Result of the function. Raises ServiceError `too-large` when the time is used up."""
        if self._left <= 0:
            text = f"the body takes more than {self._workshop.seconds:g} seconds to prepare"
            raise ServiceError(Category.TOO_LARGE, Issue("too-costly", text))

        def call() -> T:
            start = monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self._left -= monotonic() - start

        return await self._workshop.do(self._tenant, call)
