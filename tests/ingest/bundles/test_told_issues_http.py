"""Bundles of nothing but faults: the answer tells some of each entry, and never grows with their number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.errors import ISSUES_MAX, MORE, Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from tests.support.service import Service

ENTRIES, FAULTS = 30, 90


def url(number: int) -> str:
    return f"urn:uuid:{number:08d}-0000-4000-8000-000000000000"


def faulty(kind: str = "DiagnosticReport", **more: Any) -> dict[str, Any]:
    wrong = [{"url": "http://example.org/x", "valueInteger": "x"}] * FAULTS
    return {"resourceType": kind, "status": "final", "code": {"text": "x"}, "extension": wrong, **more}


def entries(kind: str = "DiagnosticReport", **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "fullUrl": url(n),
            "resource": {**faulty(kind, **more), "id": f"x{n}"},
            "request": {"method": "PUT", "url": f"{kind}/x{n}"},
        }
        for n in range(ENTRIES)
    ]


def header() -> dict[str, Any]:
    focus = {"focus": [{"reference": url(n)} for n in range(ENTRIES)]}
    coding = {"eventCoding": {"system": "urn:x", "code": "x"}, "source": {"endpoint": "urn:x"}}
    return {"resource": {"resourceType": "MessageHeader", **coding, **focus}}


def told(entry: dict[str, Any]) -> list[dict[str, Any]]:
    issues: list[dict[str, Any]] = entry["response"]["outcome"]["issue"]
    return issues


@pytest.mark.parametrize("kind", ["transaction", "message"])
async def test_what_is_refused_as_a_whole_tells_a_thousand_issues(service: Service, kind: str) -> None:
    sent = entries()
    if kind == "message":
        sent = [header(), *({k: v for k, v in one.items() if k != "request"} for one in sent)]
    path = "$process-message" if kind == "message" else ""
    answer = await service.request("POST", path, {"resourceType": "Bundle", "type": kind, "entry": sent})
    assert answer.status == 422
    assert len(answer.issues) <= ISSUES_MAX + ENTRIES * 2
    assert any(MORE.text in issue["details"]["text"] for issue in answer.body["issue"])


async def test_references_to_no_entry_are_told_a_thousand_times_at_most(service: Service) -> None:
    lost = {"derivedFrom": [{"reference": url(9_999)}] * 100, "extension": [{"url": "urn:x"}]}
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries("Observation", **lost)}
    answer = await service.request("POST", "", sent)
    assert (answer.status, len(answer.issues)) == (400, ISSUES_MAX)


async def test_entries_of_a_batch_share_the_issues_and_each_tells_one(service: Service) -> None:
    sent = {"resourceType": "Bundle", "type": "batch", "entry": entries()}
    answer = await service.request("POST", "", sent)
    told_of = [[one["details"]["text"] for one in told(entry)] for entry in answer.body["entry"]]
    assert len(told_of) == ENTRIES
    assert min(map(len, told_of)) >= 2
    assert MORE.text in told_of[-1]
    assert MORE.text not in told_of[0]
    assert sum(map(len, told_of)) <= ISSUES_MAX + 3 * ENTRIES


def test_a_refusal_holds_a_thousand_issues() -> None:
    one = Issue("value", "x")
    assert ServiceError(Category.INCORRECT, *[one] * (ISSUES_MAX + 1)).issues == (one,) * (ISSUES_MAX + 1)
    assert ServiceError(Category.INCORRECT, *[one] * 9_999).issues == (*[one] * ISSUES_MAX, MORE)
