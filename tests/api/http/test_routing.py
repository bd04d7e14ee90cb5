"""Paths, methods, roles: what is found and what is said when nothing is."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.http.routing import BASE, ID, ROLES, TYPE, Group, Role, Route, install
from api.routes import routes
from api.settings.service import Settings
from ingest.http.replies import fhir_json
from tests.support.edge import LAB_BASE, bearer, edge_routes, memory_access, serving

JSON = {"Content-Type": "application/fhir+json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/DiagnosticReport", 200),
        ("GET", "/DiagnosticReport/", 200),
        ("HEAD", "/DiagnosticReport", 200),
        ("GET", "/DiagnosticReport/a-1.B", 200),
        ("GET", f"/DiagnosticReport/{'a' * 64}", 200),
        ("GET", f"/DiagnosticReport/{'a' * 65}", 404),
        ("GET", "/DiagnosticReport/a_1", 404),
        ("GET", "/diagnosticReport", 404),
        ("GET", "/", 405),
        ("PATCH", "/DiagnosticReport/1", 405),
    ],
)
async def test_path(method: str, path: str, status: int) -> None:
    access = memory_access()
    async with serving(access) as client:
        response = await client.request(method, LAB_BASE + path, headers=bearer(access))
        assert response.status == status


async def test_head_has_the_headers_and_no_body() -> None:
    access = memory_access()
    async with serving(access) as client:
        response = await client.head(f"{LAB_BASE}/DiagnosticReport", headers=bearer(access))
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert await response.read() == b""


async def test_a_wrong_method_names_the_right_ones() -> None:
    async with serving(memory_access()) as client:
        response = await client.patch(f"{LAB_BASE}/DiagnosticReport/1")
        assert response.status == 405
        assert response.headers["Allow"] == "DELETE,GET,HEAD,OPTIONS,PUT"
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert (await response.json())["issue"][0]["code"] == "not-supported"


@pytest.mark.parametrize(
    "path", ["/", "/fhir/R4", "/fhir/R5/lab/Production/Patient", "/fhir/R4/lab/Production/x"]
)
async def test_an_unknown_path_is_an_operation_outcome(path: str) -> None:
    async with serving(memory_access()) as client:
        response = await client.get(path)
        assert response.status == 404
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        assert (await response.json())["issue"][0]["code"] == "not-found"


@pytest.mark.parametrize("where", ["", "/DiagnosticReport", "/DiagnosticReport/1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_operation_is_named(method: str, where: str) -> None:
    async with serving(memory_access()) as client:
        response = await client.request(method, f"{LAB_BASE}{where}/$everything")
        assert response.status == 404
        issue = (await response.json())["issue"][0]
        assert issue["code"] == "not-supported"
        assert "`$everything`" in issue["details"]["text"]
        assert issue["details"]["coding"][0]["code"] == "MSG_NO_MODULE"


ROLE_CASES: list[tuple[Role, dict[str, int]]] = [
    ("all", {"search": 200, "read": 200, "create": 200, "batch": 200, "metadata": 200}),
    ("query", {"search": 200, "read": 200, "create": 405, "batch": 405, "metadata": 200}),
    ("ingest", {"search": 405, "read": 200, "create": 200, "batch": 200, "metadata": 200}),
    ("jobs", {"search": 405, "read": 405, "create": 405, "batch": 405, "metadata": 200}),
]


@pytest.mark.parametrize(("role", "expected"), ROLE_CASES, ids=[role for role, _ in ROLE_CASES])
async def test_a_role_serves_its_groups(role: Role, expected: dict[str, int]) -> None:
    access = memory_access()
    requests = {
        "search": ("POST", f"{LAB_BASE}/DiagnosticReport/_search", FORM),
        "read": ("GET", f"{LAB_BASE}/DiagnosticReport/1", {}),
        "create": ("POST", f"{LAB_BASE}/DiagnosticReport", JSON),
        "batch": ("POST", LAB_BASE, JSON),
        "metadata": ("GET", f"{LAB_BASE}/metadata", {}),
    }
    async with serving(access, settings=Settings(role=role)) as client:
        for name, (method, path, headers) in requests.items():
            response = await client.request(method, path, headers={**bearer(access), **headers})
            assert (name, response.status) == (name, expected[name])
            if response.status == 405:
                issue = (await response.json())["issue"][0]
                assert "`DOD_ROLE`" in issue["details"]["text"]


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
SUBSCRIPTION = f"{BASE}/Subscription"
OF_ALL_TYPES = (f"{SUBSCRIPTION}/_history", f"{SUBSCRIPTION}/1/_history", f"{SUBSCRIPTION}/1/_history/1")
"""Paths of all types of which Subscriptions have none."""
EXAMPLES = {
    "organization": "lab",
    "environment": "Production",
    "file": "nothing.js",
}


def example(path: str) -> str:
    """A path that a row takes."""

    def value(found: re.Match[str]) -> str:
        name, _, pattern = found[1].partition(":")
        fixed = pattern if pattern.isalpha() else "Media"
        given = {**EXAMPLES, "type": fixed, "compartment": fixed, "id": str(UUID(int=1))}
        return given.get(name, "1")

    return re.sub(r"\{((?:[^{}]|\{[^{}]*\})*)\}", value, path)


PATHS = sorted({example(path) for path in (*(row.path for row in routes()), *OF_ALL_TYPES)})


@pytest.mark.parametrize("role", ROLES)
async def test_allow_lists_what_a_path_takes_and_nothing_else(role: Role) -> None:
    """Each path × method: 405 carries `Allow`, the same for all methods, and what is listed is no 405."""
    access = memory_access()
    async with serving(access, routes=routes(), settings=Settings(role=role)) as client:
        for path in PATHS:
            told = await client.options(path)
            assert "Allow" in told.headers, path
            listed = set(told.headers["Allow"].split(", "))
            assert told.status == 204
            for method in METHODS:
                response = await client.request(method, path)
                refused = response.status == 405
                assert refused == (method not in listed), f"{method} {path}: {response.status}, {listed}"
                if refused:
                    assert set(response.headers["Allow"].split(",")) == listed, f"{method} {path}"


async def test_a_type_with_interactions_of_its_own_has_no_others() -> None:
    access = memory_access()
    async with serving(access, routes=routes()) as client:
        for method, path, taken in (
            ("PATCH", "Subscription/1", "DELETE,GET,HEAD,OPTIONS,PUT"),
            ("PATCH", "Subscription/1/", "DELETE,GET,HEAD,OPTIONS,PUT"),
            ("PUT", "Subscription?url=x", "GET,HEAD,OPTIONS,POST"),
            ("DELETE", "Subscription?url=x", "GET,HEAD,OPTIONS,POST"),
            ("GET", "Subscription/_history", "OPTIONS"),
            ("GET", "Subscription/1/_history", "OPTIONS"),
            ("GET", "Subscription/1/_history/1", "OPTIONS"),
        ):
            response = await client.request(method, f"{LAB_BASE}/{path}", headers=bearer(access))
            assert (response.status, response.headers.get("Allow")) == (405, taken), f"{method} {path}"


async def test_a_route_may_answer_other_than_json() -> None:
    async def document(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"%PDF", content_type="application/pdf")

    rows = (
        Route("binary", "GET", f"{BASE}/{{type:Binary}}/{ID}", document, Group.READ, "r", negotiates=False),
        Route("read", "GET", f"{BASE}/{TYPE}/{ID}", document, Group.READ, "r"),
    )
    access = memory_access()
    async with serving(access, routes=rows) as client:
        headers = {**bearer(access), "Accept": "application/pdf"}
        assert (await client.get(f"{LAB_BASE}/Binary/1", headers=headers)).status == 200
        assert (await client.get(f"{LAB_BASE}/Media/1", headers=headers)).status == 406


async def test_applications_can_live_side_by_side() -> None:
    first, second = memory_access(), memory_access()
    async with serving(first) as one, serving(second) as two:
        assert (await one.get(f"{LAB_BASE}/DiagnosticReport", headers=bearer(first))).status == 200
        assert (await two.get(f"{LAB_BASE}/DiagnosticReport", headers=bearer(first))).status == 401


async def test_the_handler_of_a_row_gets_the_ids_of_the_path() -> None:
    async def show(request: web.Request) -> web.StreamResponse:
        return fhir_json(f"{request.match_info['type']} {request.match_info['id']}".encode())

    access = memory_access()
    async with serving(access, routes=edge_routes(show)) as client:
        response = await client.get(f"{LAB_BASE}/DiagnosticReport/a-1/", headers=bearer(access))
        assert await response.text() == "DiagnosticReport a-1"


AT_ANY_BASE = "/fhir/R4/Subscription/Production"  # A tenant may be named as a type is.
LOOKED_FOR = [
    *(path.format(base=base) for base in (LAB_BASE, AT_ANY_BASE) for path in (
        "{base}", "{base}/", "{base}/Subscription", "{base}/Subscription/_search/", "{base}/Subscription/1",
        "{base}/Subscription/$status", "{base}/Subscription/1/$events", "{base}/Subscriptions",
        "{base}/AuditEvent/_search", "{base}/AuditEvent/1", "{base}/Binary/1/_history/2", "{base}/Patient",
        "{base}/Patient/1/Observation", "{base}/Patient/1/$everything", "{base}/Patient/1/%24purge",
        "{base}/DiagnosticReport/_search", "{base}/DiagnosticReport/%24write", "{base}/%24process-message",
        "{base}/$process%2Dmessage", "{base}/Media/1/_history", "{base}/Media/_history", "{base}/metadata",
        "{base}/$dead-letters/", "{base}/.well-known/smart-configuration", "{base}/x/y/z",
    )),
    "/endpoint", "/upload/", "/query", "/v2/auth/token", "/explorer", "/explorer/static/a.js", "/nowhere",
]  # fmt: skip


async def test_a_path_is_found_as_by_its_expression_alone() -> None:
    app = web.Application()
    install(app, routes(), role="all")
    found = 0
    for path in LOOKED_FOR:
        for method in ("GET", "POST", "PUT", "PATCH"):
            request = make_mocked_request(method, path)
            for resource in app.router.resources():
                assert isinstance(resource, web.DynamicResource)
                plain, methods = await web.DynamicResource.resolve(resource, request)
                match, allowed = await resource.resolve(request)
                of_all = "/(?P<type>[A-Z]" in resource.get_info()["pattern"].pattern
                if methods and of_all and "/Production/Subscription/" in f"{path}/":
                    plain, methods = None, {"OPTIONS"}  # Of a type with paths of its own.
                assert (match, allowed) == (plain, methods), f"{method} {path} at {resource.canonical}"
                found += match is not None
    assert found > len(LOOKED_FOR)
