"""Records as AuditEvents: valid R4, and by the profiles of BALP where one fits."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from api.interactions.audit_event import DEEDS, PATTERNS, PROFILES, Where, audit_event
from store.audit.records import AuditRecord, Deed
from store.tenancy import Tenant

AT = datetime(2026, 11, 29, 12, 0, 0, 123_000, tzinfo=UTC)
WHERE = Where("https://dod.example/fhir/R4/lab/Production", "https://dod.example")
ID = "0123456789abcdef01234567"


def record(did: str, **told: Any) -> AuditRecord:
    more = {"request_id": "req-1", "token": "abc", "address": "10.1.2.3", "id": ID, **told}
    return AuditRecord(Tenant("lab", "Production"), AT, "viewer", did, **more)


def codes(event: dict[str, Any], name: str) -> list[str]:
    return [entity[name]["code"] for entity in event["entity"] if name in entity]


def test_every_record_is_a_valid_audit_event() -> None:
    deeds = [*PATTERNS, *DEEDS, "process-message", "purge", "dead-letter"]
    named: list[tuple[str, ...]] = [(), ("Patient/p1",), ("Patient/p1", "urn:mr|A")]
    for did, patients, status in product(deeds, named, (0, 404, 503)):
        event = audit_event(
            record(did, patients=patients, status=status, resource="DiagnosticReport", query=b"x=1"), WHERE
        )
        AuditEvent.model_validate(event)
        assert event["outcome"] == {0: "0", 404: "4", 503: "8"}[status], (did, patients, status)
        assert event["recorded"] == "2026-11-29T12:00:00.123Z", (did, patients, status)
    assert set(DEEDS) == set(Deed)


def test_a_search_about_a_patient_is_a_patient_query() -> None:
    sent = record("search-post", patients=("Patient/p1",), resource="DiagnosticReport", query=b"patient=p1")
    event = audit_event(sent, WHERE)
    assert event["meta"]["profile"] == [f"{PROFILES}PatientQuery"]
    assert (event["type"]["code"], event["action"]) == ("rest", "E")
    assert [one["code"] for one in event["subtype"]] == ["search-type"]
    roles = {agent["type"]["coding"][0]["code"]: agent for agent in event["agent"]}
    assert roles["110153"]["who"]["identifier"]["value"] == "viewer"
    assert roles["110153"]["network"] == {"address": "10.1.2.3", "type": "2"}
    assert roles["110152"]["network"] == {"address": WHERE.base, "type": "5"}
    [patient, query, request] = event["entity"]
    assert patient["what"] == {"reference": "Patient/p1", "type": "Patient"}
    assert (patient["type"]["code"], patient["role"]["code"]) == ("1", "1")
    assert (query["type"]["code"], query["role"]["code"]) == ("2", "24")
    assert b64decode(query["query"]) == b"DiagnosticReport?patient=p1"
    assert request["what"]["identifier"]["value"] == "req-1"


@pytest.mark.parametrize(
    ("did", "profile", "action", "client"),
    [
        ("read", "PatientRead", "R", "110152"),
        ("create", "PatientCreate", "C", "110153"),
        ("update", "PatientUpdate", "U", "110153"),
        ("delete", "PatientDelete", "D", "110150"),
    ],
)
def test_interactions_with_a_profile(did: str, profile: str, action: str, client: str) -> None:
    event = audit_event(record(did, patients=("Patient/p1",), resource="DiagnosticReport/r1"), WHERE)
    assert event["meta"]["profile"] == [f"{PROFILES}{profile}"]
    assert event["action"] == action
    assert event["agent"][0]["type"]["coding"][0]["code"] == client
    assert event["entity"][1]["what"] == {"reference": "DiagnosticReport/r1"}
    refused = audit_event(record(did, status=403, resource="DiagnosticReport/r1"), WHERE)
    assert "profile" not in refused["meta"]


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("Observation/o1", {"reference": "Observation/o1"}),
        (
            "Observation/o1/_history/2",
            {"reference": "Observation/o1", "display": "Observation/o1/_history/2"},
        ),
        ("Patient/p1/$everything", {"reference": "Patient/p1", "display": "Patient/p1/$everything"}),
        ("AuditEvent", {"display": "AuditEvent"}),
        ("$changes", {"display": "$changes"}),
        ("Subscription/$status", {"display": "Subscription/$status"}),
        ("Nonsense/x", {"display": "Nonsense/x"}),
        ("Patient/a b", {"display": "Patient/a b"}),
    ],
)
def test_a_reference_names_a_resource_and_nothing_else(path: str, what: dict[str, str]) -> None:
    [entity] = audit_event(record("changes", resource=path, request_id=""), WHERE)["entity"]
    assert entity["what"] == what


def test_patients_are_told_by_reference_by_identifier_or_as_erased() -> None:
    event = audit_event(
        record("read", patients=("Patient/p1", r"urn:mr|A\|1", "9" * 64), resource="X/1"), WHERE
    )
    told = [entity["what"] for entity in event["entity"] if entity["type"]["code"] == "1"]
    assert told == [
        {"reference": "Patient/p1", "type": "Patient"},
        {"identifier": {"system": "urn:mr", "value": "A|1"}, "type": "Patient"},
        {"identifier": {"value": "9" * 64}, "display": "(erased)", "type": "Patient"},
    ]
    alone = audit_event(record("read", patients=("Patient/p1", "Patient/p2")), WHERE, patients=["Patient/p2"])
    assert "Patient/p1" not in str(alone)
