"""Categories, statuses and the OperationOutcome itself."""

from __future__ import annotations

import orjson
import pytest

from ingest.http.outcome import DEFAULT_ISSUE, STATUS, issue_of_status, issues_of, render
from store.errors import Category
from store.fhir.issues import Issue


@pytest.mark.parametrize("category", Category)
def test_every_category_has_a_status_and_a_default_issue(category: Category) -> None:
    assert 400 <= STATUS[category] < 600
    assert issues_of(category, ()) == (DEFAULT_ISSUE[category],)


def test_its_own_issues_win_over_the_default_one() -> None:
    issue = Issue("required", "`subject` is needed.")
    assert issues_of(Category.INCORRECT, (issue,)) == (issue,)


def test_render_shows_severity_code_text_and_expression() -> None:
    issues = (
        Issue("required", "`code` is needed.", ("DiagnosticReport.code",)),
        Issue("informational", "`foo` was ignored.", severity="information"),
    )
    assert orjson.loads(render(issues)) == {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": "required",
                "details": {"text": "`code` is needed."},
                "diagnostics": "`code` is needed.",
                "expression": ["DiagnosticReport.code"],
            },
            {
                "severity": "information",
                "code": "informational",
                "details": {"text": "`foo` was ignored."},
                "diagnostics": "`foo` was ignored.",
            },
        ],
    }


def test_render_puts_the_message_code_on_the_first_issue() -> None:
    shown = orjson.loads(render((Issue("not-supported", "No."),), coding="MSG_NO_MODULE"))
    assert shown["issue"][0]["details"]["coding"] == [
        {
            "system": "http://terminology.hl7.org/CodeSystem/operation-outcome",
            "code": "MSG_NO_MODULE",
        }
    ]


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "not-found"), (405, "not-supported"), (413, "too-long"), (418, "processing"), (502, "exception")],
)
def test_an_http_refusal_has_an_issue_code(status: int, code: str) -> None:
    assert issue_of_status(status, "No.").code == code
