"""References: what is asked against what is stored. https://hl7.org/fhir/R4/search.html#reference"""

from __future__ import annotations

from typing import Any

import pytest

from store.search.parameters import TYPES
from store.search.parsing.parse import parse
from store.search.planning.plan import plan
from store.search.values import references
from store.search.values.references import Referred, contained_in
from tests.support.filters import matches
from tests.support.reports import BASE, NOW, TENANT, context, document_of, query_of, refusal, report

REPORT = TYPES["DiagnosticReport"].by_name
SUBJECT, PATIENT = REPORT["subject"], REPORT["patient"]
MRN = {"system": "urn:mrn", "value": "MADE-UP-1"}
UNSPELLED = Referred(unspelled=True)
MRN_SPELLINGS = ("MADE-UP-1", "urn:mrn|MADE-UP-1", "urn:mrn|")
INNER = {"resourceType": "Patient", "id": "p", "identifier": [MRN]}
ELSEWHERE = "http://ehr.test/fhir/Patient/p1"


@pytest.mark.parametrize(
    ("name", "asked", "subject", "expected"),
    [
        pytest.param("subject", "Patient/p1", "Patient/p1", True, id="Type/id"),
        pytest.param("subject", "Patient/p1", "Patient/p2", False, id="another id"),
        pytest.param("subject", "Patient/P1", "Patient/p1", False, id="ids are case-sensitive"),
        pytest.param("subject", "patient/p1", "Patient/p1", False, id="types are case-sensitive"),
        pytest.param("subject", "Patient/p", "Patient/p1", False, id="no prefix match"),
        pytest.param("subject", "Group/p1", "Patient/p1", False, id="another type"),
        pytest.param("subject", "p1", "Patient/p1", True, id="bare id"),
        pytest.param("subject", "p1", "Device/p1", True, id="bare id of any type"),
        pytest.param("patient", "p1", "Patient/p1", True, id="bare id of a patient"),
        pytest.param("patient", "p1", "Device/p1", False, id="a device is no patient"),
        pytest.param("patient", "Patient/p1", "Patient/p1", True, id="patient"),
        pytest.param("subject:Patient", "p1", "Patient/p1", True, id=":Patient with an id"),
        pytest.param("subject:Patient", "p1", "Device/p1", False, id=":Patient is not a device"),
        pytest.param("subject:Patient", "Patient/p1", "Patient/p1", True, id=":Patient with Type/id"),
        pytest.param("subject", f"{BASE}/Patient/p1", "Patient/p1", True, id="our own URL asked"),
        pytest.param("subject", "Patient/p1", f"{BASE}/Patient/p1", True, id="our own URL stored"),
        pytest.param("subject", ELSEWHERE, ELSEWHERE, True, id="a URL elsewhere"),
        pytest.param("patient", ELSEWHERE, ELSEWHERE, True, id="a patient elsewhere"),
        pytest.param("subject", "Patient/p1", ELSEWHERE, False, id="elsewhere is not here"),
        pytest.param("subject", ELSEWHERE, "Patient/p1", False, id="here is not elsewhere"),
        pytest.param(
            "subject", "Patient/p1", "Patient/p1/_history/2", True, id="unversioned finds versioned"
        ),
        pytest.param(
            "subject", "Patient/p1/_history/2", "Patient/p1/_history/2", True, id="the same version"
        ),
        pytest.param(
            "subject", "Patient/p1/_history/3", "Patient/p1/_history/2", False, id="another version"
        ),
        pytest.param("subject", "urn:uuid:0b1c", "urn:uuid:0b1c", True, id="urn"),
        pytest.param("subject", "Patient/a_b", "Patient/a_b", True, id="an id that breaks the rule"),
        pytest.param(
            "subject", "http://ehr.test/Patient/a/b", "http://ehr.test/Patient/a/b", True, id="odd URL"
        ),
    ],
)
def test_match(name: str, asked: str, subject: str, expected: bool) -> None:
    document = document_of(report(subject={"reference": subject}))
    query = query_of((name, asked))
    assert matches(document, plan(TENANT, query, resolved={}, now=NOW).filter) is expected


@pytest.mark.parametrize(
    ("text", "only", "expected"),
    [
        pytest.param(
            "x", None, ["Patient/x", "Group/x", "Device/x", "Location/x", "x"], id="bare id: all targets"
        ),
        pytest.param("x", "Group", ["Group/x"], id="bare id under a modifier"),
        pytest.param(r"urn:a\,b", None, ["urn:a,b"], id="escapes are undone"),
        pytest.param("Patient/x/_history/1", None, ["Patient/x/_history/1"], id="version"),
    ],
)
def test_parse(text: str, only: str | None, expected: list[str]) -> None:
    assert references.parse(text, SUBJECT, base=BASE, only=only) == expected


