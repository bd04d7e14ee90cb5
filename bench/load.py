"""The load generator: a closed loop of keep-alive HTTP/1.1 connections, each with one request under way.

It must cost much less than what it measures: requests are bytes, of an answer only the status and the
Content-Length are looked at, and no HTTP library is in between.
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from bench.servers import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

END_OF_HEAD: Final = b"\r\n\r\n"
LENGTH: Final = b"\r\nContent-Length: "
GRACE_SECONDS: Final = 15.0
"""Time that the last answers may take after the time is up."""
SAMPLE_EVERY: Final = 500
"""Answers among which one is kept whole, to be checked when the clock has stopped."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Measurement of a leg: what came back in how much time."""

    seconds: float
    latencies: list[float]
    """Seconds, sorted."""
    failures: int
    """Answers of another status than the one that was expected."""
    sample: list[bytes]
    """Whole answers, head and body."""
    busy: float
    """Share of a core that the load generator took."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, percentile: float) -> float:
        """A percentile of the latency."""
        return self.latencies[min(int(len(self.latencies) * percentile), len(self.latencies) - 1)] * 1000


class _Run:
    """State that the connections of one leg share."""

    def __init__(self, make: Callable[[], bytes], status: bytes, connections: int) -> None:
        self.make = make
        self.expected = b"HTTP/1.1 " + status
        self.until = 0.0
        self.latencies: list[float] = []
        self.failures = 0
        self.sample: list[bytes] = []
        self.open = connections
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class _Connection(asyncio.Protocol):
    """Asks, waits for the whole answer, asks again, until the time is up."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.WriteTransport | None = None
        self._chunks: list[bytes] = []
        self._missing = 0
        """Bytes of the answer that are still to come; 0: its head is not complete."""
        self._sent = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def ask(self) -> None:
        """Send the next request."""
        request = self._run.make()
        self._sent = perf_counter()
        assert self._transport is not None
        self._transport.write(request)

    @override
    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        if self._missing:
            self._missing -= len(data)
        else:
            head = data if len(self._chunks) == 1 else b"".join(self._chunks)
            end = head.find(END_OF_HEAD)
            if end < 0:
                return
            start = head.index(LENGTH) + len(LENGTH)
            length = int(head[start : head.index(b"\r", start)])
            self._missing = end + len(END_OF_HEAD) + length - len(head)
        if not self._missing:
            self._answered()

    def _answered(self) -> None:
        run, now = self._run, perf_counter()
        run.latencies.append(now - self._sent)
        if not self._chunks[0].startswith(run.expected):
            run.failures += 1
        if len(run.latencies) % SAMPLE_EVERY == 1:
            run.sample.append(b"".join(self._chunks))
        self._chunks.clear()
        if now < run.until:
            self.ask()
        elif self._transport is not None:
            self._transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        run = self._run
        run.open -= 1
        if run.done.done():
            return
        if perf_counter() < run.until:
            run.done.set_exception(exc or ConnectionError("the server closed a connection under load"))
        elif not run.open:
            run.done.set_result(None)


async def measure(
    port: int, make: Callable[[], bytes], *, status: bytes, connections: int, seconds: float
) -> Measured:
    """Ask for so many seconds on so many connections, and wait for the last answers."""
    run = _Run(make, status, connections)
    loop = asyncio.get_running_loop()
    open_connections = [
        (await loop.create_connection(lambda: _Connection(run), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    gc.collect()
    gc.disable()
    try:
        start, cpu = perf_counter(), process_time()
        run.until = start + seconds
        for connection in open_connections:
            connection.ask()
        await asyncio.wait_for(run.done, seconds + GRACE_SECONDS)
        took, cpu = perf_counter() - start, process_time() - cpu
    finally:
        gc.enable()
    run.latencies.sort()
    return Measured(took, run.latencies, run.failures, run.sample, cpu / took)


async def ask_once(port: int, request: bytes) -> bytes:
    """Send a request on a connection of its own; gives the whole answer."""
    measured = await measure(port, lambda: request, status=b"2", connections=1, seconds=0)
    assert not measured.failures, measured.sample[0][:2000]
    return measured.sample[0]


def post(path: str, body: bytes, *, media_type: str, token: str) -> bytes:
    """The bytes of a POST."""
    return head(path, media_type=media_type, token=token, length=len(body)) + body


def head(path: str, *, media_type: str, token: str, length: int) -> bytes:
    """The head of a POST."""
    lines = (
        f"POST {path} HTTP/1.1",
        f"Host: {HOST}",
        "User-Agent: bench",
        "Accept: application/fhir+json",
        f"Authorization: Bearer {token}",
        f"Content-Type: {media_type}",
        f"Content-Length: {length}",
    )
    return "\r\n".join(lines).encode() + END_OF_HEAD
