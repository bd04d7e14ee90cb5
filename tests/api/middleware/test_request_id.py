"""The id of a request, on every response."""

from __future__ import annotations

import re

import pytest
from aiohttp import web

from tests.support.edge import LAB_BASE, bearer, edge_routes, memory_access, serving

REPORTS = f"{LAB_BASE}/DiagnosticReport"


@pytest.mark.parametrize("sent", ["abc-123", "A.b_c", "x" * 64])
async def test_a_safe_id_is_taken(sent: str) -> None:
    async with serving(memory_access()) as client:
        response = await client.get(REPORTS, headers={"X-Request-Id": sent})
        assert response.headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "-a", "MRN|123", "é"])
async def test_another_one_is_replaced(sent: str) -> None:
    async with serving(memory_access()) as client:
        response = await client.get(REPORTS, headers={"X-Request-Id": sent})
        assert re.fullmatch("[0-9a-f-]{36}", response.headers["X-Request-Id"])


@pytest.mark.parametrize("path", [REPORTS, "/nowhere", f"{LAB_BASE}/metadata"])
async def test_every_response_has_one(path: str) -> None:
    async with serving(memory_access()) as client:
        assert (await client.get(path)).headers["X-Request-Id"]


async def test_a_stream_has_one_too() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part")
        await response.write_eof()
        return response

    access = memory_access()
    async with serving(access, routes=edge_routes(stream)) as client:
        response = await client.get(REPORTS, headers={**bearer(access), "X-Request-Id": "stream-1"})
        assert (response.headers["X-Request-Id"], await response.read()) == ("stream-1", b"part")
