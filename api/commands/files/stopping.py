"""The signals that ask a long command to stop in order."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNALLED: Final = 128
"""Added to the number of a signal for the exit code, as shells do."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """The first SIGTERM or SIGINT sets `event`; the next one acts as it does without us."""

    def __init__(self, told: Callable[[str], None]) -> None:
        self.event = asyncio.Event()
        self.received: signal.Signals | None = None
        self._told = told
        self._loop = asyncio.get_running_loop()

    def __enter__(self) -> Self:
        with suppress(ValueError, RuntimeError):  # Only the main thread receives signals.
            for one in _SIGNALS:
                self._loop.add_signal_handler(one, self._receive, one)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ValueError, RuntimeError):
            for one in _SIGNALS:
                self._loop.remove_signal_handler(one)

    def _receive(self, received: signal.Signals) -> None:
        self.received = received
        self._told(f"{received.name}: stopping when what is under way is done; again stops at once.")
        self.event.set()
        self.__exit__()
