"""Input that is not HTTP is refused as FHIR says it, and nothing of it is shown."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.support.edge import memory_access, serving
from tests.support.lines import logged

CANARY = b"Zq7Canary"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /fhir?name=%s x HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
        b"GET /fhir?name=%s HTTP/1.1\r\nHost: a\r\n\r\n" % (CANARY * 20_000),
        b"GET /fhir?name=%s\x00 HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
        b"GET /fhir?name=%s\xed\xa0\x80 HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
        b"GET http://[%s/ HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
        b"GET /fhir HTTP/1.1\r\nHost: a\r\nAuthorization %s\r\n\r\n" % CANARY,
        b"GET /fhir HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \x00%s\r\n\r\n" % CANARY,
        b"GET /fhir HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n\r\n" % (CANARY * 20_000),
        b"%s / HTTP/1.1\r\nHost: a\r\n\r\n" % CANARY,
        b"POST /fhir HTTP/1.1\r\nHost: a\r\nContent-Length: %s\r\n\r\n" % CANARY,
    ],
    ids=lambda sent: repr(sent[:60]),
)
async def test_not_http(sent: bytes) -> None:
    async with serving(memory_access()) as client:
        with logged(logging.INFO) as lines:
            reader, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(sent)
            answer = await reader.read()  # To its end: the connection is closed.
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"400"
    assert b"Content-Type: application/fhir+json; charset=utf-8" in head
    assert json.loads(body)["issue"][0]["code"] == "invalid"
    assert CANARY not in answer
    assert not any(CANARY in line for line in lines.raw)
    assert [line["level"] for line in lines.parsed if line["logger"] == "api.runner"] == ["INFO"]


async def test_who_is_still_sending_is_not_reset_before_it_has_read_the_refusal() -> None:
    async with serving(memory_access()) as client:
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(b"GET /fhir?name=%s\x00" % (CANARY * 1_000))
        answer = await reader.read()  # The server sends no more, and still takes what comes.
        assert answer.split(b" ")[1] == b"400"
        for _ in range(3):
            writer.write(CANARY * 1_000)
            await writer.drain()
        assert not writer.is_closing()
        writer.close()


@pytest.mark.parametrize("path", [b"/fhir/R4/lab/Production/metadata", b"/nowhere"])
@pytest.mark.parametrize("expected", [CANARY, b"\xe9" + CANARY])
async def test_an_expectation_that_nobody_knows_is_passed_over_and_never_shown(
    path: bytes, expected: bytes
) -> None:
    async with serving(memory_access()) as client:
        with logged(logging.INFO) as lines:
            reader, writer = await asyncio.open_connection(client.host, client.port)
            host = f"{client.host}:{client.port}".encode()
            writer.write(
                b"GET %s HTTP/1.1\r\nHost: %s\r\nExpect: %s\r\nConnection: close\r\n\r\n"
                % (path, host, expected)
            )
            answer = await reader.read()
            writer.close()
    assert answer.split(b" ")[1] in (b"200", b"401", b"404")
    assert b"fhir+json" in answer
    assert CANARY not in answer
    assert not any(CANARY in line or b"ERROR" in line for line in lines.raw)


@pytest.mark.parametrize("sent", [True, False], ids=["a request", "nothing"])
async def test_whoever_has_just_connected_is_answered_though_the_service_ends(sent: bool) -> None:
    async with serving(memory_access()) as client:
        runner: Any = client.server.runner
        reader, writer = await asyncio.open_connection(client.host, client.port)
        while not runner.server.connections:  # noqa: ASYNC110 -- of the same loop
            await asyncio.sleep(0)
        ending = asyncio.ensure_future(runner.cleanup())
        while not runner.server.admitted.ending:  # noqa: ASYNC110 -- of the same loop
            await asyncio.sleep(0)
        if sent:
            writer.write(b"GET /fhir/R4/lab/Production/metadata HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await reader.read()
        await ending
        writer.close()
    assert (b"200 OK" in answer, b"Connection: close" in answer) == (sent, sent)


async def test_each_answer_is_the_last_of_its_connection_once_the_service_will_end() -> None:
    """A client that keeps its connection would send its next request as the connection is closed."""
    asked = b"GET /fhir/R4/lab/Production/metadata HTTP/1.1\r\nHost: a\r\n\r\n"
    async with serving(memory_access()) as client:
        runner: Any = client.server.runner
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        runner.let_go()
        writer.write(asked)
        answer = await reader.read()
        writer.close()
    assert (b"200 OK" in answer, b"Connection: close" in head, b"Connection: close" in answer) == (
        True,
        False,
        True,
    )
