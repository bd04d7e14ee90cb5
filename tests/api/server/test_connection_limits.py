"""Bounds of connections: their number, how long each may wait, and who gives way."""

from __future__ import annotations

import asyncio
import json
import resource
from contextlib import AsyncExitStack, suppress

import pytest

from api.server.connection import Connection
from api.server.connection_limits import Connections, Limits, limits_of, raise_files
from api.server.heads import BLANK_BYTES_MAX
from api.settings.service import Settings
from store.errors import StartupError
from tests.support.edge import LAB_BASE, bearer, memory_access, serving
from tests.support.held import One
from tests.support.wire import head, wire

REPORTS = f"{LAB_BASE}/DiagnosticReport"


def test_of_heads_that_arrive_the_largest_give_way() -> None:
    ones = Connections(Limits(connections=10, heads_bytes=1_000))
    small, large, other = One(), One(), One()
    assert all(map(ones.admit, (small, large, other)))
    for one, size in ((small, 100), (large, 500), (other, 300), (large, 100)):
        ones.arriving(one, size)
    assert [one.is_open for one in (small, large, other)] == [True, True, True]
    ones.arriving(small, 1)
    assert [one.is_open for one in (small, large, other)] == [True, False, True]
    assert len(ones) == 2
    ones.arrived(other)  # Its head is whole.
    ones.arriving(small, 898)
    ones.arriving(other, 1)
    assert small.is_open
    ones.arriving(other, 1)
    assert (small.is_open, other.is_open) == (False, True)


async def test_heads_that_arrive_are_bounded_together() -> None:
    access = memory_access()
    part = b"GET /%b" % (b"a" * 50_000)
    async with serving(access, limits=Limits(heads_bytes=200_000)) as client, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(wire(client)) for _ in range(12)]
        for one in slow:
            await one.send(part)
        # Eight are too much, and are closed without an answer; the others are waited for.
        gone = {asyncio.ensure_future(one.rest()) for one in slow}
        while sum(task.done() for task in gone) < 8:
            await asyncio.wait([task for task in gone if not task.done()], return_when="FIRST_COMPLETED")
        assert all(task.result() == b"" for task in gone if task.done())
        async with wire(client) as quick:
            await quick.send(head("GET", REPORTS, bearer(access)))
            assert (await quick.reply()).status == 200
        for task in gone:
            task.cancel()


@pytest.mark.parametrize(
    ("files", "pool", "most"),
    [(65_536, 32, 4_000), (1_024, 32, 896), (256, 32, 128), (144, 32, 16), (143, 32, None), (64, 32, None)],
)
def test_open_files_bound_the_connections(files: int, pool: int, most: int | None) -> None:
    settings = Settings(pool_size=pool)
    if most is None:
        with pytest.raises(StartupError, match=r"ulimit -n.*DOD_POOL_SIZE.*144"):
            limits_of(settings, files=files)
    else:
        assert limits_of(settings, files=files).connections == most


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (256, 4_096, 4_096),
        (1_024, 1_048_576, 65_536),
        (1_024, resource.RLIM_INFINITY, 65_536),
        (100_000, 200_000, 100_000),
        (64, 64, 64),
    ],
)
def test_the_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int
) -> None:
    limit = [soft, hard]
    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limit))
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limit.__setitem__(slice(2), given))
    assert (raise_files(), limit) == (raised, [raised, hard])


async def test_a_head_that_does_not_end_is_not_waited_for() -> None:
    """Also when a byte comes now and then, and on a connection that had a request before."""
    access = memory_access()
    async with (
        serving(access, limits=Limits(head_seconds=0.2)) as client,
        wire(client) as silent,
        wire(client) as dripping,
        wire(client) as second,
    ):
        await second.send(head("GET", REPORTS, bearer(access)))
        assert (await second.reply()).status == 200
        await second.send(b"GET /")
        await dripping.send(head("GET", REPORTS, bearer(access))[:-2])
        with suppress(ConnectionError):
            while not dripping.reader.at_eof():
                await dripping.send(b"X: y\r\n")
                await asyncio.sleep(0.01)
        for line in (silent, second):
            reply = await line.reply()
            assert (reply.status, reply.headers["content-type"].partition(";")[0]) == (
                408,
                "application/fhir+json",
            )
            assert json.loads(reply.body)["issue"][0]["code"] == "timeout"
            assert await line.rest() == b""


