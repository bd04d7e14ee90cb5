"""The progress of `dod load`: a bar on a terminal, else a line now and then, on stderr."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from collections.abc import Callable

TELL_SECONDS: Final = 10.0
"""Pause between two lines of progress where there is no terminal."""


class Progress:
    """The bytes read so far, of all that there are."""

    def __init__(self, total: int, warn: Callable[[str], None]) -> None:
        self._total = total
        self._warn = warn
        self._next = monotonic() + TELL_SECONDS
        self._started = monotonic()
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("loading"),
                BarColumn(),
                DownloadColumn(),
                TextColumn("{task.fields[said]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                refresh_per_second=4,
            )
            self._task = self._bar.add_task("load", total=total, said="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.stop()

    def update(self, read: int, said: str) -> None:
        """Show that so many bytes of the files are read."""
        if self._bar is not None:
            self._bar.update(self._task, completed=read, said=said)
            return
        now = monotonic()
        if now >= self._next and read:
            self._next = now + TELL_SECONDS
            left = (now - self._started) * max(self._total - read, 0) / read
            self._warn(f"{read / max(self._total, 1):.0%} read, {said}, about {left:,.0f} s left")
