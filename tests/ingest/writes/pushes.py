"""Questions that the tests of pushes ask of an answer."""

from __future__ import annotations

from tests.support.service import FHIR_UTF8, Answer

SENTINEL = "sentinel-7391"


PATH = "DiagnosticReport/r1"


def is_refused(answer: Answer, status: int, *codes: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, FHIR_UTF8), answer.text
    assert [code for _, code in answer.issues] == list(codes), answer.text
    assert SENTINEL not in answer.text


# --- batches


def statuses(answer: Answer) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    return [entry["response"]["status"].partition(" ")[0] for entry in answer.body["entry"]]


# --- messages


def locations(answer: Answer) -> list[str]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, FHIR_UTF8), answer.text
    assert (answer.body["resourceType"], answer.body["type"]) == ("Bundle", "transaction-response")
    return [entry["response"]["location"] for entry in answer.body["entry"]]