async def test_an_idle_connection_is_closed_in_the_end() -> None:
    access = memory_access()
    async with serving(access, limits=Limits(idle_seconds=0.1)) as client, wire(client) as line:
        await line.send(head("GET", REPORTS, bearer(access)))
        assert (await line.reply()).status == 200
        assert await line.rest() == b""


async def test_half_sent_heads_starve_nobody() -> None:
    access = memory_access()
    async with serving(access, limits=Limits(connections=20)) as client, AsyncExitStack() as stack:
        for _ in range(60):
            line = await stack.enter_async_context(wire(client))
            await line.send(b"GET / HTTP/1.1\r\nX: ")
            async with wire(client) as healthy:
                await healthy.send(head("GET", REPORTS, bearer(access)))
                assert (await healthy.reply()).status == 200


@pytest.mark.parametrize("known", [True, False], ids=["bodies that do not end", "refusals not left"])
async def test_one_address_keeps_nobody_out(known: bool) -> None:
    """Neither with requests whose bodies do not end, nor where their refusal waits to be read."""
    access = memory_access()
    fields = {"Content-Type": "application/fhir+json", "Content-Length": "9000"}
    slow = head("POST", REPORTS, {**fields, **(bearer(access) if known else {})})
    async with serving(access, limits=Limits(connections=20)) as client, AsyncExitStack() as stack:
        idle = await stack.enter_async_context(wire(client, "127.0.0.2"))
        await idle.send(head("GET", REPORTS, bearer(access)))
        assert (await idle.reply()).status == 200
        for _ in range(30):
            line = await stack.enter_async_context(wire(client))
            await line.send(slow, b"{")
            if not known:
                assert (await line.reply()).status == 401
        for _ in range(5):
            healthy = await stack.enter_async_context(wire(client, "127.0.0.3"))
            await healthy.send(head("GET", REPORTS, bearer(access)))
            assert (await healthy.reply()).status == 200
        await idle.send(head("GET", REPORTS, bearer(access)))
        assert (await idle.reply()).status == 200


async def test_empty_lines_before_a_request_are_passed_over_together_as_far_as_anybody_sends_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hundred connections with megabytes of them held up everybody, however they were parsed."""
    parsed = list[int]()
    parse = Connection._parse

    def counted(self: Connection, data: bytes) -> bytes:
        parsed.append(len(data))
        return parse(self, data)

    monkeypatch.setattr(Connection, "_parse", counted)
    access = memory_access()
    request = head("GET", REPORTS, bearer(access))
    async with serving(access) as client, wire(client) as line:
        for _ in range(3):  # Counted before each request.
            await line.send(b"\r\n" * 500, request)
            assert (await line.reply()).status == 200
        assert len(parsed) < 10
        await line.send(request, b"\r\n" * 600)  # Behind a request, as before one.
        assert (await line.reply()).status == 200
        assert (await line.reply()).status == 400
        assert await line.rest() == b""
        del parsed[:]
        async with wire(client) as another:
            await another.send(b"\n" * 100_000)
            refused = await another.reply()
            assert (refused.status, refused.headers["connection"]) == (400, "close")
            assert b"empty lines" in refused.body
            assert await another.rest() == b""
        assert sum(parsed) <= BLANK_BYTES_MAX


async def test_a_head_that_comes_byte_by_byte_has_no_empty_lines() -> None:
    access = memory_access()
    fields = {**bearer(access), **{f"X-{number}": "a" for number in range(90)}}
    async with serving(access) as client, wire(client) as line:
        for piece in head("GET", REPORTS, fields).splitlines(keepends=True):
            await line.send(piece[:-2])
            await asyncio.sleep(0)
            await line.send(piece[-2:])
            await asyncio.sleep(0)
        assert (await line.reply()).status == 200


async def test_many_requests_on_one_connection_are_answered_in_order() -> None:
    access = memory_access()
    async with serving(access) as client, wire(client) as line:
        ids = [f"r{number}" for number in range(100)]
        await line.send(*(head("GET", REPORTS, {**bearer(access), "X-Request-Id": one}) for one in ids))
        assert [(await line.reply()).headers["x-request-id"] for _ in ids] == ids
