"""The patient of upstream's product page, and how a search is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.service import FHIR_UTF8

if TYPE_CHECKING:
    from tests.support.service import Answer

SENTINEL = "sentinel-7391"
"""Stands for a patient's value; must never come back in an error."""


def is_refused(answer: Answer, code: str, *said: str, status: int = 400) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    assert ("error", code) in answer.issues, answer.text
    for text in said:
        assert text in answer.text
    assert SENTINEL not in answer.text
    assert SENTINEL not in str(answer.headers)


# --- upstream's product page


PAGE_PATIENT = "81c2f5eb-f99f-40c4-b504-59483e6148d7"


PAGE_MRN = "urn:redox:redox-fhir-sandbox:MR"
