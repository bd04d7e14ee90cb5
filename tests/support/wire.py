"""Requests as bytes on a connection of our own: what no client library would send."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiohttp.test_utils import TestClient

SECONDS = 20.0
"""Longest wait for anything; no test depends on how long it takes."""


class Reply(NamedTuple):
    """A response as it came, up to the end of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """Connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        async with asyncio.timeout(SECONDS):
            await self.writer.drain()

    async def reply(self) -> Reply:
        async with asyncio.timeout(SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            line, *fields = head.decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Reply(int(line.split()[1]), headers, body)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""


@asynccontextmanager
async def wire(
    client: TestClient,  # type: ignore[type-arg]
    address: str | None = None,
) -> AsyncIterator[Wire]:
    """A connection to the server of a test client, from an address of this machine."""
    own = None if address is None else (address, 0)
    reader, writer = await asyncio.open_connection(client.host, client.port, local_addr=own)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


def head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{n}: {v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
