"""Targets of references."""

from __future__ import annotations

import pytest

from store.fhir.references import ID, Target, parse

BASE = "http://dod.test/fhir/R4/lab/Production"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        pytest.param("Patient/p1", Target("Patient/p1", "Patient"), id="relative"),
        pytest.param("Patient/p1/_history/3", Target("Patient/p1", "Patient", "3"), id="versioned"),
        pytest.param(f"{BASE}/Patient/p1", Target("Patient/p1", "Patient"), id="ours"),
        pytest.param(
            f"{BASE}/Patient/p1/_history/3", Target("Patient/p1", "Patient", "3"), id="ours versioned"
        ),
        pytest.param(
            "http://dod.test/fhir/R4/other/Production/Patient/p1",
            Target("http://dod.test/fhir/R4/other/Production/Patient/p1", "Patient"),
            id="another tenant is elsewhere",
        ),
        pytest.param(
            "https://ehr.test/Patient/p1/_history/3",
            Target("https://ehr.test/Patient/p1", "Patient", "3"),
            id="elsewhere versioned",
        ),
        pytest.param("urn:uuid:0b1c", Target("urn:uuid:0b1c", None), id="urn"),
        pytest.param("patient/p1", Target("patient/p1", None), id="types are case-sensitive"),
        pytest.param("Patient/a_b", Target("Patient/a_b", None), id="no id"),
        pytest.param("/Patient/p1", Target("/Patient/p1", None), id="rooted"),
        pytest.param("Patient/p1\n", Target("Patient/p1\n", None), id="newline"),
        pytest.param("p1", Target("p1", None), id="bare id"),
        pytest.param("", Target("", None), id="empty"),
    ],
)
def test_parse(text: str, target: Target) -> None:
    assert parse(text, base=BASE) == target


def test_without_a_base_an_absolute_reference_is_elsewhere() -> None:
    assert parse(f"{BASE}/Patient/p1") == Target(f"{BASE}/Patient/p1", "Patient")


@pytest.mark.parametrize(
    ("text", "is_id"),
    [
        ("a", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("A-1.b", True),
        ("", False),
        ("a_b", False),
        ("ä", False),
    ],
)
def test_id_rule(text: str, is_id: bool) -> None:
    assert bool(ID.fullmatch(text)) is is_id
