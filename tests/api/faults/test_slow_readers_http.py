"""Clients that do not read their answers: they are cut, what they hold is bounded, others notice nothing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import generate_latest

from api.http.app_keys import REGISTRY
from api.server.connection_limits import Limits
from ingest.http.answer_room import ANSWER_ROOM
from store.changes.changes import START
from store.changes.kinds import Kind
from store.mongo.changes.blocks import Entry, blocks_of
from store.mongo.indexes import CHANGE_STATE, CHANGES
from store.resources.resource_keys import ResourceKey
from tests.support.fhir import report
from tests.support.service import DATABASE, Service, opened_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ingest.http.answer_room import AnswerRoom
    from store.mongo.driver.client import Client

MEGABYTE = 1_000_000
LARGE = 12
"""Megabytes of the answer that is not read: more than the kernel buffers on both sides."""
SECONDS = 30.0
STEADY = 50


@asynccontextmanager
async def serving(mongodb: str, *, stall_seconds: float, **settings: Any) -> AsyncIterator[Service]:
    async with opened_service(
        mongodb,
        limits=Limits(stall_seconds=stall_seconds),
        page_bytes_max=16 * MEGABYTE,
        answers_bytes_max=50 * MEGABYTE,
        answer_stall_seconds=stall_seconds,
        **settings,
    ) as service:
        await service.load(*(report(f"r{n}", conclusion="x" * MEGABYTE) for n in range(LARGE)))
        yield service


def room_of(service: Service) -> AnswerRoom:
    app = service.client.app
    assert app is not None
    return app[ANSWER_ROOM]


async def asked(service: Service, *paths: str, accept: str = "*/*") -> socket.socket:
    """A connection on which these were asked for, pipelined, and nothing is read."""
    server = service.client.server
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, (str(server.host), int(server.port or 0)))
    fields = f"Host: {server.host}:{server.port}\r\nAuthorization: {service.headers['Authorization']}\r\n"
    fields += f"Accept: {accept}\r\n"
    for path in paths:
        await loop.sock_sendall(sock, f"GET {service.root}/{path} HTTP/1.1\r\n{fields}\r\n".encode())
    return sock


async def rest_of(sock: socket.socket) -> int:
    """Bytes that still come before the connection ends."""
    loop, size = asyncio.get_running_loop(), 0
    with suppress(ConnectionError):
        while chunk := await loop.sock_recv(sock, 1 << 20):
            size += len(chunk)
    sock.close()
    return size


async def until(service: Service, *, held: bool) -> None:
    """Wait for it to be so, and to stay so: between two pipelined answers none is held for a moment."""
    looks = 0
    async with asyncio.timeout(SECONDS):
        while looks < (1 if held else STEADY):
            looks = looks + 1 if (room_of(service).bytes > 0) == held else 0
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "paths",
    [
        ("DiagnosticReport?patient=p1",),
        ("DiagnosticReport/_history",),
        ("DiagnosticReport?patient=p1&_count=2",) * 20,  # Keep-alive, pipelined.
    ],
)
async def test_who_reads_nothing_is_cut_and_gives_its_room_back(mongodb: str, paths: tuple[str, ...]) -> None:
    async with serving(mongodb, stall_seconds=0.3) as service:
        reader = await asked(service, *paths)
        await until(service, held=True)
        await until(service, held=False)
        assert await rest_of(reader) < LARGE * MEGABYTE
        whole = await service.search("patient=p1")
        assert len(whole.ids) == LARGE
        assert room_of(service).bytes == 0


async def test_who_reads_too_little_is_cut(mongodb: str) -> None:
    async with serving(mongodb, stall_seconds=0.5, answer_rate_min=10**9) as service:
        reader = await asked(service, "DiagnosticReport?patient=p1")
        await until(service, held=True)
        loop, size = asyncio.get_running_loop(), 0
        with suppress(ConnectionError):
            while chunk := await loop.sock_recv(reader, 4_096):
                size += len(chunk)
                await asyncio.sleep(0.002)
        reader.close()
        assert size < LARGE * MEGABYTE
        await until(service, held=False)


async def test_unread_answers_take_a_share_of_the_room_and_others_have_theirs(mongodb: str) -> None:
    async with serving(mongodb, stall_seconds=SECONDS) as service:
        other = await service.new_tenant()
        await other.load(report(conclusion="x" * MEGABYTE), report("small"))
        readers = [await asked(service, "DiagnosticReport?patient=p1") for _ in range(6)]
        await until(service, held=True)
        async with asyncio.timeout(SECONDS):
            # Two answers of 12 MB are a client's half of 50; what comes beyond them is refused.
            while True:
                refused = await service.search("patient=p1&_count=1")
                if refused.status == 429:
                    break
        assert refused.issues == [("error", "throttled")]
        assert refused.headers["Retry-After"] == "1"
        assert room_of(service).bytes <= 25 * MEGABYTE
        assert set((await other.search("patient=p1")).ids) == {"r1", "small"}
        assert (await other.get("DiagnosticReport/r1")).status == 200
        for reader in readers:
            reader.close()
        await until(service, held=False)
        assert (await service.search("patient=p1&_count=1")).status == 200


async def test_a_push_is_answered_whatever_room_there_is(mongodb: str) -> None:
    async with serving(mongodb, stall_seconds=SECONDS) as service:
        readers = [await asked(service, "DiagnosticReport?patient=p1") for _ in range(3)]
        await until(service, held=True)
        async with asyncio.timeout(SECONDS):
            while (await service.search("patient=p1&_count=1")).status != 429:
                pass
        stored = await service.put(report("new", conclusion="x" * MEGABYTE))
        assert (stored.status, stored.body["id"]) == (201, "new")
        entries = [{"request": {"method": "GET", "url": "DiagnosticReport/r1"}}]
        batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
        answer = await service.request("POST", "", batch)
        assert (answer.status, answer.body["entry"][0]["response"]["status"]) == (200, "429")
        for reader in readers:
            reader.close()
        await until(service, held=False)


async def test_a_large_answer_is_what_a_small_one_would_be(mongodb: str) -> None:
    """In parts, with its length, headers and the connection kept; HEAD without the body."""
    async with serving(mongodb, stall_seconds=SECONDS) as service:
        plain = {"accept_encoding": "identity"}
        one = await service.get("DiagnosticReport/r1", **plain)
        assert one.headers["Content-Length"] == str(len(one.text.encode()))
        for name in ("ETag", "Last-Modified", "X-Request-Id", "Content-Type", "Cache-Control"):
            assert name in one.headers
        head = await service.request("HEAD", "DiagnosticReport/r1", headers={"Accept-Encoding": "identity"})
        assert (head.text, head.headers["Content-Length"]) == ("", one.headers["Content-Length"])
        compressed = await service.get("DiagnosticReport/r1", accept_encoding="gzip")
        assert (compressed.headers["Content-Encoding"], compressed.body) == ("gzip", one.body)
        again = await service.get("DiagnosticReport/r1", if_none_match=one.headers["ETag"])
        assert again.status == 304
        short = await service.search("patient=p1&_summary=true")
        assert len(short.ids) == LARGE
        assert "conclusion" not in short.text
        assert room_of(service).bytes == 0


async def test_a_listener_who_reads_nothing_is_cut(mongodb: str, mongo_client: Client) -> None:
    limits = Limits(stall_seconds=0.3)
    async with opened_service(mongodb, limits=limits, answer_stall_seconds=0.3) as service:
        since = (await service.get("$changes")).body["next"]
        # More than the kernel buffers on both sides.
        gone = [Entry(str(service.tenant), ResourceKey("Patient", "x" * 60), 1, Kind.EXPIRED, 0)] * 40_000
        when = service.clock()
        blocks = blocks_of(str(service.tenant), gone, START, now=when, until=when, scanned=False)
        await mongo_client[DATABASE][CHANGES].insert_many(blocks)
        head = {"number": blocks[-1]["last"], "mark": blocks[-1]["mark"]}
        await mongo_client[DATABASE][CHANGE_STATE].insert_one({"_id": str(service.tenant), **head})
        sock = await asked(service, f"$changes?since={since}", accept="text/event-stream")
        app = service.client.app
        assert app is not None
        async with asyncio.timeout(SECONDS):
            while "dod_changes_listeners_cut_total 1.0" not in generate_latest(app[REGISTRY]).decode():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await rest_of(sock)
        assert "dod_changes_listeners 0.0" in generate_latest(app[REGISTRY]).decode()
