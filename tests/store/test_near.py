"""The near name that an error shows."""

from __future__ import annotations

import pytest

from store.near import near

NAMES = ("DiagnosticReport", "Patient", "Observation", "Organization", "_subject")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("DiagnosticRepot", " (did you mean `DiagnosticReport`?)"),
        ("patient", " (did you mean `Patient`?)"),
        ("Patients", " (did you mean `Patient`?)"),
        ("Organisation", " (did you mean `Organization`?)"),
        ("obs", " (did you mean `Observation`?)"),
        ("o", ""),
        ("subject", " (did you mean `_subject`?)"),
        ("Smith", ""),
        ("", ""),
        ("Patient" * 20, ""),
    ],
)
def test_the_nearest_known_name_is_shown_and_nothing_else(word: str, said: str) -> None:
    assert near(word, NAMES) == said
