"""Clients that ask too often are refused, and nobody else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from api.middleware.throttle import pause_of
from api.settings.service import Settings
from ingest.http.replies import fhir_json
from tests.support.edge import LAB_BASE, bearer, edge_routes, memory_access, serving

if TYPE_CHECKING:
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
        first, _ = await asyncio.wait(held, return_when=asyncio.FIRST_COMPLETED)
        assert {one.result().status for one in first} == {429}
        other = asyncio.ensure_future(client.get(READ, headers=quiet))
        await asyncio.sleep(0)
        gate.set()
        assert (await other).status == 200
        assert sorted([(await one).status for one in held]) == [200, 200, 429, 429, 429]
        assert await statuses(client, noisy, 2) == [200, 200]


@pytest.mark.parametrize(
    ("held", "seconds", "expected"),
    [(1, 1.0, 1.0), (50, 1.0, 1.0), (200, 1.0, 4.0), (2_000, 1.0, 10.0), (2_000, 30.0, 30.0), (2_000, 0, 0)],
)
def test_many_refusals_of_one_client_go_out_more_slowly(held: int, seconds: float, expected: float) -> None:
    assert pause_of(held, seconds) == expected
