"""Requests to receivers reach no address inside, whatever led there, and follow no redirect."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from yarl import URL

from api.subscriptions.receivers import (
    ANSWER_BYTES_MAX,
    Outcome,
    receivers,
    refuse_receiver,
    seconds_of,
)
from tests.support.receiver import receiver
from tests.support.resolving import resolves

if TYPE_CHECKING:
    from tests.support.receiver import Came

LOOPBACK = (ip_network("127.0.0.0/8"),)
URLS = (
    "https://127.0.0.1/hook",
    "https://[::1]/hook",
    "https://[::ffff:7f00:1]/hook",
    "https://[64:ff9b::7f00:1]/hook",
    "https://169.254.169.254/latest/meta-data",
    "https://10.1.2.3/hook",
    "https://192.168.0.1/hook",
    "https://0.0.0.0/hook",
    "https://100.64.0.1/hook",
    "https://0x7f.1/hook",
    "https://localhost/hook",
    "http://app.example/hook",
)


def answers(status: int) -> Any:
    return lambda _: web.Response(status=status, headers={"Retry-After": "7"})


@pytest.mark.parametrize("url", URLS)
async def test_addresses_inside_are_never_connected_to(url: str) -> None:
    async with receivers(()) as out:
        reply = await out.post(url, b"{}", {}, seconds=5)
    assert reply.outcome is Outcome.BLOCKED


async def test_an_address_written_as_one_number_leads_nowhere() -> None:
    async with receivers(()) as out:
        reply = await out.post("https://2130706433/hook", b"{}", {}, seconds=5)
    assert reply.outcome in (Outcome.BLOCKED, Outcome.UNREACHABLE)


async def test_a_name_that_leads_inside_is_refused_when_the_connection_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when it led elsewhere the time before (DNS rebinding): nobody remembers an address."""
    async with receiver() as inside:
        port = URL(inside.url).port
        asked = resolves(monkeypatch, "127.0.0.1")
        async with receivers(()) as out:
            for _ in range(2):
                reply = await out.post(f"https://rebinds.example:{port}/hook", b"{}", {}, seconds=5)
                assert reply.outcome is Outcome.BLOCKED
        assert (len(asked), inside.came) == (2, [])


async def test_redirects_are_not_followed_and_networks_of_the_settings_may_be_reached() -> None:
    async with receiver() as inside, receivers(LOOPBACK) as out:
        assert (await out.post(inside.url, b"{}", {"x-a": "b"}, seconds=5)).outcome is Outcome.DELIVERED
        assert inside.came[0].headers["x-a"] == "b"

        def redirect(_: Came) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": str(inside.server.make_url("/other"))})

        inside.answer = redirect
        assert (await out.post(inside.url, b"{}", {}, seconds=5)).outcome is Outcome.REDIRECTED
        assert [one.path for one in inside.came] == ["/hook", "/hook"]


async def test_each_end_of_an_attempt_has_its_outcome() -> None:
    async with receiver() as inside, receivers(LOOPBACK) as out:
        for status, outcome in (
            (200, Outcome.DELIVERED),
            (204, Outcome.DELIVERED),
            (400, Outcome.REFUSED),
            (410, Outcome.GONE),
            (500, Outcome.FAILED),
            (503, Outcome.FAILED),
        ):
            inside.answer = answers(status)
            reply = await out.post(inside.url, b"{}", {}, seconds=5)
            assert (reply.outcome, reply.status) == (outcome, status)
        assert reply.retry_after == 7.0
        inside.answer = lambda _: web.Response(body=b"x" * (2 * ANSWER_BYTES_MAX))
        assert len((await out.post(inside.url, b"{}", {}, seconds=5)).body) == ANSWER_BYTES_MAX
        inside.answer = lambda _: None
        assert (await out.post(inside.url, b"{}", {}, seconds=0.05)).outcome is Outcome.TIMEOUT
        url = inside.url
    async with receivers(LOOPBACK) as out:
        assert (await out.post(url, b"{}", {}, seconds=5)).outcome is Outcome.UNREACHABLE


