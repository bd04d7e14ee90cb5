"""A request that was answered is gone at once: megabytes are no objects, which garbage collection counts."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from aiohttp import web

from tests.support.fhir import report
from tests.support.service import FHIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.service import Service

HEAD: Final = "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Type: {type}\r\n"
TIMES: Final = 3


@contextmanager
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def sent(service: Service, method: str, path: str, body: bytes = b"", *, length: int | None = None) -> bytes:
    """A request as bytes; `length` is told in place of the body's."""
    token = service.headers["Authorization"]
    head = HEAD.format(method=method, path=f"{service.base}/{path}", token=token, type=FHIR)
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Number of requests that began and are still there. To look through all objects of a run's process
    for them takes tenths of a second, each time.
    """
    begun: list[weakref.ref[web.BaseRequest]] = []
    begin = web.BaseRequest.__init__

    def noted(self: web.BaseRequest, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        begun.append(weakref.ref(self))

    def count() -> int:
        assert begun
        return sum(one() is not None for one in begun)

    monkeypatch.setattr(web.BaseRequest, "__init__", noted)
    return count


@pytest.mark.parametrize(
    ("method", "path", "body", "length"),
    [
        ("GET", "DiagnosticReport?_id=r1", b"", None),
        ("GET", "DiagnosticReport/none", b"", None),
        ("POST", "DiagnosticReport", b'{"resourceType": "DiagnosticReport", "status"', None),
        ("POST", "DiagnosticReport", bytes(300_000), None),
        ("POST", "DiagnosticReport", b"{}", 10**12),
        ("POST", "DiagnosticReport", b"[" * 100_000, 200_000),
        ("POST", "Nonsense/x/y", bytes(100_000), None),
        ("GET", f"DiagnosticReport?_id={'x' * 10_000}&\x01", b"", None),
    ],
    ids=["search", "not there", "no JSON", "large", "too large", "broken off", "nowhere", "out of bounds"],
)
async def test_a_request_that_is_over_is_gone(
    own_service: Service,
    alive: Callable[[], int],
    method: str,
    path: str,
    body: bytes,
    length: int | None,
) -> None:
    await own_service.load(report("r1"))
    request = sent(own_service, method, path, body, length=length)

    async def once() -> None:
        reader, writer = await asyncio.open_connection(own_service.client.host, own_service.client.port)
        writer.write(request)
        if length is not None and length < 10**6:
            await asyncio.sleep(0)
        else:
            assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        await writer.wait_closed()

    with no_collection():
        before = alive()
        for _ in range(TIMES):
            await once()
        async with asyncio.timeout(20):
            while alive() > before:  # noqa: ASYNC110 -- what is gone tells nobody
                await asyncio.sleep(0)
