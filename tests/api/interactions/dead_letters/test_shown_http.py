"""Dead letters shown: pages, filters, payloads on demand, to the scope that may."""

from __future__ import annotations

import json

import pytest

from tests.api.interactions.dead_letters.letters import (
    ADMIN,
    SENTINEL,
    admin_of,
    kept,
    letters,
    wrong_message,
)
from tests.support.fhir import report
from tests.support.service import FHIR, Service

# --- showing


async def test_the_payload_shows_only_when_asked_for_and_the_letter_notes_it(service: Service) -> None:
    letter = await kept(service)
    admin = await admin_of(service)
    shown = await admin.get(f"$dead-letters/{letter}")
    assert SENTINEL not in shown.text
    assert shown.body["issues"][0]["expression"]
    assert (shown.body["contentType"], shown.body["events"]) == (FHIR, [])
    payload = (await admin.get(f"$dead-letters/{letter}?body=true")).body
    assert json.loads(payload["body"]) == wrong_message()
    assert (payload["method"], payload["path"]) == ("POST", "$process-message")
    assert "Authorization" not in payload["headers"]
    [event] = (await admin.get(f"$dead-letters/{letter}")).body["events"]
    assert event["did"] == "body shown"


async def test_pages_and_filters(service: Service) -> None:
    expected = []
    for number in range(5):
        expected.append(await kept(service, body=wrong_message(id=f"m{number}")))
        service.clock.move(seconds=number % 2)
    structure = await service.request("POST", "DiagnosticReport", data="{")
    admin = await admin_of(service)
    found: list[str] = []
    query: str | None = "count=2"
    while query is not None:
        page = (await admin.get(f"$dead-letters?{query}")).body
        assert len(page["letters"]) <= 2
        found += [letter["id"] for letter in page["letters"]]
        query = page.get("next")
    assert sorted(found) == sorted([*expected, structure.headers["Dead-Letter"]])
    times = [one["time"] for one in (await letters(service))]
    assert times == sorted(times, reverse=True)
    assert [one["id"] for one in await letters(service, "reason=structure")] == [
        structure.headers["Dead-Letter"]
    ]


@pytest.mark.parametrize(
    "query", ["state=lost", "count=0", "count=x", "count=²", "after=x", "after=9~", "after=1e9~x"]
)
async def test_a_wrong_query_is_400(shared: Service, query: str) -> None:
    answer = await (await admin_of(shared)).get(f"$dead-letters?{query}")
    assert answer.status == (200 if query == "after=9~" else 400), answer.text


@pytest.mark.parametrize("scopes", [["system/*.cruds"], ["system/*.rs"]])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/ID"),
        ("GET", "/ID?body=true"),
        ("PUT", "/ID"),
        ("DELETE", "/ID"),
        ("POST", "/ID/$replay"),
    ],
)
async def test_only_the_admin_scope_deals_with_letters(
    shared: Service, scopes: list[str], method: str, path: str
) -> None:
    where = "$dead-letters" + path.replace("ID", await kept(shared))
    other = await shared.with_token(scopes=scopes)
    answer = await other.request(method, where, report() if method == "PUT" else None)
    assert (answer.status, answer.issues) == (403, [("error", "forbidden")])
    assert [one["state"] for one in await letters(shared)] == ["open"]


async def test_another_tenant_sees_nothing(service: Service) -> None:
    letter = await kept(service)
    other = await (await service.new_tenant()).with_token(scopes=ADMIN)
    assert (await other.get("$dead-letters?state=all")).body == {"letters": []}
    for method, path in [("GET", ""), ("GET", "?body=true"), ("DELETE", ""), ("POST", "/$replay")]:
        assert (await other.request(method, f"$dead-letters/{letter}{path}")).status == 404
    assert (await other.request("PUT", f"$dead-letters/{letter}", report())).status == 404
