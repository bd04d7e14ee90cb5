"""Further process of the service, from within: when it ends, and what comes before it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

OOM_SCORE: Final = 500
"""Score by which the system ends it before the process that it works for when memory runs out."""


@asynccontextmanager
async def dismissal() -> AsyncIterator[asyncio.Event]:
    """Event of the end of standard input: the process beside this one dismisses it, or is gone.

    Signals that ask the whole service to end leave it to the process that still needs it.
    """
    is_over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    loop.add_reader(sys.stdin.fileno(), is_over.set)
    try:
        yield is_over
    finally:
        loop.remove_reader(sys.stdin.fileno())


def come_last(*, nice: int = 0) -> None:
    """Leave memory to others first, and the processor by so many steps."""
    with suppress(OSError):
        os.nice(nice)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE), encoding="ascii")
