"""Further process of the service, as the one that started it sees it."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp

from api.processes.command_line import command_of
from api.processes.ended import FOLDER_VARIABLE
from api.processes.families import FAMILIES, rows_from

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence

    from api.processes.families import Row

ASK_SECONDS: Final = 2.0
"""Time that a process may take to say how it is."""
POLL_SECONDS: Final = 0.05
SILENT_SECONDS: Final = 30.0
"""Time for which a process may answer nothing, however much it works."""
STILL_SECONDS: Final = 5.0
"""Time for which it may answer nothing and use no processor: somebody stopped it, or it waits for itself."""


class Order(Protocol):
    """Order to a process at its start, which comes on its standard input."""

    @property
    def module(self) -> str:
        """Program that takes the order."""

    @property
    def listening(self) -> tuple[int, ...]:
        """Descriptors of sockets that it listens on."""

    @property
    def admin(self) -> str:
        """Path of the unix socket of its admin endpoint."""

    def line(self) -> bytes:
        """The order as it is sent."""


class Child:
    """A process: started, asked, told to end."""

    def __init__(self, order: Order, process: Process) -> None:
        self.order = order
        self.pid = process.pid
        self.started = asyncio.get_running_loop().time()
        self.heard = self.started
        """Moment of its last answer."""
        self._used: int | None = None
        """Processor time that it had used when it was last asked for a sign of life."""
        self._moved = self.started
        """Moment at which that was seen to be more than before."""
        self.scraped: Sequence[Row] = ()
        """Metrics as they were last read."""
        self.beside: Sequence[Row] = ()
        """Metrics of what it started itself, as they were last read."""
        self._process = process
        self._client = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(order.admin), timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)
        )
        self._ended = asyncio.create_task(process.wait())
        self._asked_now = 0
        """Questions that are under way."""
        self._unasked = asyncio.Event()
        self._unasked.set()

    @classmethod
    async def begun(cls, order: Order, *, counts: Path) -> Child:
        """A process that has been started, and is told its order; `counts` is the folder of its counters."""
        process = await asyncio.create_subprocess_exec(
            *command_of(order.module),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=order.listening,
            env={**os.environ, FOLDER_VARIABLE: str(counts)},
            start_new_session=True,  # A Ctrl-C in the terminal is ours, and handed on.
        )
        assert process.stdin is not None  # noqa: S101 -- it is a pipe
        process.stdin.write(order.line())
        return cls(order, process)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    async def ended(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        return await asyncio.shield(self._ended)

    async def closed(self) -> None:
        """Let go of what is held for a process that has ended, once nobody asks it any more."""
        await self._unasked.wait()
        await self._client.close()

    def dismiss(self) -> None:
        """End its standard input: it finishes what is under way, and ends."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is there."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def is_stuck(self) -> bool:
        """Ask for a sign of life; whether there has been none for too long.

        Not for its state, which waits for a database that is away. See DECISIONS.md#stands-still.
        """
        await self._asked("/livez")
        now, used = asyncio.get_running_loop().time(), _ticks_of(self.pid)
        if used != self._used:
            self._used, self._moved = used, now
        is_known = used is not None and self.heard > self.started
        is_still = is_known and now - max(self.heard, self._moved) > STILL_SECONDS
        return is_still or now - self.heard > SILENT_SECONDS

    async def state(self) -> dict[str, Any]:
        """State that its `/readyz` tells; empty when it does not answer."""
        state = await self._asked("/readyz")
        return state if isinstance(state, dict) else {}

    async def rows(self) -> Sequence[Row]:
        """Metrics of the process and of what it started; those read before when it does not answer."""
        said = await self._asked(FAMILIES)
        if isinstance(said, dict):
            self.scraped, self.beside = rows_from(said["own"]), rows_from(said["beside"])
        return [*self.scraped, *self.beside]

    async def ready(self, seconds: float) -> bool:
        """Wait until traffic may come to it; whether it may within so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while self.is_running and loop.time() < until:
            if (await self.state()).get("ready"):
                return True
            await asyncio.wait({self._ended}, timeout=POLL_SECONDS)
        return False

    async def _asked(self, path: str) -> Any:  # noqa: ANN401 -- any JSON
        if self._client.closed:  # It has ended since somebody wanted to ask all.
            return None
        self._asked_now += 1
        self._unasked.clear()
        try:
            async with self._client.get(f"http://process{path}") as response:
                said = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None
        finally:
            self._asked_now -= 1
            if not self._asked_now:
                self._unasked.set()
        self.heard = asyncio.get_running_loop().time()
        return said


def _ticks_of(pid: int) -> int | None:
    """Processor time that a process has used so far, in ticks of the system; None: it does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    except (OSError, ValueError, IndexError):
        return None
