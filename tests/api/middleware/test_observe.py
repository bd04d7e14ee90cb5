"""A line and a count for each request, and nothing of a patient in either."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from prometheus_client import generate_latest

from api.http.app_keys import METRICS, REGISTRY
from store.errors import Category, ServiceError
from tests.support.edge import LAB_BASE, EdgeClient, bearer, edge_routes, memory_access, serving
from tests.support.lines import logged

REPORTS = f"{LAB_BASE}/DiagnosticReport"
SENTINEL = "S3NTINEL"


def counted(client: EdgeClient, route: str, method: str, code: str) -> float | None:
    labels = {"route": route, "method": method, "code": code}
    return application(client)[REGISTRY].get_sample_value("dod_http_requests_total", labels)


def application(client: EdgeClient) -> web.Application:
    app = client.app
    assert app is not None
    return app


async def test_the_line_of_a_request() -> None:
    access = memory_access()
    with logged() as lines:
        async with serving(access) as client:
            headers = {**bearer(access, client="ehr"), "X-Request-Id": "r-1"}
            headers["Content-Type"] = "application/fhir+json"
            await client.post(REPORTS, data=b"{}", headers=headers)
    [line] = [line for line in lines.parsed if line["logger"] == "api.request"]
    assert line.pop("time").endswith("Z")
    assert line.pop("duration_ms") >= 0
    assert line == {
        "level": "INFO",
        "logger": "api.request",
        "message": "request",
        "request_id": "r-1",
        "route": "create",
        "method": "POST",
        "tenant": "lab/Production",
        "client": "ehr",
        "status": 200,
        "bytes_in": 2,
        "bytes_out": 2,
    }


async def test_a_request_without_a_good_token_names_no_tenant() -> None:
    with logged() as lines:
        async with serving(memory_access()) as client:
            await client.get(REPORTS)
    [line] = [line for line in lines.parsed if line["logger"] == "api.request"]
    assert (line["tenant"], line["client"], line["status"]) == (None, None, 401)


async def test_requests_are_counted_by_route_method_and_status() -> None:
    access = memory_access()
    async with serving(access) as client:
        for _ in range(3):
            await client.get(f"{REPORTS}/{SENTINEL}", headers=bearer(access))
        await client.get("/nowhere")
        await client.request("PROPFIND", REPORTS)
        assert counted(client, "read", "GET", "200") == 3
        assert counted(client, "none", "GET", "404") == 1
        assert counted(client, "none", "other", "405") == 1
        assert application(client)[METRICS].in_flight == 0


@pytest.mark.parametrize(
    "asked", [[], ["dod_http_requests_total"], ["dod_http_request_duration_seconds_count"]]
)
async def test_what_is_foreseen_is_there_at_the_first_scrape(asked: list[str]) -> None:
    """An alert misses the first step of a series that is new. A scrape may ask for some names alone."""
    async with serving(memory_access()) as client:
        registry = application(client)[REGISTRY]
        text = generate_latest(registry.restricted_registry(asked) if asked else registry).decode()
    wanted = {
        "dod_http_requests_total": 'dod_http_requests_total{code="503",method="GET",route="read"} 0.0\n',
        "dod_http_request_duration_seconds_count": (
            'dod_http_request_duration_seconds_count{method="GET",route="read"} 0.0\n'
        ),
    }
    for name in asked or wanted:
        assert wanted[name] in text


async def test_requests_under_way_are_shown() -> None:
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def wait(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await gate.wait()
        return web.Response()

    access = memory_access()
    async with serving(access, routes=edge_routes(wait)) as client:
        request = asyncio.ensure_future(client.get(REPORTS, headers=bearer(access)))
        await arrived.wait()
        registry = application(client)[REGISTRY]
        assert registry.get_sample_value("dod_http_requests_in_flight") == 1
        gate.set()
        await request
        assert registry.get_sample_value("dod_http_requests_in_flight") == 0


class KeyedError(Exception):
    """As a driver's: its text has the value."""


def fault() -> Exception:
    error = KeyedError(f"dup key: {SENTINEL}")
    error.__cause__ = ValueError(SENTINEL)
    return error


@pytest.mark.parametrize(
    "error",
    [None, fault(), ServiceError(Category.FAULT), ServiceError(Category.UNAVAILABLE), web.HTTPConflict()],
    ids=["answered", "unexpected", "fault", "unavailable", "http"],
)
async def test_no_value_of_a_request_comes_out(error: Exception | None) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        local = (await request.text(), SENTINEL)
        if error is not None:
            raise error from ValueError(local)
        return web.Response()

    access = memory_access()
    with logged() as lines:
        async with serving(access, routes=edge_routes(handler)) as client:
            headers = {
                **bearer(access),
                "X-Request-Id": f"{SENTINEL} |",
                "X-Other": SENTINEL,
                "User-Agent": SENTINEL,
                "Content-Type": "application/fhir+json",
            }
            seen = [
                await client.put(
                    f"{REPORTS}/{SENTINEL}?patient.identifier={SENTINEL}", data=SENTINEL, headers=headers
                ),
                await client.get(f"{LAB_BASE}/{SENTINEL}/{SENTINEL}/{SENTINEL}?a={SENTINEL}"),
                await client.get(f"/fhir/R4/{SENTINEL}/{SENTINEL}/Patient", headers=headers),
                await client.get(f"/fhir/R4/{SENTINEL}/Production/Patient", headers=headers),
                await client.get(f"{REPORTS}/{SENTINEL}", headers={"Authorization": f"Bearer {SENTINEL}"}),
                await client.get(REPORTS, headers={**headers, "Accept": SENTINEL}),
                await client.put(
                    f"{REPORTS}/1", data=b"x", headers={**headers, "Content-Encoding": SENTINEL}
                ),
            ]
            told = [str(response.headers) + await response.text() for response in seen]
            metrics = generate_latest(application(client)[REGISTRY]).decode()
    assert len(lines.raw) >= len(seen)
    for text in [*told, metrics, *(line.decode() for line in lines.raw)]:
        assert SENTINEL not in text


async def test_an_unexpected_error_is_logged_with_types_and_places() -> None:
    async def handler(_: web.Request) -> web.StreamResponse:
        raise fault()

    access = memory_access()
    with logged() as lines:
        async with serving(access, routes=edge_routes(handler)) as client:
            await client.get(REPORTS, headers={**bearer(access), "X-Request-Id": "r-1"})
    [line] = [line for line in lines.parsed if line["logger"] == "api.errors"]
    assert line["level"] == "ERROR"
    assert line["request_id"] == "r-1"
    assert line["errors"] == ["KeyedError", "ValueError"]
    assert line["frames"][-1].endswith(" handler")
