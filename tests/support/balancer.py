"""A TCP balancer, as a Service of Kubernetes is one: connections go in turn to replicas that are ready."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.served import Served

PROBE_SECONDS = 0.1


class Balancer:
    """Front of some replicas; a connection stays with the one that it was given."""

    def __init__(self) -> None:
        self.replicas: list[Served] = []
        self.url = ""
        self._ready: list[Served] = []
        self._carried: Counter[str] = Counter()
        """Open connections, by the URL of the replica."""
        self._turn = 0

    async def watch(self) -> None:
        """Ask each replica again and again whether it is ready."""
        async with httpx.AsyncClient(timeout=2) as client:
            while True:
                asked = [(one, _is_ready(client, one)) for one in self.replicas if one.url]
                told = await asyncio.gather(*(question for _, question in asked))
                self._ready = [one for (one, _), ready in zip(asked, told, strict=True) if ready]
                await asyncio.sleep(PROBE_SECONDS)

    async def ready(self, number: int) -> None:
        """Return when so many replicas are ready."""
        async with asyncio.timeout(120):
            while len(self._ready) < number:  # noqa: ASYNC110 -- other processes
                await asyncio.sleep(PROBE_SECONDS)

    async def left(self, replica: Served) -> None:
        """Return when a replica gets no new connections, and its last one is closed."""
        async with asyncio.timeout(120):
            while replica in self._ready or self._carried[replica.url]:  # noqa: ASYNC110 -- another process
                await asyncio.sleep(PROBE_SECONDS)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry a connection to the next replica that is ready, and back."""
        self._turn += 1
        ready = self._ready
        if not ready:
            writer.transport.abort()
            return
        url = ready[self._turn % len(ready)].url
        where = urlsplit(url)
        self._carried[url] += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(where.hostname, where.port)
            with suppress(OSError):
                await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except OSError:
            writer.transport.abort()
        finally:
            self._carried[url] -= 1


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    finally:
        writer.close()


async def _is_ready(client: httpx.AsyncClient, replica: Served) -> bool:
    try:
        return (await client.get(f"{replica.admin_url}/readyz")).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def balancer() -> AsyncIterator[Balancer]:
    """A balancer on a free port of loopback, without replicas yet."""
    made = Balancer()
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    watching = asyncio.ensure_future(made.watch())
    try:
        yield made
    finally:
        watching.cancel()
        server.close()