async def test_an_answer_comes_as_it_is_read() -> None:
    """Nothing would be found of a challenge or an access token that came compressed."""

    def compressed(came: Came) -> web.StreamResponse:
        answer = web.Response(text='{"access_token": "one"}')
        if "gzip" in came.headers.get("accept-encoding", ""):
            answer.enable_compression(web.ContentCoding.gzip)
        return answer

    async with receiver() as inside, receivers(LOOPBACK) as out:
        inside.answer = compressed
        assert (await out.post(inside.url, b"{}", {}, seconds=5)).body == b'{"access_token": "one"}'


async def test_a_certificate_that_cannot_be_verified_ends_the_attempt() -> None:
    async with receiver() as plain, receivers(LOOPBACK) as out:
        url = plain.url.replace("http://", "https://")
        assert (await out.post(url, b"{}", {}, seconds=5)).outcome is Outcome.UNREACHABLE
        assert plain.came == []


def test_without_tls_only_networks_of_the_settings_are_reached() -> None:
    refuse_receiver("http://10.0.0.1/hook", (ip_network("10.0.0.0/8"),))
    for url, allowed in (("http://app.example/hook", ()), ("https://10.0.0.1/", ()), ("https://", LOOPBACK)):
        with pytest.raises(ValueError, match=r"https|private"):
            refuse_receiver(url, allowed)


async def test_http_to_a_public_address_is_blocked_though_some_networks_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolves(monkeypatch, "93.184.215.14")
    async with receivers(LOOPBACK) as out:
        reply = await out.post("http://public.example/hook", b"{}", {}, seconds=5)
    assert reply.outcome is Outcome.BLOCKED


@pytest.mark.parametrize(
    ("answer", "outcome", "said"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", Outcome.DELIVERED, ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhalf", Outcome.DELIVERED, ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf", Outcome.DELIVERED, ""),
        (b"HTTP/1.1 500 No\r\nContent-Length: 99\r\n\r\nhalf", Outcome.FAILED, "status 500"),
        (b"", Outcome.UNREACHABLE, "ended without an answer"),
        (b"SSH-2.0-OpenSSH\r\n", Outcome.UNREACHABLE, "not HTTP"),
        (b"HTTP/1.1 2000000 OK\r\n\r\n", Outcome.UNREACHABLE, "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", Outcome.UNREACHABLE, "not HTTP"),
    ],
)
async def test_a_status_is_an_answer_whatever_follows_it(answer: bytes, outcome: Outcome, said: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, receivers(LOOPBACK) as out:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        reply = await out.post(url, b"{}", {}, seconds=5)
    assert (reply.outcome, said in reply.text) == (outcome, True), reply.text


@pytest.mark.parametrize("kept", [1, 3])
async def test_connections_that_were_kept_and_end_as_they_are_used_are_no_failure(kept: int) -> None:
    """A receiver closes what is idle for some seconds; a notification may be on its way at that moment.

    Several subscriptions that were told at one moment leave as many connections, all of one age.
    """
    came: list[int] = []
    all_there = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(0)
        await reader.readuntil(b"\r\n\r\n{}")
        if len(came) == kept:
            all_there.set()
        await all_there.wait()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, receivers(LOOPBACK) as out:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        first = [out.post(url, b"{}", {}, seconds=5) for _ in range(kept)]
        assert {one.outcome for one in await asyncio.gather(*first)} == {Outcome.DELIVERED}
        reply = await out.post(url, b"{}", {}, seconds=5)
        assert (reply.outcome, len(came)) == (Outcome.DELIVERED, kept + 1)


async def test_a_body_that_never_ends_takes_nothing_back() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, receivers(LOOPBACK) as out:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        assert (await out.post(url, b"{}", {}, seconds=0.3)).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        ("Mon, 30 Nov 2026 00:01:00 GMT", 60.0),
        ("Sun, 29 Nov 2026 00:00:00 GMT", 0.0),
        ("Mon, 30 Nov 99999 00:01:00 GMT", None),
        ("soon", None),
        ("", None),
        ("-1", None),
    ],
)
def test_how_long_a_receiver_asks_to_wait(text: str, seconds: float | None) -> None:
    now = datetime(2026, 11, 30, tzinfo=UTC).timestamp()
    assert seconds_of(text, now) == seconds
