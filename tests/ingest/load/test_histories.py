"""History Bundles taken apart: whose version an entry is, and in which order they were made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.load.histories import Unread, Version, read_history
from ingest.pipeline.bundle_entries import entries_of
from store.resources.resource_keys import ResourceKey
from tests.support.fhir import Json, patient, report

NOW = datetime(2026, 11, 22, tzinfo=UTC)
R1 = ResourceKey("DiagnosticReport", "r1")


def version(day: int, *, modified: bool = False, **elements: Any) -> Json:
    """An entry of a history: the version of a day of May."""
    moment = f"2026-05-{day:02}T10:00:00Z"
    meta = {} if modified else {"meta": {"lastUpdated": moment, "versionId": str(day)}}
    return {
        "fullUrl": "https://src.example/fhir/DiagnosticReport/r1",
        "resource": {**report(conclusion=str(day), **elements), **meta},
        "request": {"method": "PUT", "url": "DiagnosticReport/r1"},
        **({"response": {"status": "200", "lastModified": moment}} if modified else {}),
    }


def deletion(url: str | None = "DiagnosticReport/r1", day: int | None = None, **more: Any) -> Json:
    response = {} if day is None else {"response": {"lastModified": f"2026-05-{day:02}T10:00:00Z"}}
    return {"request": {"method": "DELETE", **({} if url is None else {"url": url})}, **response, **more}


def read(*entries: Json) -> tuple[dict[ResourceKey, list[Version]], list[Unread]]:
    return read_history(entries_of({"entry": list(entries)}, entries_max=99), latest=NOW)


def numbers(*entries: Json) -> list[int]:
    versions, unread = read(*entries)
    assert not unread
    [several] = versions.values()
    return [one.number for one in several]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([version(3), version(2), version(1)], [2, 1, 0], id="newest first, as R4 has it"),
        pytest.param([version(1), version(3), version(2)], [0, 2, 1], id="by their own times"),
        pytest.param(
            [version(3, modified=True), version(1), version(2, modified=True)],
            [1, 2, 0],
            id="by when it was answered",
        ),
        pytest.param([deletion(day=3), version(2), version(1)], [2, 1, 0], id="a deletion has a time"),
        pytest.param([version(3), deletion(day=2), version(1)], [2, 1, 0], id="and was taken back"),
        pytest.param([deletion(), version(2), version(1)], [2, 1, 0], id="one without goes by its place"),
        pytest.param(
            [{"resource": report()}, {"resource": report(status="amended")}], [1, 0], id="without any time"
        ),
    ],
)
def test_the_oldest_first(entries: list[Json], expected: list[int]) -> None:
    assert numbers(*entries) == expected


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        (version(1), R1),
        ({**version(1), "fullUrl": "urn:uuid:x"}, R1),
        ({"resource": patient("p")}, ResourceKey("Patient", "p")),
        (
            {"fullUrl": "https://src.example/fhir/Patient/p7", "resource": {"resourceType": "Patient"}},
            ResourceKey("Patient", "p7"),
        ),
        (deletion(), R1),
        (deletion("/DiagnosticReport/r1"), R1),
        (deletion("https://src.example/fhir/DiagnosticReport/r1"), R1),
        (deletion("DiagnosticReport/r1/_history/3"), R1),
        (deletion(None, fullUrl="https://src.example/fhir/DiagnosticReport/r1"), R1),
        (deletion("DiagnosticReport?identifier=1", fullUrl="https://src.example/DiagnosticReport/r1"), R1),
    ],
)
def test_whose_it_is(entry: Json, key: ResourceKey) -> None:
    versions, unread = read(entry)
    assert (list(versions), unread) == ([key], [])
    [[one]] = versions.values()
    assert (one.resource is None) is ("resource" not in entry)
    assert one.resource is None or one.resource["id"] == key.id


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"request": {"method": "PUT", "url": "Patient/doe"}},
        {"request": {"method": "GET", "url": "Patient/doe"}},
        deletion(None),
        deletion("Patient?name=doe"),
        deletion("urn:uuid:doe"),
        {"resource": {"resourceType": "Patient"}},
        {"resource": {"resourceType": "Patient"}, "fullUrl": "https://src.example/Group/doe"},
        {"resource": {"id": "doe"}},
    ],
)
def test_what_tells_of_no_version(entry: Json) -> None:
    versions, [(number, error)] = read(version(1), entry)
    assert (list(versions), number) == ([R1], 1)
    assert "doe" not in str(error)


def test_each_resource_on_its_own() -> None:
    versions, _ = read(version(2), {"resource": patient()}, version(1), deletion("Patient/p1"))
    assert {key.type: [one.number for one in several] for key, several in versions.items()} == {
        "Patient": [3, 1],
        "DiagnosticReport": [2, 0],
    }
