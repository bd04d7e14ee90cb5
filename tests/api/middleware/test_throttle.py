"""Clients that ask too often are refused, and nobody else."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from api.http.app_keys import LIMITER
from api.middleware.throttle import pause_of
from api.server.connection import LINGER_BYTES
from api.server.connection_limits import Limits
from api.settings.service import Settings
from ingest.http.admission import NoRoomError
from ingest.http.replies import fhir_json
from tests.support.edge import LAB_BASE, bearer, edge_routes, memory_access, serving
from tests.support.wire import Wire, head, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiohttp import web

    from tests.support.edge import EdgeClient

READ = f"{LAB_BASE}/DiagnosticReport/1"


async def statuses(client: EdgeClient, headers: dict[str, str], number: int, path: str = READ) -> list[int]:
    return [(await client.get(path, headers=headers)).status for _ in range(number)]


def settings(**told: Any) -> Settings:
    return Settings(**{"throttle_pause_seconds": 0, **told})


async def test_a_client_past_its_limit_is_429_and_another_one_is_not() -> None:
    access = memory_access()
    noisy, quiet = bearer(access), bearer(access)  # Under one name: each credential counts by itself.
    async with serving(access, settings=settings(rate_search="5/minute")) as client:
        assert await statuses(client, noisy, 7) == [200] * 5 + [429] * 2
        answer = await client.get(READ, headers=noisy)
        assert (await answer.json())["issue"][0]["code"] == "throttled"
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["X-RateLimit-Limit"] == "5"
        assert answer.headers["RateLimit-Limit"] == "5"
        assert answer.headers["RateLimit-Remaining"] == "0"
        assert answer.headers["RateLimit-Reset"] == answer.headers["Retry-After"]
        assert await statuses(client, quiet, 5) == [200] * 5
        pushed = await client.put(READ, json={}, headers=noisy)
        assert pushed.status == 200  # Another class.
        assert (await client.get(f"{LAB_BASE}/metadata")).status == 200


async def test_classes_are_counted_apart() -> None:
    access = memory_access()
    told = settings(rate_search="", rate_push="1/minute", rate_backfill="2/minute")
    async with serving(access, settings=told) as client:
        headers = bearer(access)
        pushes = [(await client.put(READ, json={}, headers=headers)).status for _ in range(2)]
        bundles = [(await client.post(LAB_BASE, json={}, headers=headers)).status for _ in range(3)]
        assert (pushes, bundles) == ([200, 429], [200, 200, 429])
        assert await statuses(client, headers, 20) == [200] * 20


async def test_an_address_is_counted_before_anybody_is_known() -> None:
    access = memory_access()
    told = settings(rate_address="3/minute", trusted_proxies="127.0.0.1")
    async with serving(access, settings=told) as client:

        async def asks(address: str) -> int:
            return (await client.get(READ, headers={"X-Forwarded-For": address})).status

        assert [await asks("198.51.100.7") for _ in range(4)] == [401, 401, 401, 429]
        assert await asks("198.51.100.8") == 401
        # One household, whatever of its addresses it takes; one address, however it is spelled.
        assert [await asks(f"2001:db8::{n}") for n in range(4)] == [401, 401, 401, 429]
        assert await asks("2001:db8:0:1::1") == 401
        assert [await asks(one) for one in ("203.0.113.1", "203.0.113.1:80", "::ffff:203.0.113.1")] == [
            401
        ] * 3


async def test_what_leads_nowhere_is_counted_by_its_address_too() -> None:
    async with serving(memory_access(), settings=settings(rate_address="3/minute")) as client:
        for method, path in (("OPTIONS", READ), ("GET", "/nowhere"), ("POST", f"{LAB_BASE}/metadata")):
            assert (await client.request(method, path)).status in (204, 404, 405)
        assert (await client.options(READ)).status == 429
        assert (await client.get("/nowhere")).status == 429


async def test_a_client_has_so_many_requests_at_a_time() -> None:
    access, gate = memory_access(), asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return fhir_json(b"{}")

    async with serving(access, routes=edge_routes(slow), settings=settings(client_requests_max=2)) as client:
        noisy, quiet = bearer(access), bearer(access)
        held = [asyncio.ensure_future(client.get(READ, headers=noisy)) for _ in range(5)]
        refused = asyncio.as_completed(held)
        assert [(await next(refused)).status for _ in range(3)] == [429] * 3
        other = asyncio.ensure_future(client.get(READ, headers=quiet))
        await asyncio.sleep(0)
        gate.set()
        assert (await other).status == 200
        assert sorted([(await one).status for one in held]) == [200, 200, 429, 429, 429]
        assert await statuses(client, noisy, 2) == [200, 200]


@pytest.mark.parametrize(
    ("held", "seconds", "expected"),
    [(1, 1.0, 1.0), (50, 1.0, 1.0), (200, 1.0, 4.0), (500, 1.0, 10.0), (2_000, 30.0, 30.0), (2_000, 0, 0)],
)
def test_many_refusals_of_one_client_go_out_more_slowly(held: int, seconds: float, expected: float) -> None:
    assert pause_of(held, seconds) == expected


def test_refusals_that_wait_for_longest_go_out_one_after_another() -> None:
    in_each_second = Counter(int(pause_of(held, 1.0)) for held in range(501, 2_001))
    assert set(in_each_second) == set(range(5, 10))
    assert max(in_each_second.values()) < 400


def held_by(client: EdgeClient) -> int:
    """Refusals that wait."""
    return sum(client.app[LIMITER].held_back.values())


async def reached(state: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not state():  # noqa: ASYNC110 -- of the same loop
            await asyncio.sleep(0)


@asynccontextmanager
async def held_back(number: int, sent: bytes, **limits: Any) -> AsyncIterator[tuple[Any, list[Wire]]]:
    """The server, and connections whose refusals wait for half a minute."""
    access = memory_access()
    told = Settings(rate_push="1/minute", throttle_pause_seconds=30)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(serving(access, settings=told, limits=Limits(**limits)))
        shown, lines = bearer(access), []
        assert (await client.put(READ, json={}, headers=shown)).status == 200
        asked = head("PUT", READ, {**shown, "Content-Type": "application/json", "Content-Length": "2000000"})
        for _ in range(number):
            lines.append(await stack.enter_async_context(wire(client)))
            await lines[-1].send(asked, sent)
        await reached(lambda: held_by(client) == number)
        yield client, lines


async def test_a_refusal_that_waits_gives_its_connection_up() -> None:
    async with held_back(19, b"{", connections=20) as (client, lines):
        async with wire(client) as healthy, wire(client) as another:
            for line in (healthy, another):
                await line.send(head("GET", f"{LAB_BASE}/metadata", {}))
                assert (await line.reply()).status == 200
        assert await lines[0].rest() == b""
        await reached(lambda: held_by(client) == 18)


async def test_whoever_has_gone_waits_for_no_refusal() -> None:
    async with held_back(3, b"{") as (client, lines):
        for line in lines:
            line.writer.transport.abort()
        await reached(lambda: not held_by(client))
        assert not client.app[LIMITER].held_back


async def test_a_service_that_ends_lets_refusals_out() -> None:
    async with held_back(3, b"{") as (client, lines):
        ending = asyncio.ensure_future(client.server.runner.cleanup())
        for line in lines:
            reply = await line.reply()
            assert (reply.status, reply.headers["connection"]) == (429, "close")
        await ending


async def test_nothing_of_a_body_is_kept_while_its_refusal_waits() -> None:
    """Each would have half a megabyte, two thousand of them a gigabyte."""
    async with held_back(2, bytes(200_000)) as (client, lines):
        connections = client.server.runner.server.connections
        held = [one for one in connections if one._held is not None]
        assert len(held) == 2
        for line in lines:
            line.writer.write(bytes(1_000_000))
        await reached(lambda: all(one._thrown_away > LINGER_BYTES for one in held))
        assert [one._current_request.content._size for one in held] == [0, 0]


async def test_a_push_that_finds_no_room_is_held_back_as_well() -> None:
    """Else its client would send the body again, and again."""

    async def full(_: web.Request) -> web.StreamResponse:
        raise NoRoomError

    access = memory_access()
    told = settings(throttle_pause_seconds=30)
    async with serving(access, routes=edge_routes(full), settings=told) as client, wire(client) as sent:
        await sent.send(head("PUT", READ, {"Content-Type": "application/fhir+json", **bearer(access)}))
        await reached(lambda: held_by(client) == 1)
        assert client.server.runner is not None
        ending = asyncio.ensure_future(client.server.runner.cleanup())
        assert (await sent.reply()).status == 503
        await ending
