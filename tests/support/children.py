"""Further processes that do as a test says, in place of those that are started."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from api.processes.child import Child

if TYPE_CHECKING:
    import signal
    from typing import Self

    import pytest


class Process:
    """A process that does as the test says."""

    pid, scraped, beside = 7, (), ()

    def __init__(self, *, is_ready: bool = True, starts: bool = True) -> None:
        self.is_ready = is_ready
        self.starts = starts
        self.started = self.heard = asyncio.get_running_loop().time()
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.stuck = False

    @property
    def is_running(self) -> bool:
        return not self.over.done()

    async def ready(self, _: float) -> bool:
        if not self.starts:
            await self.ended()
        return self.is_ready and self.is_running

    async def ended(self) -> int:
        return await asyncio.shield(self.over)

    async def is_stuck(self) -> bool:
        return self.stuck

    async def rows(self) -> tuple[()]:
        return ()

    async def closed(self) -> None:
        """Hold nothing."""

    def dismiss(self) -> None:
        self.over.set_result(0)

    def tell(self, number: signal.Signals) -> None:
        if self.is_running:
            self.over.set_result(-number)


class Machine:
    """Starts processes, or cannot."""

    def __init__(self) -> None:
        self.begun: list[Process] = []
        self.is_ready = True
        self.starts = True
        self.fails = False

    async def begin(self, *_: object, **__: object) -> Process:
        if self.fails:
            raise MemoryError
        self.begun.append(Process(is_ready=self.is_ready, starts=self.starts))
        return self.begun[-1]

    @classmethod
    def of(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """The machine on which all further processes are begun."""
        made = cls()
        monkeypatch.setattr(Child, "begun", made.begin)
        return made
