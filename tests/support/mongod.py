"""Mishaps of a MongoDB: it stands still, its connections are cut, it steps down."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus, urlsplit

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process stands still meanwhile: a database that hangs, and takes no connection either."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def step_down(uri: str, seconds: int) -> None:
    """The primary gives up its office for so long."""
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        with suppress(PyMongoError):  # It closes the connections as it goes.
            await client.admin.command("replSetStepDown", seconds, secondaryCatchUpPeriodSecs=0, force=True)


class Line:
    """The connection between a service and its database, to be cut."""

    def __init__(self, target: str, path: Path) -> None:
        self._target = target
        self._path = path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def uri(self) -> str:
        """The database at the other end of the line."""
        return f"mongodb://{quote_plus(str(self._path))}/?directConnection=true"

    async def mend(self) -> None:
        """Connections are taken from now on."""
        self._server = await asyncio.start_unix_server(self._carry, self._path)

    async def cut(self) -> None:
        """Every connection breaks, and none is taken."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for writer in list(self._writers):
            writer.transport.abort()
        self._server = None

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        mine = {writer, far_writer}
        if self._server is None:  # Cut meanwhile.
            for one in mine:
                one.transport.abort()
            return
        self._writers |= mine
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            for one in mine:
                one.transport.abort()
            self._writers -= mine


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def line(uri: str, folder: Path) -> AsyncIterator[Line]:
    """A line to the embedded MongoDB at this URI."""
    made = Line(_socket(uri), folder / "line.sock")
    await made.mend()
    try:
        yield made
    finally:
        await made.cut()


def _socket(uri: str) -> str:
    return unquote_plus(urlsplit(uri).netloc)
