"""Requests that are sent twice, and what is told of them."""

from __future__ import annotations

from typing import Any

from tests.support.fhir import MRN, Json, identified, patient, refers, report
from tests.support.service import Answer, Service

URN = "urn:uuid:5e4f0d3a-0000-4000-8000-000000000001"


def dies(*_: Any, **__: Any) -> None:
    raise RuntimeError


def same(one: Answer, other: Answer) -> bool:
    """Status, body, and the headers that tell what is stored."""
    told = ("Location", "ETag", "Last-Modified", "Dod-Tolerances", "Content-Type")
    return (one.status, one.text, [one.headers.get(n) for n in told]) == (
        other.status,
        other.text,
        [other.headers.get(n) for n in told],
    )


def bundle(**more: Any) -> Json:
    return {
        "resourceType": "Bundle",
        "type": "transaction",
        **more,
        "entry": [
            {
                "fullUrl": URN,
                "resource": patient("x", identified(MRN, "7")),
                "request": {"method": "POST", "url": "Patient"},
            },
            {
                "resource": report(subject=refers(URN)),
                "request": {"method": "POST", "url": "DiagnosticReport"},
            },
        ],
    }


async def total(service: Service, code: str = "58410-2") -> int:
    anyone = await service.search(f"patient=p1&code={code}")
    count: int = anyone.body["total"]
    return count
