"""Order of types in which one keeps another alive; nothing keeps itself alive in a circle."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.pipeline.prepare import prepare
from store.fhir.resource_types import NOT_ABOUT_PATIENTS, RESOURCE_TYPES
from store.retention.needs import ORDER, needs_of, rank

BASE = "https://dod.example/fhir/R4/lab/Production"


def to(*targets: str) -> list[dict[str, str]]:
    return [{"reference": one} for one in targets]


def needed_by(resource: dict[str, Any]) -> list[str]:
    ready = prepare({"id": "x", **resource}, "x", base=BASE).prepared
    return needs_of(resource["resourceType"], ready.indexed.fields, ready.body.tail)


REPORT: dict[str, Any] = {"resourceType": "DiagnosticReport", "status": "final", "code": {"text": "c"}}
OBSERVATION: dict[str, Any] = {"resourceType": "Observation", "status": "final", "code": {"text": "c"}}


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param(REPORT, [], id="nothing"),
        pytest.param(
            {
                **REPORT,
                "subject": {"reference": "Patient/p"},
                "encounter": {"reference": "Encounter/e"},
                "result": to("Observation/a", f"{BASE}/Observation/b", "Observation/a"),
                "specimen": to("Specimen/s"),
                "basedOn": to("ServiceRequest/o"),
                "imagingStudy": to("ImagingStudy/i"),
                "media": [{"link": {"reference": "Media/m"}}],
            },
            [
                "Encounter/e",
                "ImagingStudy/i",
                "Media/m",
                "Observation/a",
                "Observation/b",
                "Patient/p",
                "ServiceRequest/o",
                "Specimen/s",
            ],
            id="all that comes with a report",
        ),
        pytest.param({**REPORT, "performer": to("Organization/o", "Practitioner/d")}, [], id="no directory"),
        pytest.param(
            {**REPORT, "result": to("https://elsewhere.example/Observation/a", "urn:uuid:1", "#x")},
            [],
            id="nothing of others",
        ),
        pytest.param(
            {**REPORT, "presentedForm": [{"url": "Binary/own"}, {"url": f"{BASE}/Binary/two"}]},
            ["Binary/own", "Binary/two"],
            id="a document of the client's own",
        ),
        pytest.param(
            {**REPORT, "presentedForm": [{"url": "Binary/file-" + "0" * 40}]},
            [],
            id="files are counted apart",
        ),
        pytest.param(
            {**OBSERVATION, "hasMember": to("Observation/a"), "derivedFrom": to("Media/m")},
            ["Media/m", "Observation/a"],
            id="observations of observations",
        ),
        pytest.param(
            {
                "resourceType": "Specimen",
                "request": to("ServiceRequest/o"),
                "subject": {"reference": "Patient/p"},
            },
            ["Patient/p"],
            id="nothing above it in the order",
        ),
        pytest.param(
            {
                "resourceType": "Provenance",
                "target": to("DiagnosticReport/r", "Patient/p"),
                "recorded": "2026-01-01T00:00:00Z",
                "agent": [{"who": {"display": "d"}}],
            },
            ["Patient/p"],
            id="what tells of a report does not keep it",
        ),
        pytest.param(
            {"resourceType": "Patient", "link": [{"other": {"reference": "Patient/q"}, "type": "seealso"}]},
            [],
            id="no patient another",
        ),
    ],
)
def test_what_a_resource_needs(resource: dict[str, Any], expected: list[str]) -> None:
    assert needed_by(resource) == expected


def test_a_report_is_needed_by_nothing_and_a_patient_needs_nothing() -> None:
    assert min(map(rank, RESOURCE_TYPES)) == rank("DiagnosticReport") == 0
    assert max(map(rank, RESOURCE_TYPES)) == rank("Patient") == len(ORDER) - 1


def test_each_name_is_a_type_and_stands_in_one_place() -> None:
    assert set(ORDER) - {"*"} <= RESOURCE_TYPES
    assert not NOT_ABOUT_PATIENTS & set(ORDER)
