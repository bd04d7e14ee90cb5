"""The answer to a path that nobody serves: which part is wrong, and nothing of the path but known names."""

from __future__ import annotations

import pytest

from api.http.misdirected import not_here, nothing_here

BASE = "/fhir/R4/acme/Development"
OPERATIONS = ("$process-message", "$write")
SECRET = "Sentinel_7391"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/", "The base is"),
        (f"/{SECRET}", "The base is"),
        ("/Patient/1", "The base is"),
        ("/fhir/R5/acme/Development/Patient/1", "in this spelling"),
        ("/fhir/r4/acme/Development/Patient/1", "in this spelling"),
        ("/fhir/R4/acme", "The base is"),
        ("/fhir/R4/acme/Dev/Patient/1", "did you mean `Development`?"),
        ("/fhir/R4/ac me/Development/Patient/1", "ORG is 1 to 63"),
        (f"{BASE}//Patient/1", "is a variable unset?"),
        (f"{BASE}/patient/1", "did you mean `Patient`?"),
        (f"{BASE}/meta", "did you mean `metadata`?"),
        (f"{BASE}/{SECRET}", "no such resource type"),
        (f"{BASE}/Patient/{SECRET}", "R4 knows no `_`"),
        (f"{BASE}/Patient/_serach", "did you mean `_search`?"),
        (f"{BASE}/Patient/1/history", "did you mean `_history`?"),
        (f"{BASE}/Patient/1/_history/x", "A version is a whole number"),
        (f"{BASE}/Patient/1/{SECRET}", "Behind an id comes `_history`"),
        (f"{BASE}/Encounter/7391/DiagnosticReport", "A Patient alone has what is about it below"),
        (f"{BASE}/Encounter/7391/$write", "`$write` is offered, but of something else"),
        (f"{BASE}/$proces-message", "did you mean `$process-message`?"),
        (f"{BASE}/Patient/1/$everything", "offered are `$process-message`, `$write`"),
    ],
)
def test_the_wrong_part_is_named(path: str, said: str) -> None:
    text = nothing_here(path, OPERATIONS)
    assert said in text
    assert "7391" not in text


def test_a_method_that_is_not_served_names_those_that_are() -> None:
    assert not_here("GET,PUT") == (
        "This method is not served at this path; `Allow` lists those that are: GET,PUT."
    )
