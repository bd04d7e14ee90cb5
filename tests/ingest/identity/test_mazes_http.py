"""Entries that refer to one another in many ways: named in time by what they say, or refused in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.tenancy import SearchScope

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
PATIENT = "Patient/p"
AGENT = {"who": {"display": "made up"}}


def provenance(name: str, *targets: str) -> Json:
    told = [{"reference": one} for one in targets or (PATIENT,)]
    return {
        "resourceType": "Provenance",
        "id": name,
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [AGENT],
        "activity": {"text": name},
        "target": told,
    }


def circle(n: int) -> list[Json]:
    """Records each of which refers to all others."""
    return [
        provenance(f"l{i}", *(f"Provenance/l{other}" for other in range(n) if other != i)) for i in range(n)
    ]


def layers(n: int) -> list[Json]:
    """Layers of two, each of which refers to both of the next."""
    return [
        provenance(f"l{i}{side}", *(f"Provenance/l{i + 1}{other}" for other in "ab" if i < n - 1))
        for i in range(n)
        for side in "ab"
    ]


def message(records: list[Json]) -> Json:
    header: Json = {
        "resourceType": "MessageHeader",
        "id": "h",
        "eventCoding": {"system": "urn:made-up", "code": "result"},
        "source": {"endpoint": "urn:made-up:lab"},
        "focus": [{"reference": "DiagnosticReport/r"}],
    }
    subject = {"reference": PATIENT}
    report: Json = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"text": "x"},
        "subject": subject,
    }
    person: Json = {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": "urn:made-up", "value": "7001"}],
    }
    entries = [
        {"fullUrl": f"http://lab.example/{one['resourceType']}/{one['id']}", "resource": one}
        for one in (header, report, person, *records)
    ]
    return {"resourceType": "Bundle", "type": "message", "entry": entries}


@pytest.mark.parametrize(
    ("records", "status"),
    [(circle(5), 200), (circle(12), 413), (layers(60), 200), (layers(400), 413)],
    ids=["a small circle", "a large circle", "many ways", "a long way"],
)
async def test_a_maze_of_references(service: Service, records: list[Json], status: int) -> None:
    answer = await service.request("POST", "$process-message", message(records))
    assert answer.status == status, answer.text
    if status != 200:
        assert "circles" in answer.texts


async def test_the_order_of_entries_says_nothing(service: Service) -> None:
    tenant = await service.new_tenant(search_scope=SearchScope.ANY)
    for records in (layers(5), layers(5)[::-1]):
        assert (await tenant.request("POST", "$process-message", message(records))).status == 200
    found = await tenant.search("_count=50", type="Provenance")
    assert len(found.ids) == 10
