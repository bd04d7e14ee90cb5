"""Admission of callers, and the refusals of the others, in that order."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest

from api.auth.tokens import digest, new_token
from tests.support.access import MemoryAccess
from tests.support.edge import LAB, LAB_BASE, NOW, NOWHERE, OTHER, bearer, memory_access, serving

REPORTS = f"{LAB_BASE}/DiagnosticReport"
ODD = urlsafe_b64encode(b'{"alg":"HS256","crit":5}').rstrip(b"=").decode()
"""Header of a JWT in which a number stands where a list is expected."""


async def ask(
    access: MemoryAccess, path: str, headers: dict[str, str], method: str = "GET"
) -> tuple[int, str, str | None]:
    """Status, issue code and challenge."""
    async with serving(access) as client:
        response = await client.request(method, path, headers=headers)
        assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
        body = await response.json()
        code = body["issue"][0]["code"] if "issue" in body else "none"
        return response.status, code, response.headers.get("WWW-Authenticate")


async def test_a_good_token_comes_in() -> None:
    access = memory_access()
    assert await ask(access, REPORTS, bearer(access)) == (200, "none", None)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"Authorization": "Basic dTpw"}, id="basic"),
        pytest.param({"Authorization": "Bearer"}, id="empty"),
        pytest.param({"Authorization": "Bearer letmein"}, id="not-ours"),
        pytest.param({"Authorization": f"Bearer {new_token()}"}, id="unknown"),
        pytest.param({"Authorization": f"Bearer {ODD}.e30.AA"}, id="odd-header"),
    ],
)
async def test_without_a_known_token_401(headers: dict[str, str]) -> None:
    status, code, challenge = await ask(memory_access(), REPORTS, headers)
    assert (status, code) == (401, "login")
    assert challenge == 'Bearer realm="dod", error="invalid_token"'


@pytest.mark.parametrize(("days", "status", "code"), [(2, 200, "none"), (1, 401, "expired")])
async def test_an_expired_token_is_401(days: int, status: int, code: str) -> None:
    access = memory_access()
    assert (await ask(access, REPORTS, bearer(access, now=NOW, days=days)))[:2] == (status, code)


async def test_a_revoked_token_is_401_when_the_memory_has_faded() -> None:
    access = memory_access()
    headers = bearer(access)
    assert (await ask(access, REPORTS, headers))[0] == 200
    await access.revoke(digest(headers["Authorization"].removeprefix("Bearer ")))
    assert (await ask(access, REPORTS, headers))[:2] == (401, "login")


@pytest.mark.parametrize("tenant", [OTHER, NOWHERE], ids=str)
async def test_a_token_for_another_tenant_is_403_whether_or_not_that_exists(tenant: object) -> None:
    access = memory_access()
    path = f"/fhir/R4/{tenant}/DiagnosticReport"
    assert (await ask(access, path, bearer(access)))[:2] == (403, "forbidden")


async def test_a_token_that_names_a_tenant_learns_that_it_was_never_created() -> None:
    access = memory_access()
    path = f"/fhir/R4/{NOWHERE}/DiagnosticReport"
    assert (await ask(access, path, bearer(access, tenants=[LAB, NOWHERE])))[:2] == (404, "not-found")


@pytest.mark.parametrize("base", ["lab/production", "lab/Test", "-lab/Production", "l%20b/Production"])
async def test_a_bad_base_is_404_before_any_token_is_looked_at(base: str) -> None:
    assert (await ask(memory_access(), f"/fhir/R4/{base}/DiagnosticReport", {}))[:2] == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "letter"),
    [
        ("GET", "/DiagnosticReport", "s"),
        ("POST", "/DiagnosticReport/_search", "s"),
        ("GET", "/DiagnosticReport/1", "r"),
        ("POST", "/DiagnosticReport", "c"),
        ("PUT", "/DiagnosticReport/1", "u"),
        ("DELETE", "/DiagnosticReport/1", "d"),
    ],
)
async def test_each_interaction_needs_its_letter(method: str, path: str, letter: str) -> None:
    access = memory_access()
    others = "".join(other for other in "cruds" if other != letter)
    enough = bearer(access, scopes=[f"system/DiagnosticReport.{letter}"])
    other_letters = bearer(access, scopes=[f"system/*.{others}"])
    other_type = bearer(access, scopes=["system/Patient.cruds"])
    assert (await ask(access, LAB_BASE + path, enough, method))[0] == 200
    assert (await ask(access, LAB_BASE + path, other_letters, method))[:2] == (403, "forbidden")
    assert (await ask(access, LAB_BASE + path, other_type, method))[:2] == (403, "forbidden")


@pytest.mark.parametrize(("scope", "said"), [("system/*.c", "true"), ("system/*.r", "false")])
async def test_a_route_without_type_leaves_scopes_to_its_handler(scope: str, said: str) -> None:
    access = memory_access()
    async with serving(access) as client:
        headers = {**bearer(access, scopes=[scope]), "Content-Type": "application/fhir+json"}
        response = await client.post(LAB_BASE, data=b"{}", headers=headers)
        assert (response.status, await response.text()) == (200, said)


async def test_an_open_route_needs_no_token() -> None:
    assert (await ask(memory_access(), f"{LAB_BASE}/metadata", {}))[0] == 200


async def test_the_store_is_asked_once_for_many_requests() -> None:
    access = memory_access()
    headers = bearer(access)
    async with serving(access) as client:
        for _ in range(5):
            assert (await client.get(REPORTS, headers=headers)).status == 200
    assert access.questions == 2