@pytest.mark.parametrize("text", ["Group/x", "urn:uuid:1", "http://ehr.test/Group/x"])
def test_parse_refuses_another_type_than_the_modifier(text: str) -> None:
    with pytest.raises(ValueError, match="the value names another type than the modifier"):
        references.parse(text, SUBJECT, base=BASE, only="Patient")


@pytest.mark.parametrize(
    ("reference", "as_subject", "as_patient"),
    [
        pytest.param(
            {"extension": [{"url": "urn:x"}]}, Referred(), Referred(), id="nothing but an extension"
        ),
        pytest.param({"display": "made up", "type": "Patient"}, UNSPELLED, UNSPELLED, id="display and type"),
        pytest.param({"display": "made up"}, UNSPELLED, Referred(), id="display only"),
        pytest.param(
            {"identifier": MRN}, Referred((), MRN_SPELLINGS), Referred((), MRN_SPELLINGS), id="logical"
        ),
        pytest.param(
            {"identifier": MRN, "type": "Patient"},
            Referred((), MRN_SPELLINGS),
            Referred((), MRN_SPELLINGS),
            id="logical, a patient",
        ),
        pytest.param(
            {"identifier": MRN, "type": "Device"},
            Referred((), MRN_SPELLINGS),
            Referred(),
            id="logical, a device",
        ),
        pytest.param(
            {"reference": "urn:uuid:1", "type": "Patient"},
            Referred(("urn:uuid:1",)),
            Referred(("urn:uuid:1",)),
            id="Reference.type tells it",
        ),
        pytest.param(
            {"reference": "urn:uuid:1"}, Referred(("urn:uuid:1",)), Referred(), id="nothing tells it"
        ),
        pytest.param(
            {"reference": "Group/1", "type": "Patient"},
            Referred(("Group/1",)),
            Referred(),
            id="the type segment goes first",
        ),
        pytest.param(
            {"reference": "#p"},
            Referred((), (), MRN_SPELLINGS),
            Referred((), (), MRN_SPELLINGS),
            id="contained",
        ),
        pytest.param({"reference": "#d"}, UNSPELLED, Referred(), id="contained, without identifier"),
        pytest.param({"reference": "#nowhere"}, UNSPELLED, Referred(), id="contained nowhere"),
        pytest.param({"reference": "#"}, UNSPELLED, Referred(), id="the container"),
    ],
)
def test_index(reference: dict[str, Any], as_subject: Referred, as_patient: Referred) -> None:
    contained: dict[str, dict[str, Any]] = {"p": INNER, "d": {"resourceType": "Device", "id": "d"}}
    found = references.index(reference, "subject", contained=contained, base=BASE)
    assert found._replace(type=None) == as_subject
    assert references.narrowed(found, "Patient")._replace(type=None) == as_patient


def test_contained_resources_are_known_by_their_id_with_or_without_a_hash() -> None:
    inner = [{"id": "a"}, {"id": "#b"}, {"resourceType": "Patient"}]
    assert contained_in({"contained": inner}) == {"a": inner[0], "b": inner[1]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient/p1", "did you mean `Patient/…`?"),
        ("/Patient/p1", "did you mean `Patient/…`?"),
        ("Patient/p1/", "did you mean `Patient/…`?"),
        ("Patient/p1/_history/2/", "did you mean `Patient/…`?"),
        ("Patient/p1 ", "did you mean `Patient/…`?"),
        ("Pateint/p1", "did you mean `Patient`?"),
        ("Foo/p1", "a resource type of R4"),
        *(
            (text, "")
            for text in (
                *("p1", "p_1", "Patient/p1", "Patient/p_1", "Patient/p1/_history/2", "Practitioner/p1"),
                *("urn:uuid:1", "urn:oid:1.2", "http://elsewhere.example/patient/1/", f"{BASE}/Patient/p1"),
                *("Patient?identifier=urn:m|1", "Patient/"),
            )
        ),
    ],
)
def test_what_is_nearly_a_reference_is_answered_with_a_warning(text: str, said: str) -> None:
    """Nothing is found, which reads like a patient without reports."""
    for name in ("subject", "patient", "_has:Provenance:target:target", "performer:Organization.partof"):
        found = parse("DiagnosticReport", [(name, text)], context(strict=True))
        assert found.pairs == ((name, text),)
        assert [said in issue.text for issue in found.ignored] == ([True] if said else [])
        assert all((issue.severity, issue.expression) == ("warning", (name,)) for issue in found.ignored)
    order = parse("DiagnosticReport", [("order", text)], context(strict=True))
    assert order.ignored == ()  # It may be the order's number.


@pytest.mark.parametrize("text", ["urn:m|1", "Patient|p1", r"Patient/p1\|1", "p1,urn:m|1"])
def test_a_token_is_no_reference(text: str) -> None:
    for name in ("subject", "patient", "_has:Provenance:target:target", "performer:Organization.partof"):
        error = refusal(lambda name=name: query_of((name, text)))  # type: ignore[misc]
        assert "asked for by `.identifier`" in str(error)
    assert query_of(("order", text)).clauses
