"""Work that several wait for, in a task whose context is nobody's; and its end.

A task takes along the context it is made in, and the tasks and timers that it makes take it along again. The
deadline of the one request that happened to begin would then hold for all who share the work, and for ever
for what goes on in a loop.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

T = TypeVar("T")
LOOK_SECONDS: Final = 1.0
"""Pause between two looks whether the database is away, and time for what is cancelled then."""


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Task of the work, without the deadlines of whoever began it."""
    return asyncio.get_running_loop().create_task(work, context=Context())


async def ended(tasks: Iterable[asyncio.Future[Any]], *, is_away: Callable[[], bool]) -> None:
    """Wait until these tasks are over; while the database is away they are cancelled."""
    pending = set(tasks)
    while pending:
        _, pending = await asyncio.wait(pending, timeout=LOOK_SECONDS)
        if pending and is_away():
            for one in pending:
                one.cancel()
            await asyncio.wait(pending, timeout=LOOK_SECONDS)
            return
