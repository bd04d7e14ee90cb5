"""Entries stored beside a resource so that it can be found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.fhir import instants
from store.fhir.instants import ABSENT
from store.search.index import index
from tests.support.reports import BASE, STATUS_SYSTEM, report

DR = "DiagnosticReport"
LOINC = "http://loinc.test"


def test_a_report_by_all_that_it_holds() -> None:
    resource = report(
        category=[{"coding": [{"system": "urn:c", "code": "LAB"}]}],
        identifier=[{"system": "urn:f", "value": "F-1"}],
        subject={"reference": "Patient/p1"},
        encounter={"identifier": {"value": "V-1"}},
        basedOn=[{"reference": "ServiceRequest/s1/_history/2"}],
        effectivePeriod={"start": "2020-05-11"},
        issued="2020-05-12T08:00:00.000Z",
        media=[{"link": {"reference": "Media/m1"}}],
        meta={"tag": [{"system": "urn:t", "code": "t"}]},
    )
    found = index(resource, DR, base=BASE)
    assert found.issues == ()
    assert found.when == instants.period("2020-05-11", None)
    assert found.fields == {
        "based-on": ["ServiceRequest/s1", "ServiceRequest/s1/_history/2"],
        "category": ["lab", "urn:c|lab", "urn:c|"],
        "code": ["58410-2", f"{LOINC}|58410-2", f"{LOINC}|"],
        "encounter:identifier": ["V-1", "|V-1"],
        "encounter>typed": [">V-1", ">|V-1"],
        "identifier": ["F-1", "urn:f|F-1", "urn:f|"],
        "issued": instants.parse("2020-05-12T08:00:00.000Z"),
        "media": ["Media/m1"],
        "patient": ["Patient/p1"],
        "status": ["final", f"{STATUS_SYSTEM}|"],
        "subject": ["Patient/p1"],
        "_tag": ["t", "urn:t|t", "urn:t|"],
        "_content": " final 58410 2 lab f 1 v",
    }
    patient = "patient=Patient/p1"
    assert sorted(found.keys) == sorted(
        [
            patient,
            "based-on=ServiceRequest/s1",
            "based-on=ServiceRequest/s1/_history/2",
            "code=58410-2",
            "encounter.identifier=V-1",
            "encounter.identifier=|V-1",
            "identifier=F-1",
            f"{patient}&category=lab",
            f"{patient}&code=58410-2",
            f"{patient}&status=final",
        ]
    )


def test_identifiers_of_a_contained_patient_and_of_the_reference_are_kept_apart() -> None:
    inner = {"resourceType": "Patient", "id": "p", "identifier": [{"value": "IN"}]}
    subject = {"reference": "#p", "identifier": {"value": "OUT"}}
    found = index(report(contained=[inner], subject=subject), DR)
    for name in ("patient", "subject"):
        assert found.fields[f"{name}:identifier"] == ["OUT", "|OUT"]
        assert found.fields[f"{name}>identifier"] == ["IN", "|IN"]
        assert name not in found.fields
    assert {"patient.identifier=OUT", "patient.identifier=IN", "subject.identifier=IN"} <= set(found.keys)


def test_without_dates_the_intervals_are_absent() -> None:
    found = index(report(), DR)
    assert (found.when, found.fields["issued"]) == (ABSENT, ABSENT)


@pytest.mark.parametrize(
    ("more", "text", "path"),
    [
        pytest.param({"code": 7}, "must be a code", "code", id="number for a concept"),
        pytest.param({"code": {"coding": ["x"]}}, "must be an object", "code.coding", id="text for a Coding"),
        pytest.param({"effectiveDateTime": "soon"}, "not a FHIR date", "effectiveDateTime", id="no date"),
        pytest.param(
            {"effectiveDateTime": "2020-02-30"}, "no such date", "effectiveDateTime", id="30 February"
        ),
        pytest.param(
            {"effectivePeriod": {"start": 1}}, "a string", "effectivePeriod.start", id="number in a Period"
        ),
        pytest.param({"subject": "Patient/1"}, "must be an object", "subject", id="text for a Reference"),
        pytest.param({"subject": {"reference": 1}}, "must be a string", "subject.reference", id="number"),
        pytest.param({"media": [{"link": "x"}]}, "must be an object", "media.link", id="below a list"),
        pytest.param(
            {"contained": ["x"]}, "must be an object", "contained", id="text for a contained resource"
        ),
        pytest.param({"contained": [{"id": 1}]}, "must be a string", "contained.id", id="number for its id"),
        pytest.param(
            {"subject": {"identifier": {"value": 1}}},
            "must be a string",
            "subject.identifier.value",
            id="value",
        ),
    ],
)
def test_a_wrong_shape_is_an_issue_at_its_place_and_the_rest_is_found(
    more: dict[str, Any], text: str, path: str
) -> None:
    found = index(report(**more), DR)
    assert {issue.expression for issue in found.issues} == {(f"{DR}.{path}",)}
    assert all(text in issue.text and issue.text.startswith(f"`{DR}.{path}` ") for issue in found.issues)
    assert found.fields["status"] == ["final", f"{STATUS_SYSTEM}|"]


def test_all_issues_are_collected() -> None:
    found = index(report(effectiveDateTime="soon", issued="late", identifier=[7]), DR)
    assert {issue.expression[0] for issue in found.issues} == {
        f"{DR}.{name}" for name in ("effectiveDateTime", "issued", "identifier")
    }


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["reference", "identifier", "system", "value", "code", "coding", "start", "event", "id"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
_ELEMENTS = st.sampled_from(
    ["code", "status", "category", "identifier", "subject", "contained", "media", "meta", "effectivePeriod"]
)


@given(st.dictionaries(_ELEMENTS, _JSON, max_size=4))
def test_any_json_is_indexed_or_named_as_an_issue(elements: dict[str, Any]) -> None:
    found = index({"resourceType": DR, **elements}, DR)
    assert all(issue.expression[0].startswith(f"{DR}.") for issue in found.issues)
    assert all(value for value in found.fields.values())
    assert len(found.keys) == len(set(found.keys))


def test_an_identifier_beside_a_reference_that_tells_no_type_may_be_the_patients() -> None:
    subject = {"reference": "urn:uuid:0b1c", "identifier": {"value": "OUT"}}
    found = index(report(subject=subject), DR)
    assert "patient" not in found.fields
    assert "patient.identifier=OUT" in found.keys


def test_a_contained_resource_is_indexed_under_a_spelling_of_its_own() -> None:
    inner = {"resourceType": "Patient", "id": "in", "name": [{"family": "Innen"}]}
    owner = report(contained=[inner, {"id": "untyped"}], subject={"reference": "#in"})
    found = index(owner, DR, resource_id="r")
    [inside] = found.inside
    assert (inside.spelling, inside.type) == ("DiagnosticReport/r#in", "Patient")
    assert inside.fields["family"] == ["innen"]
    assert found.fields["patient"] == found.fields["subject"] == ["DiagnosticReport/r#in"]
    assert {"contained=Patient", "patient=DiagnosticReport/r#in"} <= set(found.keys)


def test_without_an_id_nothing_leads_inside() -> None:
    inner = {"resourceType": "Patient", "id": "in"}
    found = index(report(contained=[inner], subject={"reference": "#in"}), DR)
    assert (found.inside, "patient" in found.fields) == ((), False)
