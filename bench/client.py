"""A client that asks at a fixed rate: latency counts from the moment at which a request was due."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

from bench.load import END_OF_HEAD

CONNECTIONS: Final = 64
"""Most connections that are kept."""


class Client:
    """Connections that are kept, each with one request under way."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.latencies: list[float] = []
        self.errors = 0

    async def ask(self, request: bytes, due: float) -> None:
        """Send a request; an answer other than 2xx, or none, is an error."""
        answer = await self.answer(request, due)
        self.errors += not answer.partition(b" ")[2].startswith(b"2")

    async def answer(self, request: bytes, due: float) -> bytes:
        """The whole answer; empty when there is none."""
        try:
            async with asyncio.timeout(30):
                return await self._answer(request)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return b""
        finally:
            self.latencies.append((perf_counter() - due) * 1000)

    async def _answer(self, request: bytes) -> bytes:
        while True:
            is_used = bool(self._idle)
            reader, writer = (
                self._idle.pop() if is_used else await asyncio.open_connection("127.0.0.1", self._port)
            )
            try:
                writer.write(request)
                head = await reader.readuntil(END_OF_HEAD)
            except (OSError, asyncio.IncompleteReadError):
                writer.close()
                if is_used:
                    continue  # As every client does: it was closed while it was idle.
                raise
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
            body = await reader.readexactly(int(length))
            if b"\r\nConnection: close" in head or len(self._idle) >= CONNECTIONS:
                writer.close()
            else:
                self._idle.append((reader, writer))
            return head + body
