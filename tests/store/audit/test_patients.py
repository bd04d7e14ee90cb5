"""Patients of an access: by what is asked, by what is found, by what is stored."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.audit.patients import _identifier_of_subject, answered_with, asked_for, of_keys, tells_all
from tests.support.fhir import MRN, identified, refers, report
from tests.support.store import BASE, asked, prepared


@pytest.mark.parametrize(
    ("type", "text", "patients"),
    [
        ("DiagnosticReport", "patient=p1", ["Patient/p1"]),
        ("DiagnosticReport", "patient=Patient/p1,p2&code=x", ["Patient/p1", "Patient/p2"]),
        ("DiagnosticReport", f"subject={BASE}/Patient/p1", ["Patient/p1"]),
        ("DiagnosticReport", "subject=Group/g", []),
        ("DiagnosticReport", f"patient.identifier={MRN}|A", [f"{MRN}|A"]),
        ("DiagnosticReport", f"subject:identifier={MRN}|A", [f"{MRN}|A"]),
        ("DiagnosticReport", "patient.identifier=A", []),
        ("DiagnosticReport", "patient.family=Anna", []),
        ("DiagnosticReport", f"identifier={MRN}|A", []),
        ("DiagnosticReport", "code=x", []),
        ("Patient", f"identifier={MRN}|A", [f"{MRN}|A"]),
        ("Patient", "_id=p1", ["Patient/p1"]),
        ("Patient", f"identifier:not={MRN}|A", []),
        ("Patient", "family=Anna", []),
    ],
)
def test_patients_that_a_search_names(type: str, text: str, patients: list[str]) -> None:
    assert sorted(asked_for(asked(text, type=type))) == sorted(patients)


@pytest.mark.parametrize(
    ("type", "text", "all_named"),
    [
        ("DiagnosticReport", "patient=p1", True),
        ("DiagnosticReport", "patient=Patient/p1,p2&code=x", True),
        ("DiagnosticReport", "subject=Patient/p1,Group/g", False),
        ("DiagnosticReport", "subject=p1", False),  # May be a group's, as well.
        ("DiagnosticReport", "subject=Patient/p1,urn:uuid:1", False),
        ("DiagnosticReport", "subject=Group/g&patient=p1", True),
        ("DiagnosticReport", f"patient.identifier={MRN}|A", True),
        ("DiagnosticReport", f"patient.identifier={MRN}|A,{MRN}|B", True),
        ("DiagnosticReport", f"patient.identifier={MRN}|A,B", False),
        ("DiagnosticReport", f"patient.identifier={MRN}|A,|B", False),
        ("DiagnosticReport", f"subject:identifier={MRN}|A,B", False),
        ("DiagnosticReport", f"subject:identifier={MRN}|A", True),
        ("DiagnosticReport", "patient=p1&_include=DiagnosticReport:result", False),
        ("DiagnosticReport", "patient.family=Anna", False),
        ("DiagnosticReport", "code=x", False),
        ("Patient", "family=Anna", False),
    ],
)
def test_searches_that_can_find_nothing_of_others(type: str, text: str, all_named: bool) -> None:
    assert tells_all(asked(text, type=type)) is all_named


def test_patients_that_an_answer_is_about() -> None:
    def of(resource: dict[str, object]) -> tuple[str, ...]:
        raw = orjson.dumps(resource)
        return answered_with(str(resource["resourceType"]), str(resource["id"]), raw)

    assert of({"resourceType": "Patient", "id": "p1"}) == ("Patient/p1",)
    assert of(report("r")) == ("Patient/p1",)
    assert of(report("r", None, subject=refers("https://x.example/fhir/Patient/9/_history/2"))) == (
        "Patient/9",
    )
    assert of(report("r", None, subject={"identifier": identified(MRN, "A")})) == (f"{MRN}|A",)
    assert of(report("r", None, subject={"display": "somebody"})) == ()
    assert of(report("r", None)) == ()
    assert set(of(report("r", performer=[refers("Patient/p2")]))) == {"Patient/p1", "Patient/p2"}


def test_patients_of_what_is_stored() -> None:
    def of(resource: dict[str, object]) -> tuple[str, ...]:
        made = prepared(resource)
        return of_keys(made.key.type, made.key.id, made.indexed.keys)

    assert of(report("r")) == ("Patient/p1",)
    assert of(report("r", None, subject={"identifier": identified(MRN, "A")})) == (f"{MRN}|A",)
    assert of(report("r", None)) == ()
    assert of({"resourceType": "Patient", "id": "p", "identifier": [identified(MRN, "A")]}) == ("Patient/p",)


DEFINITION = re.compile(
    rb'"(?:subject|patient)"\s*:\s*\{[^\[]{0,600}?"identifier"'
    rb"\s*:\s*\{([^{}]{0,600})"
)
PIECES = st.sampled_from(
    [
        *(
            b'"subject":{',
            b'"patient" : {',
            b'"identifier":{',
            b'"identifier":1',
            b'"identifier"',
            b"[",
            b"{",
        ),
        *(b"}", b'"system":"s","value":"v"', b" " * 300, b"x" * 599, b"y", b'"subject"'),
    ]
)


@given(st.lists(PIECES, max_size=14).map(b"".join))
def test_the_identifier_of_a_subject_is_found_by_its_definition(raw: bytes) -> None:
    found = DEFINITION.search(raw)
    assert _identifier_of_subject(raw) == (None if found is None else found[1])
