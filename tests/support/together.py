"""Questions that do not depend on one another, some at a time: in turn each waits for the disk alone."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable


async def together(asked: Iterable[Coroutine[Any, Any, None]], at_once: int = 16) -> None:
    """Await all of them; the first that fails ends it."""
    left = iter(asked)
    while some := list(islice(left, at_once)):
        await asyncio.gather(*some)
