"""Exceptions on their way out."""

from __future__ import annotations

import pytest
from aiohttp import web

from api.middleware.errors import MEDIA_TYPE_MAX
from ingest.http.outcome import DEFAULT_ISSUE, STATUS
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from tests.support.edge import LAB_BASE, bearer, edge_routes, memory_access, serving

REPORTS = f"{LAB_BASE}/DiagnosticReport"


async def answer_to(error: Exception) -> tuple[int, dict[str, str], dict[str, object]]:
    """Status, headers and the first issue, when a handler raises this."""

    async def fail(_: web.Request) -> web.StreamResponse:
        raise error

    access = memory_access()
    async with serving(access, routes=edge_routes(fail)) as client:
        response = await client.get(REPORTS, headers=bearer(access))
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert response.headers["X-Request-Id"]
        body = await response.json()
        assert body["resourceType"] == "OperationOutcome"
        return response.status, dict(response.headers), body["issue"][0]


@pytest.mark.parametrize("category", Category)
async def test_a_service_error_becomes_its_status(category: Category) -> None:
    status, _, issue = await answer_to(ServiceError(category))
    assert status == STATUS[category]
    assert issue["code"] == DEFAULT_ISSUE[category].code


async def test_the_issues_of_a_service_error_are_shown() -> None:
    error = ServiceError(Category.INCORRECT, Issue("required", "`code` is needed.", ("code",)))
    status, _, issue = await answer_to(error)
    assert status == 400
    assert issue == {
        "severity": "error",
        "code": "required",
        "details": {"text": "`code` is needed."},
        "diagnostics": "`code` is needed.",
        "expression": ["code"],
    }


async def test_unavailable_asks_to_come_back() -> None:
    assert (await answer_to(ServiceError(Category.UNAVAILABLE)))[1]["Retry-After"] == "1"


async def test_an_http_refusal_keeps_its_headers_and_text() -> None:
    error = web.HTTPTooManyRequests(text="Slower.", headers={"Retry-After": "7"})
    status, headers, issue = await answer_to(error)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert (issue["code"], issue["details"]) == ("throttled", {"text": "Slower."})


@pytest.mark.parametrize("piece", [";", '"', "a;", "(", "a=b;"])
async def test_a_media_type_is_bounded_before_it_is_read(piece: str) -> None:
    """The library makes ten seconds, or a RecursionError, of sixteen thousand characters."""

    async def read(request: web.Request) -> web.StreamResponse:
        return web.Response(text=request.content_type)

    access = memory_access()
    async with serving(access, routes=edge_routes(read)) as client:
        for length, status in ((16_000, 415), (MEDIA_TYPE_MAX, 200)):
            headers = {**bearer(access), "Content-Type": (piece * length)[:length]}
            assert (await client.get(REPORTS, headers=headers)).status == status


async def test_a_header_that_is_no_utf8_is_no_fault_of_the_service() -> None:
    text = "`\udce9` is unknown"
    status, _, issue = await answer_to(ServiceError(Category.INCORRECT, Issue("value", text, ("\udce9",))))
    assert (status, issue["details"], issue["expression"]) == (400, {"text": "`?` is unknown"}, ["?"])


async def test_anything_else_is_an_internal_error() -> None:
    status, _, issue = await answer_to(RuntimeError("secret"))
    assert status == 500
    assert (issue["code"], issue["details"]) == ("exception", {"text": "internal error"})


async def test_a_304_is_no_failure() -> None:
    async def unchanged(_: web.Request) -> web.StreamResponse:
        raise web.HTTPNotModified(headers={"ETag": 'W/"1"'})

    access = memory_access()
    async with serving(access, routes=edge_routes(unchanged)) as client:
        response = await client.get(REPORTS, headers=bearer(access))
        assert (response.status, response.headers["ETag"], await response.read()) == (304, 'W/"1"', b"")
