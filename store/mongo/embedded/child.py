"""mongod as a child process: started, watched, started again when something kills it, stopped.

A mongod that is killed has said nothing: want of memory, say, that a moment later is over. What it ends for
itself (a full disk, a broken file) it would end for again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from store.errors import StartupError
from store.mongo.embedded.leftovers import STOP_SECONDS, TRAMPOLINE
from store.mongo.embedded.log import Log
from store.mongo.embedded.obituary import obituary
from store.mongo.embedded.probing import until_primary

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence
    from pathlib import Path

LOG: Final = logging.getLogger("store.embedded")
KILLED: Final = frozenset({-signal.SIGKILL, -signal.SIGSEGV, -signal.SIGBUS})
"""Exit codes of a mongod that did not decide to end."""
RESTARTS_MAX: Final = 3
"""Times that it is started again within `RESTARTS_SECONDS`."""
RESTARTS_SECONDS: Final = 600.0
PAUSE_SECONDS: Final = 0.5
"""Pause before it is started again; it doubles from one time to the next."""


class Child:
    """The mongod of a data directory, from `start` to `stop`."""

    def __init__(
        self,
        command: Sequence[str],
        path: Path,
        log: Log,
        *,
        wait_seconds: float,
        told: Callable[[int | None], None],
    ) -> None:
        """`path` is its socket; `told` hears the id of a process that answers, None while none does."""
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """Exit code of a mongod that is not started again."""
        self._command = command
        self._path = path
        self._log = log
        self._wait_seconds = wait_seconds
        self._told = told
        self._process: Process | None = None
        self._ended: asyncio.Task[int] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._restarts: deque[float] = deque(maxlen=RESTARTS_MAX)

    @property
    def pid(self) -> int:
        """The process that runs, or ran last."""
        assert self._process is not None  # noqa: S101 -- started
        return self._process.pid

    async def start(self) -> None:
        """Start it, and look after it from then on. Raises StartupError, OSError."""
        await self._begin()
        self._keeping = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Stop it, whatever it is at."""
        self.exited.cancel()
        if self._keeping is not None:
            self._keeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeping
        await self._end()

    # --- one process after another

    async def _keep(self) -> None:
        code = -signal.SIGKILL
        try:
            code = await self._last_words()
            while code in KILLED and (pause := self._pause()) is not None:
                code = await self._again(code, pause)
        finally:
            if not self.exited.done():
                self.exited.set_result(code)

    def _pause(self) -> float | None:
        """Pause before the next start; None: it was started too often."""
        now = asyncio.get_running_loop().time()
        while self._restarts and now - self._restarts[0] > RESTARTS_SECONDS:
            self._restarts.popleft()
        if len(self._restarts) == RESTARTS_MAX:
            return None
        self._restarts.append(now)
        return float(PAUSE_SECONDS * 2 ** (len(self._restarts) - 1))

    async def _again(self, code: int, pause: float) -> int:
        """Start it again and wait for its end; its exit code, or the one before when it could not start."""
        LOG.error("the embedded MongoDB was killed: it is started again", extra={"status": code})
        try:
            self._told(None)
            await asyncio.sleep(pause)
            await self._begin()
        except (StartupError, OSError):
            LOG.exception("the embedded MongoDB could not be started again")
            await self._end()
            return code
        LOG.warning("the embedded MongoDB runs again")
        return await self._last_words()

    async def _begin(self) -> None:
        self._process = process = await _spawned(self._log, self._command, self._path.parent)
        self._ended = asyncio.create_task(_ended(process, self._log))
        try:
            async with asyncio.timeout(self._wait_seconds):
                ready = await until_primary(self._path, self._ended)
        except TimeoutError:
            text = f"mongod is not ready after {self._wait_seconds:g} s; its log is {self._log.path}."
            raise StartupError(text) from None
        if not ready:
            code = self._ended.result()
            raise StartupError(obituary(code, self._log.lines, self._log.path, while_="at its start"))
        self._told(process.pid)

    async def _last_words(self) -> int:
        """The exit code, once the log has all that it said."""
        assert self._ended is not None  # noqa: S101 -- begun
        return await asyncio.shield(self._ended)

    async def _end(self) -> None:
        """End the process that runs, if one does."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await self._last_words()


async def _spawned(log: Log, command: Sequence[str], directory: Path) -> Process:
    """mongod, started in `directory`.

    Its log is its standard output, so that what the loader or the option parser says ends up there too.
    """
    words = log.open()
    try:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", TRAMPOLINE, str(os.getpid()), *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            cwd=directory,
            # The service's secrets are not mongod's.
            env={name: value for name, value in os.environ.items() if not name.startswith("DOD_")},
            # A Ctrl-C in the terminal must not reach mongod before the service has drained.
            start_new_session=True,
        )
    finally:
        os.close(words)


async def _ended(process: Process, log: Log) -> int:
    code = await process.wait()
    await asyncio.to_thread(log.end)
    return code
