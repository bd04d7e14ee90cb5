"""`__explain`: how it is asked for, and what is said."""

from __future__ import annotations

import pytest

from api.search.explanation import facts, issue_of, wish
from store.errors import Category
from store.search.planning.plan import Explanation
from tests.support.reports import refusal, said

PATIENT = ("patient", "p1")


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([PATIENT], False),
        ([PATIENT, ("__explain", "true")], True),
        ([("__explain", "true"), PATIENT], True),
        ([PATIENT, ("__explain", "false")], False),
        ([("__explain", "false"), PATIENT, ("__explain", "true")], True),
    ],
)
def test_the_wish_is_taken_out(pairs: list[tuple[str, str]], wanted: bool) -> None:
    assert wish(pairs) == (wanted, [PATIENT])


@pytest.mark.parametrize("value", ["", "1", "TRUE", "MADE-UP-7"])
def test_any_other_value_is_refused_and_not_repeated(value: str) -> None:
    error = refusal(lambda: wish([("__explain", value)]))
    assert error.category is Category.INCORRECT
    assert said(error) == "`__explain`: must be `true` or `false` __explain"


def test_all_six_facts_are_said() -> None:
    explanation = Explanation("DiagnosticReport by patient=?", "keyed", 3, 4, 2, ("FETCH", "IXSCAN"))
    assert dict(facts(explanation)) == {
        "shape": "DiagnosticReport by patient=?",
        "index": "keyed",
        "documents examined": "3",
        "keys examined": "4",
        "returned": "2",
        "stages": "FETCH < IXSCAN",
    }
    issue = issue_of(explanation)
    assert (issue.severity, issue.code) == ("information", "informational")
    assert issue.text == (
        "shape: DiagnosticReport by patient=?; index: keyed; documents examined: 3; keys examined: 4;"
        " returned: 2; stages: FETCH < IXSCAN"
    )
