"""Workers of `dod load`: processes that push, as many as there are processors to prepare on.

The command itself reads the files, keeps their order and the journal, and hands out bodies. A worker that
ends before its time costs nothing: what it had is pushed again by another one, and is the same.
"""

from __future__ import annotations

import asyncio
import socket
from itertools import count
from typing import TYPE_CHECKING, Self

from typing_extensions import override

from api.commands.files.load_frames import LoadOrder, Outcome, frame, next_frame
from api.processes.command_line import command_of
from ingest.load.load import STOP_SECONDS
from ingest.load.pushers import Pusher
from ingest.load.results import Result
from store.errors import Category, ServiceError, StartupError

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from types import TracebackType

    from api.commands.files.load_frames import Failure
    from ingest.load.files import Place


class LoadWorkers(Pusher):
    """The workers, for as long as the context lasts. Each body goes to the one that has least to do."""

    def __init__(self, order: LoadOrder, *, workers: int) -> None:
        self._order = order
        self._count = workers
        self._workers: list[_Worker] = []

    async def __aenter__(self) -> Self:
        """Start them. Raises StartupError when one cannot."""
        try:
            for _ in range(self._count):
                self._workers.append(await _Worker.begun(self._order))
            for one in self._workers:
                await one.ready()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        await asyncio.gather(*(one.end() for one in self._workers))

    @override
    async def push(self, place: Place, body: bytes) -> Result:
        there = [one for one in self._workers if not one.is_gone]
        if not there:
            text = "All workers of the load have ended; the same command goes on from here."
            raise StartupError(text)
        return await min(there, key=lambda one: one.bytes).push(place, body)


class _Worker:
    """A worker, and what it has under way."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.bytes = 0
        """Bytes of the bodies it has."""
        self.is_gone = False
        self._process = process
        self._reader = reader
        self._writer = writer
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Result]] = {}
        self._listening: asyncio.Task[None] | None = None

    @classmethod
    async def begun(cls, order: LoadOrder) -> Self:
        """A process that has been told its order."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command_of("api.commands.files.load_worker"),
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # A Ctrl-C in the terminal is the command's.
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        writer.write(frame(order))
        return cls(process, reader, writer)

    async def ready(self) -> None:
        """Wait until it can push. Raises StartupError when it cannot."""
        match await next_frame(self._reader):
            case ("ready",):
                self._listening = asyncio.create_task(self._listen())
            case (_, reason):
                raise StartupError(reason)
            case _:
                raise StartupError("A worker of the load ended before it began.")

    async def push(self, place: Place, body: bytes) -> Result:
        """Result of one body; see `Pusher`."""
        number, future = next(self._numbers), asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self.bytes += len(body)
        try:
            self._writer.write(frame(number, place, body))
            result: Result = await future
            return result
        finally:
            self.bytes -= len(body)
            self._waiting.pop(number, None)

    async def _listen(self) -> None:
        while (said := await next_frame(self._reader)) is not None and said[0] != "ended":
            number: int = said[0]
            told: Outcome | Failure = said[1]
            future = self._waiting.get(number)
            if future is None or future.done():
                continue
            if isinstance(told, Outcome):
                future.set_result(Result(*told))
            elif told.category is not None:
                future.set_exception(ServiceError(told.category, *told.issues))
            else:
                future.set_exception(StartupError(f"A worker of the load failed: {told.kind}."))
        self.is_gone = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ServiceError(Category.UNAVAILABLE))

    async def end(self) -> None:
        """Let it finish what it has, for as long as the load itself would; then it is killed: what it did is
        found again.
        """
        self._writer.close()
        if self._listening is not None:
            self._listening.cancel()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
