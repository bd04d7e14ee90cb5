"""Visits, problems, treatment. https://hl7.org/fhir/R4/clinicalsummary-module.html"""

from __future__ import annotations

from typing import Final

from store.search.rows.builders import (
    clinical_code,
    clinical_identifier,
    code,
    date,
    encounter,
    patient,
    quantity,
    reference,
    string,
    subject,
    token,
    uri,
)
from store.search.rows.resource_type import resource_type

_PERFORMERS: Final = "Practitioner PractitionerRole Organization Patient RelatedPerson"
_ASSERTERS: Final = "Practitioner PractitionerRole Patient RelatedPerson"

ENCOUNTER: Final = resource_type(
    "Encounter",
    reference("account", "account", "Account"),
    reference("appointment", "appointment", "Appointment"),
    reference("based-on", "basedOn", "ServiceRequest", keyed=2),
    token("class", "class"),
    date("date", "period", "clinical-date", when=True),
    reference("diagnosis", "diagnosis.condition", "Condition Procedure"),
    reference("episode-of-care", "episodeOfCare", "EpisodeOfCare"),
    clinical_identifier(),
    quantity("length", "length"),
    reference("location", "location.location", "Location"),
    date("location-period", "location.period", repeats=True),
    reference("part-of", "partOf", "Encounter"),
    reference("participant", "participant.individual", "Practitioner PractitionerRole RelatedPerson"),
    token("participant-type", "participant.type"),
    patient(),
    reference("practitioner", "participant.individual", "Practitioner", only="Practitioner"),
    token("reason-code", "reasonCode"),
    reference(
        "reason-reference", "reasonReference", "Condition ImmunizationRecommendation Observation Procedure"
    ),
    reference("service-provider", "serviceProvider", "Organization"),
    token("special-arrangement", "hospitalization.specialArrangement"),
    code("status", "status", "encounter-status"),
    subject(),
    token("type", "type", "clinical-type"),
)

CONDITION: Final = resource_type(
    "Condition",
    # Without those of an age: they ask for a Range too.
    date("abatement-date", "abatementDateTime | abatementPeriod"),
    reference("asserter", "asserter", _ASSERTERS),
    token("body-site", "bodySite"),
    token("category", "category"),
    token("clinical-status", "clinicalStatus"),
    clinical_code(),
    encounter(),
    token("evidence", "evidence.code"),
    clinical_identifier(),
    date("onset-date", "onsetDateTime | onsetPeriod"),
    patient(),
    date("recorded-date", "recordedDate", when=True),
    token("severity", "severity"),
    token("stage", "stage.summary"),
    subject(),
    token("verification-status", "verificationStatus"),
)

PROCEDURE: Final = resource_type(
    "Procedure",
    reference("based-on", "basedOn", "ServiceRequest CarePlan", keyed=2),
    token("category", "category"),
    clinical_code(),
    # An age, a Range or a text says no date.
    date("date", "performedDateTime | performedPeriod", "clinical-date", when=True),
    encounter("clinical-encounter"),
    clinical_identifier(),
    uri("instantiates-uri", "instantiatesUri"),
    reference("location", "location", "Location"),
    reference("part-of", "partOf", "MedicationAdministration Observation Procedure"),
    patient(),
    reference("performer", "performer.actor", f"{_PERFORMERS} Device"),
    token("reason-code", "reasonCode"),
    reference(
        "reason-reference",
        "reasonReference",
        "Condition DiagnosticReport DocumentReference Observation Procedure",
    ),
    code("status", "status", "event-status"),
    subject(),
)

CARE_PLAN: Final = resource_type(
    "CarePlan",
    reference("based-on", "basedOn", "CarePlan", keyed=2),
    reference("care-team", "careTeam", "CareTeam"),
    token("category", "category"),
    reference("condition", "addresses", "Condition"),
    date("date", "period", "clinical-date", when=True),
    encounter(),
    clinical_identifier(),
    code("intent", "intent", "request-intent"),
    reference("part-of", "partOf", "CarePlan"),
    patient(),
    code("status", "status", "request-status"),
    subject(),
)

CARE_TEAM: Final = resource_type(
    "CareTeam",
    token("category", "category"),
    date("date", "period", "clinical-date", when=True),
    encounter(),
    clinical_identifier(),
    reference("participant", "participant.member", f"{_PERFORMERS} CareTeam"),
    patient(),
    code("status", "status", "care-team-status"),
    subject(),
)

IMMUNIZATION: Final = resource_type(
    "Immunization",
    # A text says no date.
    date("date", "occurrenceDateTime", "clinical-date", when=True),
    clinical_identifier(),
    reference("location", "location", "Location"),
    string("lot-number", "lotNumber"),
    patient("patient"),
    reference("performer", "performer.actor", "Organization Practitioner PractitionerRole"),
    code("status", "status", "event-status"),
    token("status-reason", "statusReason"),
    token("vaccine-code", "vaccineCode"),
)

ALLERGY_INTOLERANCE: Final = resource_type(
    "AllergyIntolerance",
    token("clinical-status", "clinicalStatus"),
    clinical_code("code | reaction.substance"),
    code("category", "category", "allergy-intolerance-category"),
    code("criticality", "criticality", "allergy-intolerance-criticality"),
    date("date", "recordedDate", "clinical-date", when=True),
    clinical_identifier(),
    token("manifestation", "reaction.manifestation"),
    patient("patient"),
    code("type", "type", "allergy-intolerance-type", "clinical-type"),
    token("verification-status", "verificationStatus"),
)
