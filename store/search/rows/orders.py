"""Rows of what is to be done. https://hl7.org/fhir/R4/workflow.html"""

from __future__ import annotations

from typing import Final

from store.search.rows.builders import (
    ANY,
    clinical_code,
    clinical_identifier,
    code,
    date,
    encounter,
    identifier,
    patient,
    reference,
    subject,
    token,
    uri,
)
from store.search.rows.resource_type import resource_type

_REQUESTERS: Final = "Practitioner PractitionerRole Organization Patient RelatedPerson Device"

SERVICE_REQUEST: Final = resource_type(
    "ServiceRequest",
    # Without `instantiates-canonical`: a canonical is no reference that could be followed here.
    date("authored", "authoredOn", when=True),
    reference("based-on", "basedOn", "ServiceRequest CarePlan MedicationRequest", keyed=2),
    token("body-site", "bodySite"),
    token("category", "category"),
    clinical_code(),
    encounter("clinical-encounter"),
    clinical_identifier(),
    uri("instantiates-uri", "instantiatesUri"),
    code("intent", "intent", "request-intent"),
    date("occurrence", "occurrenceDateTime | occurrencePeriod | occurrenceTiming"),
    patient(),
    reference("performer", "performer", f"{_REQUESTERS} CareTeam HealthcareService"),
    token("performer-type", "performerType"),
    code("priority", "priority", "request-priority"),
    reference("replaces", "replaces", "ServiceRequest"),
    reference("requester", "requester", _REQUESTERS),
    identifier("requisition"),
    reference("specimen", "specimen", "Specimen", keyed=3),
    code("status", "status", "request-status"),
    subject("Patient Group Device Location"),
)

MEDICATION_REQUEST: Final = resource_type(
    "MedicationRequest",
    date("authoredon", "authoredOn", when=True),
    token("category", "category"),
    clinical_code("medicationCodeableConcept"),
    encounter("medications-encounter"),
    clinical_identifier(),
    code("intent", "intent", "CodeSystem/medicationrequest-intent"),
    reference("medication", "medicationReference", "Medication", "medications-medication"),
    patient(),
    code("priority", "priority", "request-priority"),
    reference("requester", "requester", _REQUESTERS),
    code("status", "status", "CodeSystem/medicationrequest-status", "medications-status"),
    subject(),
)

TASK: Final = resource_type(
    "Task",
    date("authored-on", "authoredOn", when=True),
    reference("based-on", "basedOn", ANY, keyed=2),
    token("business-status", "businessStatus"),
    token("code", "code", keyed=8, scoped=True),
    encounter(),
    reference("focus", "focus", ANY),
    identifier("group-identifier", "groupIdentifier"),
    identifier(),
    # But for `unknown`, the one code of task-intent.
    code("intent", "intent", "request-intent"),
    date("modified", "lastModified"),
    reference("owner", "owner", f"{_REQUESTERS} CareTeam HealthcareService"),
    reference("part-of", "partOf", "Task"),
    patient("for", "Task-patient"),
    token("performer", "performerType"),
    date("period", "executionPeriod"),
    code("priority", "priority", "request-priority"),
    reference("requester", "requester", _REQUESTERS),
    code("status", "status", "task-status"),
    subject(ANY, "for"),
)
