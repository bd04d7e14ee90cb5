"""Rules for a resource: every issue, with its FHIRPath, and no value."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.pipeline.validation.statuses import REPORT_STATUSES
from ingest.pipeline.validation.validate import validate
from store.fhir.issues import Issue
from tests.support.reports import report

DR = "DiagnosticReport"


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in report().items() if key != name}


@pytest.mark.parametrize(
    "resource",
    [
        *(pytest.param(report(status=status), id=status) for status in sorted(REPORT_STATUSES)),
        pytest.param(report(id="a" * 64), id="longest id"),
        pytest.param(report(meta={}), id="meta"),
        pytest.param(report(effectiveDateTime="2020"), id="one effective"),
        pytest.param({"resourceType": "Patient"}, id="a bare patient"),
        pytest.param({"resourceType": "Observation"}, id="a companion without status is kept"),
        pytest.param({"resourceType": "Provenance"}, id="a Provenance without agent is kept"),
    ],
)
def test_may_be_kept(resource: dict[str, Any]) -> None:
    assert validate(resource) == ()


_STATUS = (
    "`DiagnosticReport.status` must be a code of diagnostic-report-status: amended, appended, cancelled,"
    " corrected, entered-in-error, final, partial, preliminary, registered, unknown"
)
_NEAR = f"{_STATUS} (did you mean `final`?)"
_ID = "`DiagnosticReport.id` must be 1 to 64 letters, digits, `-` or `.` (no `_`), not dots alone"


@pytest.mark.parametrize(
    ("resource", "code", "text", "path"),
    [
        pytest.param({}, "required", "`resourceType` is missing", "resourceType", id="no type"),
        pytest.param(
            {"resourceType": 7}, "required", "`resourceType` is missing", "resourceType", id="number"
        ),
        pytest.param(
            {"resourceType": "Doe"},
            "not-supported",
            "`resourceType` is not a type that is kept here",
            "resourceType",
            id="unknown type",
        ),
        pytest.param(
            {"resourceType": "Parameters"},
            "not-supported",
            "`resourceType` is not a type that is kept here",
            "resourceType",
            id="what operations are asked with",
        ),
        pytest.param(
            without("status"), "required", "`DiagnosticReport.status` is missing", f"{DR}.status", id="status"
        ),
        pytest.param(
            without("code"), "required", "`DiagnosticReport.code` is missing", f"{DR}.code", id="code"
        ),
        pytest.param(report(status="Doe"), "code-invalid", _STATUS, f"{DR}.status", id="unknown status"),
        pytest.param(report(status="FINAL"), "code-invalid", _NEAR, f"{DR}.status", id="codes have case"),
        pytest.param(
            report(status=["final"]), "code-invalid", _STATUS, f"{DR}.status", id="list of statuses"
        ),
        pytest.param(
            report(status={"Doe": 1}), "code-invalid", _STATUS, f"{DR}.status", id="object for a status"
        ),
        pytest.param(report(id="a" * 65), "value", _ID, f"{DR}.id", id="id too long"),
        pytest.param(report(id="John_Doe"), "value", _ID, f"{DR}.id", id="underscore in an id"),
        pytest.param(report(id=7), "value", _ID, f"{DR}.id", id="number for an id"),
        pytest.param(report(id=".."), "value", _ID, f"{DR}.id", id="dots alone"),
        pytest.param(report(id=""), "value", _ID, f"{DR}.id", id="empty id"),
        pytest.param(
            report(meta="Doe"),
            "structure",
            "`DiagnosticReport.meta` must be an object",
            f"{DR}.meta",
            id="meta",
        ),
        pytest.param(
            report(effectiveDateTime="2020", effectivePeriod={"start": "2020"}),
            "structure",
            "`DiagnosticReport.effective[x]` may be given once",
            f"{DR}.effective",
            id="two effectives",
        ),
    ],
)
def test_issue(resource: dict[str, Any], code: str, text: str, path: str) -> None:
    assert validate(resource) == (Issue(code, text, (path,)),)


def test_all_issues_are_collected() -> None:
    found = validate({"resourceType": DR, "id": "_", "meta": 1, "status": "Doe"})
    assert [issue.expression for issue in found] == [
        (f"{DR}.id",),
        (f"{DR}.meta",),
        (f"{DR}.code",),
        (f"{DR}.status",),
    ]
    assert not any("Doe" in issue.text for issue in found)
