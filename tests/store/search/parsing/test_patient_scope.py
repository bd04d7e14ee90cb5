"""The patient scope rule: which queries name their patient, and which must."""

from __future__ import annotations

from dataclasses import replace

import pytest

from store.search.parsing.patient_scope import bounded
from tests.store.search.parsing.clauses import DR
from tests.support.reports import query_of, refusal, said

# --- the patient scope rule, `DECISIONS.md#patient-scope`


@pytest.mark.parametrize(
    ("type", "name", "text", "named"),
    [
        pytest.param(DR, "patient", "p", True, id="patient"),
        pytest.param(DR, "subject", "Patient/p", True, id="subject"),
        pytest.param(DR, "subject:Patient", "p", True, id="typed subject"),
        pytest.param(DR, "patient.identifier", "urn:m|1", True, id="patient.identifier"),
        pytest.param(DR, "subject.identifier", "urn:m|1", True, id="subject.identifier"),
        pytest.param(DR, "subject:Patient.identifier", "urn:m|1", True, id="subject:Patient.identifier"),
        pytest.param(DR, "patient:identifier", "urn:m|1", True, id="patient:identifier"),
        pytest.param(DR, "subject:identifier", "urn:m|1", True, id="subject:identifier"),
        pytest.param(DR, "subject", "p", True, id="a bare id"),
        pytest.param(DR, "subject", "Patient/p/_history/1", True, id="a version of a patient"),
        pytest.param(DR, "subject", "https://elsewhere.example/Patient/p", True, id="a foreign patient"),
        pytest.param(DR, "subject", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", False, id="a urn"),
        pytest.param(DR, "subject", "https://elsewhere.example/1", False, id="a URL that tells no type"),
        pytest.param(DR, "subject", "p,https://elsewhere.example/1", False, id="a patient, or a URL"),
        pytest.param(DR, "subject", "Patient/p,Group/g", False, id="a patient or a group"),
        pytest.param(DR, "subject", "Patient/p,q", True, id="one of several patients"),
        pytest.param(DR, "subject", "Location/ward", False, id="a ward"),
        pytest.param(DR, "subject", "Group/g,Device/d", False, id="a group or a device"),
        pytest.param(DR, "subject:Group", "g", False, id="a group by the modifier"),
        pytest.param(DR, "subject", "https://elsewhere.example/Location/1", False, id="a foreign ward"),
        pytest.param(DR, "subject:Location.identifier", "urn:l|1", False, id="a ward by its identifier"),
        pytest.param(DR, "patient.identifier", r"a\|", True, id="a value that ends with a bar"),
        pytest.param(DR, "_id", "r", True, id="_id"),
        pytest.param(DR, "_id:not", "r", False, id="any other id"),
        pytest.param(DR, "patient.gender", "male", False, id="half of all"),
        pytest.param(DR, "patient.identifier:not", "urn:m|1", False, id="all but one"),
        pytest.param(DR, "patient:missing", "false", False, id="any patient"),
        pytest.param(DR, "patient.identifier", "urn:m|", False, id="everyone with a number of that kind"),
        pytest.param(DR, "subject:identifier", "urn:m|", False, id="the same in the reference"),
        pytest.param(DR, "patient.identifier", "urn:m|1,urn:m|", False, id="one, or everyone"),
        pytest.param(DR, "code", "a", False, id="code"),
        pytest.param(DR, "order", "urn:o|1", False, id="order"),
        pytest.param(DR, "identifier", "urn:o|1", False, id="identifier of a report"),
        pytest.param("Provenance", "target", "DiagnosticReport/r", True, id="target of a Provenance"),
        pytest.param(
            "Provenance", "target:DiagnosticReport.identifier", "urn:r|1", True, id="target by its identifier"
        ),
        pytest.param("Provenance", "target", "Organization/lab", False, id="all that a laboratory sent"),
        pytest.param("Provenance", "target", "Group/g,DiagnosticReport/r", False, id="a group, or a report"),
        pytest.param("Provenance", "target:Device.identifier", "urn:d|1", False, id="all of a device"),
        pytest.param("Provenance", "target:identifier", "urn:r|1", False, id="an identifier of whatever"),
        pytest.param("Practitioner", "_has:Patient:general-practitioner:name", "a", False, id="of patients"),
        pytest.param(
            "Practitioner", "_has:Patient:general-practitioner:identifier", "urn:m|1", True, id="of a patient"
        ),
        pytest.param(
            "Practitioner", "_has:PractitionerRole:practitioner:active", "true", True, id="its roles"
        ),
        pytest.param("Location", "_has:DiagnosticReport:subject:code", "a", False, id="reports of a ward"),
        pytest.param(
            "Location", "_has:Encounter:location:_has:Procedure:encounter:code", "a", False, id="by visits"
        ),
        pytest.param("Patient", "identifier", "urn:m|1", True, id="identifier of a patient"),
        pytest.param("Patient", "identifier:not", "urn:m|1", False, id="all patients but one"),
        pytest.param("Patient", "identifier", "urn:m|", False, id="all patients with a number"),
        pytest.param("Patient", "birthdate", "2020", False, id="patients by date"),
        pytest.param("Practitioner", "identifier", "urn:n|1", True, id="a type that is not about patients"),
    ],
)
def test_bounded_by_patient(type: str, name: str, text: str, named: bool) -> None:
    assert (bounded(query_of((name, text), type=type)) is not None) is named


@pytest.mark.parametrize(
    ("type", "name", "text", "as_if"),
    [
        pytest.param(DR, "subject", "x", ("subject", "Patient/x"), id="a bare id"),
        pytest.param(DR, "subject", "x,Patient/y", ("subject", "Patient/x,Patient/y"), id="bare ids too"),
        pytest.param(DR, "subject.identifier", "urn:m|1", ("patient.identifier", "urn:m|1"), id="a chain"),
        pytest.param(DR, "subject:identifier", "urn:m|1", ("patient:identifier", "urn:m|1"), id="logical"),
        pytest.param("Task", "subject", "x", ("subject", "Patient/x"), id="a reference to anything"),
    ],
)
def test_what_may_name_something_else_names_a_patient(
    type: str, name: str, text: str, as_if: tuple[str, str]
) -> None:
    """Else a ward's id would find what is about everyone there."""
    asked, patients = query_of((name, text), type=type), query_of(as_if, type=type)
    assert bounded(asked) == replace(patients, of_a_patient=True) != replace(asked, of_a_patient=True)
    itself = query_of((name, text), ("_id", "r"), type=type)
    assert bounded(itself) == replace(itself, of_a_patient=True)


def test_a_way_back_to_an_id_that_is_bare_leads_to_a_patient() -> None:
    asked = bounded(query_of(("_has:DiagnosticReport:performer:subject", "x"), type="Practitioner"))
    assert asked is not None
    assert (
        asked.clauses
        == query_of(("_has:DiagnosticReport:performer:subject", "Patient/x"), type="Practitioner").clauses
    )


@pytest.mark.parametrize(
    ("type", "name", "text", "kept"),
    [
        (DR, "performer:Practitioner._has:Patient:general-practitioner:family", "smith", False),
        (DR, "subject:Group.member:Patient.family", "smith", False),
        (DR, "subject:Group.member:Patient.identifier", "urn:m|1", True),
        (DR, "subject:Group.member:Device.status", "active", True),
        ("Group", "member:Patient.birthdate", "1980", False),
        ("Group", "managing-entity:RelatedPerson.name", "smith", False),
        ("Device", "patient.family", "smith", True),
    ],
)
def test_what_leads_by_something_shared_to_any_patient_is_not_bounded_by_what_is_beside_it(
    type: str, name: str, text: str, *, kept: bool
) -> None:
    """By a group to its members, as from a practitioner to the patients."""
    assert (bounded(query_of(("_id", "x"), (name, text), type=type)) is not None) is kept


@pytest.mark.parametrize(
    ("how", "named"),
    [
        pytest.param(("birthdate", "1980-02-03"), True, id="a day"),
        pytest.param(("birthdate", "1980"), False, id="a year"),
        pytest.param(("birthdate", "1980-02-03,1980-02-04"), False, id="days"),
        pytest.param(("birthdate", "ge1980-02-03"), False, id="from a day on"),
        pytest.param(("telecom", "5551234"), True, id="a number"),
        pytest.param(("telecom:not", "5551234"), False, id="any other number"),
    ],
)
def test_a_name_describes_a_patient_with_something_else(how: tuple[str, str], named: bool) -> None:
    assert (bounded(query_of(("name", "smith"), how, type="Patient")) is not None) is named
    assert bounded(query_of(how, type="Patient")) is None


def test_a_search_for_everything_is_not_bounded() -> None:
    assert bounded(query_of()) is None
    assert bounded(query_of(type="Patient")) is None


@pytest.mark.parametrize("type", ["AllergyIntolerance", "Immunization", "Person", "Provenance", "Task"])
def test_a_type_about_patients_is_not_open_for_want_of_a_parameter(type: str) -> None:
    assert bounded(query_of(type=type)) is None


def test_a_provenance_is_bounded_by_the_patient_it_is_about() -> None:
    assert bounded(query_of(("patient", "p1"), type="Provenance")) is not None
    assert bounded(query_of(("agent", "Device/1"), type="Provenance")) is None


@pytest.mark.parametrize(
    ("type", "name"),
    [("Provenance", "target"), ("Observation", "focus"), ("Task", "subject"), ("List", "item")],
)
def test_a_chain_through_a_reference_to_anything_names_the_type(type: str, name: str) -> None:
    error = refusal(lambda: query_of((f"{name}.identifier", "1"), type=type))
    assert [issue.code for issue in error.issues] == ["too-costly"]
    assert f"`{name}:Type.…`" in said(error)
    assert query_of((f"{name}:Patient.identifier", "1"), type=type).clauses


@pytest.mark.parametrize("name", ["_query", "_filter", "_list", "_contained", "code:", "patient.identifier:"])
def test_what_must_not_be_left_out_is_refused(name: str) -> None:
    error = refusal(lambda: query_of(("patient", "p1"), (name, "x")))
    assert [issue.expression for issue in error.issues] == [(name,)]


def test_that_contained_resources_are_no_matches_may_be_said() -> None:
    assert query_of(("patient", "p1"), ("_contained", "false")) == query_of(("patient", "p1"))
