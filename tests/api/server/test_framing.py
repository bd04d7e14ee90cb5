"""Bodies in chunks: tiny ones cost the event loop a call each, and are refused; all others are taken."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from aiohttp.web import RequestPayloadError

from api.server.heads import FRAMING_BYTES
from ingest.http.body import HoldsBack, body_of
from ingest.http.replies import fhir_json
from tests.support.edge import LAB_BASE, bearer, edge_routes, memory_access, serving
from tests.support.wire import head, wire

if TYPE_CHECKING:
    from aiohttp import web

HEADERS = {"Content-Type": "application/fhir+json", "Transfer-Encoding": "chunked"}
TIMES = 2 * FRAMING_BYTES
EXTENSION = b";" + b"a" * 1_000


@pytest.mark.parametrize(
    ("chunk", "number", "status"),
    [
        (b"1\r\n \r\n", TIMES, 413),
        (b"2\r\n  \r\n", TIMES, 413),
        (b"1%b\r\n \r\n" % EXTENSION, 5_000, 413),
        (b"%b1\r\n \r\n" % (b"0" * 1_000), 5_000, 413),
        (b"40\r\n%b\r\n" % (b" " * 64), TIMES // 64, 200),
        (b"1000\r\n%b\r\n" % (b" " * 4_096), 500, 200),
        (b"1\r\n \r\n", 5_000, 200),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_chunks(chunk: bytes, number: int, status: int) -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as sent:
        await sent.send(head("POST", f"{LAB_BASE}/Patient", {**HEADERS, **bearer(access)}))
        answering = asyncio.ensure_future(sent.reply())
        at_once = max(20_000 // len(chunk), 1)
        for _ in range(0, number, at_once):
            if answering.done():
                break
            sent.writer.write(chunk * at_once)
            with suppress(ConnectionError):
                await sent.writer.drain()
        if not answering.done() and not sent.writer.is_closing():
            sent.writer.write(b"0\r\n\r\n")
        reply = await answering
    assert reply.status == status
    if status == 413:
        assert json.loads(reply.body)["issue"][0]["code"] == "too-costly"


async def test_little_is_parsed_of_tiny_chunks_that_come_all_at_once() -> None:
    """A quarter of a megabyte of them would hold the event loop for 70 ms."""
    parsed = 0

    async def read(request: web.Request) -> web.StreamResponse:
        nonlocal parsed
        assert isinstance(request.protocol, HoldsBack)
        await request.protocol.want(request.content)
        try:
            await request.content.read()
        finally:
            parsed = request.content.total_bytes
        return fhir_json(b"{}")

    access = memory_access()
    async with serving(access, routes=edge_routes(read)) as client, wire(client) as sent:
        asked = head("POST", f"{LAB_BASE}/Patient", {**HEADERS, **bearer(access)})
        sent.writer.write(asked + b"1\r\n \r\n" * 100_000)
        assert (await sent.reply()).status == 413
    assert parsed <= FRAMING_BYTES // 3


async def test_what_nobody_wants_is_not_parsed() -> None:
    """Neither a body whose handler does not ask for it, nor the request behind the one under way."""
    seen = []

    async def look(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0)  # All that was sent has come.
        seen.append((request.content.total_bytes, len(request.protocol._messages)))
        return fhir_json(b"{}")

    access = memory_access()
    async with serving(access, routes=edge_routes(look)) as client, wire(client) as sent:
        told = {"Content-Type": "application/fhir+json", **bearer(access)}
        asked = head("POST", f"{LAB_BASE}/Patient", told)
        large = head("POST", f"{LAB_BASE}/Patient", {**told, "Content-Length": "100000"})
        sent.writer.write(asked * 3 + large + bytes(10_000))
        for _ in range(4):
            assert (await sent.reply()).status == 200
    assert seen == [(0, 0)] * 4


async def test_a_body_behind_a_wish_for_another_protocol_is_bounded_as_any() -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as sent:
        wish = head("GET", "/nowhere", {"Connection": "Upgrade", "Upgrade": "websocket"})
        asked = head("POST", f"{LAB_BASE}/Patient", {**HEADERS, **bearer(access)})
        sent.writer.write(wish + asked + b"1\r\n \r\n" * 20_000)
        assert [(await sent.reply()).status for _ in range(2)] == [404, 413]


async def test_a_body_whose_chunks_break_off_is_not_waited_for() -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as sent:
        await sent.send(head("POST", f"{LAB_BASE}/Patient", {**HEADERS, **bearer(access)}), b"2\r\n{}\r\n")
        await asyncio.sleep(0)
        await sent.send(b"no size\r\n")
        assert (await sent.reply()).status == 400
        assert await sent.rest() == b""


async def test_a_client_that_goes_in_the_middle_of_a_body_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access, reading = memory_access(), asyncio.Event()
    ended: list[BaseException] = []

    async def read(request: web.Request) -> web.StreamResponse:
        reading.set()
        try:
            await body_of(request)
        except BaseException as error:
            ended.append(error)
            raise
        return fhir_json(b"{}")

    async with serving(access, routes=edge_routes(read)) as client:
        for size in (100, 1_000_000):
            reading.clear()
            told = {"Content-Type": "application/fhir+json", "Content-Length": str(size), **bearer(access)}
            async with wire(client) as sent:
                await sent.send(head("POST", f"{LAB_BASE}/Patient", told), b"{")
                await reading.wait()
                sent.writer.transport.abort()
    assert [type(one) for one in ended] == [RequestPayloadError] * 2
    assert "unexpected error" not in caplog.text


async def test_requests_sent_all_at_once_take_turns_with_others() -> None:
    turns, number = 0, 400

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(memory_access()) as client, wire(client) as sent:
        await sent.send(head("GET", "/nowhere", {}) * number)
        taking_turns = asyncio.create_task(others())
        for _ in range(number):
            assert (await sent.reply()).status == 404
        taking_turns.cancel()  # The loop is that of the whole run.
    assert turns >= number
