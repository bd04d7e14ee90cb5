"""Work that several wait for, in a task whose context is nobody's.

A task takes along the context it is made in, and the tasks and timers that it makes take it along again. The
deadline of the one request that happened to begin would then hold for all who share the work, and for ever
for what goes on in a loop.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def detached(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Task of the work, without the deadlines of whoever began it."""
    return asyncio.get_running_loop().create_task(work, context=Context())
