"""Further processes of one kind, one after another or side by side: those that run, and the counts of all."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from api.processes.child import Child
from api.processes.ended import Ended

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from api.processes.child import Order
    from api.processes.families import Row

LOG: Final = logging.getLogger("api.processes")


class Children:
    """Begins processes, adds up what they counted, and puts those that have ended away."""

    def __init__(self, folder: Path) -> None:
        """`folder` has their sockets and the files of their counters."""
        self.running: list[Child] = []
        self._folder = folder
        self._ended = Ended(folder)
        self._serial = 0

    def place(self) -> str:
        """Path of the next one, to which the name of each of its sockets is added."""
        self._serial += 1
        self._folder.mkdir(0o700, exist_ok=True)  # Something may tidy up temporary directories.
        return str(self._folder / str(self._serial))

    async def begin(self, order: Order) -> Child:
        """Start one. Raises OSError when there is no memory, process or file descriptor left."""
        child = await Child.begun(order, counts=self._folder)
        self.running.append(child)
        return child

    async def gone(self, child: Child) -> None:
        """Keep what one that has ended has counted, and let go of it."""
        self.running.remove(child)
        try:
            self._ended.take(child.pid, child.scraped, child.beside)
        except Exception:  # One that was killed may leave half a file. Another one is begun all the same.
            LOG.exception("the counts of a process that has ended cannot be read")
        await child.closed()

    async def rows(self) -> list[Iterable[Row]]:
        """All that they counted, for `/metrics`; nothing before the first one."""
        asked = list(self.running)
        said = await asyncio.gather(*[one.rows() for one in asked])
        # Who has ended meanwhile is among those that have.
        live = [rows for one, rows in zip(asked, said, strict=True) if one in self.running]
        return [self._ended.rows(), *live] if self._serial else []
