"""Documents, lists, forms, and where things come from. https://hl7.org/fhir/R4/documents.html"""

from __future__ import annotations

from typing import Final

from store.search.bundled import PATIENTS
from store.search.rows.builders import (
    ANY,
    clinical_code,
    clinical_identifier,
    code,
    composite,
    date,
    encounter,
    identifier,
    part,
    patient,
    reference,
    string,
    subject,
    token,
    uri,
)
from store.search.rows.parameter import Parameter, SearchType
from store.search.rows.resource_type import ResourceType, resource_type

_AUTHORS: Final = "Practitioner PractitionerRole Organization Patient RelatedPerson Device"

DOCUMENT_REFERENCE: Final = resource_type(
    "DocumentReference",
    reference("authenticator", "authenticator", "Organization Practitioner PractitionerRole"),
    reference("author", "author", _AUTHORS),
    token("category", "category"),
    code("contenttype", "content.attachment.contentType", "urn:ietf:bcp:13"),
    reference("custodian", "custodian", "Organization"),
    date("date", "date", when=True),
    string("description", "description"),
    reference("encounter", "context.encounter", "Encounter EpisodeOfCare", "clinical-encounter", keyed=4),
    token("event", "context.event"),
    token("facility", "context.facilityType"),
    token("format", "content.format"),
    clinical_identifier("masterIdentifier | identifier"),
    code("language", "content.attachment.language", "urn:ietf:bcp:47"),
    uri("location", "content.attachment.url"),
    patient(),
    date("period", "context.period"),
    reference("related", "context.related", ANY),
    reference("relatesto", "relatesTo.target", "DocumentReference"),
    code("relation", "relatesTo.code", "document-relationship-type"),
    composite(
        "relationship",
        part("target", SearchType.REFERENCE, "target", targets=("DocumentReference",)),
        part("code", SearchType.TOKEN, "code"),
        expression="relatesTo",
    ),
    token("security-label", "securityLabel"),
    token("setting", "context.practiceSetting"),
    code("status", "status", "document-reference-status"),
    subject("Patient Group Device Practitioner"),
    token("type", "type", "clinical-type"),
)

COMPOSITION: Final = resource_type(
    "Composition",
    reference("author", "author", _AUTHORS),
    token("category", "category"),
    date("date", "date", "clinical-date", when=True),
    encounter("clinical-encounter"),
    reference("entry", "section.entry", ANY),
    clinical_identifier(),
    patient(),
    code("status", "status", "composition-status"),
    subject(ANY),
    string("title", "title"),
    token("type", "type", "clinical-type"),
)

LIST: Final = resource_type(
    "List",
    clinical_code(),
    date("date", "date", "clinical-date", when=True),
    encounter("clinical-encounter"),
    clinical_identifier(),
    reference("item", "entry.item", ANY),
    patient(),
    reference("source", "source", "Device Patient Practitioner PractitionerRole"),
    code("status", "status", "list-status"),
    subject("Patient Group Device Location"),
    string("title", "title"),
)

QUESTIONNAIRE_RESPONSE: Final = resource_type(
    "QuestionnaireResponse",
    date("authored", "authored", when=True),
    reference("author", "author", _AUTHORS),
    reference("based-on", "basedOn", "ServiceRequest CarePlan", keyed=2),
    encounter(),
    identifier(),
    patient("subject", "QuestionnaireResponse-patient"),
    code("status", "status", "questionnaire-answers-status"),
    subject(ANY),
)

PROVENANCE: Final = resource_type(
    "Provenance",
    reference("agent", "agent.who", _AUTHORS),
    token("agent-role", "agent.role"),
    token("agent-type", "agent.type"),
    reference("entity", "entity.what", ANY),
    reference("location", "location", "Location"),
    patient("target", "Provenance-patient"),
    date("recorded", "recorded", when=True),
    token("signature-type", "signature.type"),
    reference("target", "target", ANY, narrower="patient", keyed=2),
    date("when", "occurredDateTime"),
)

_BUNDLE: Final = resource_type(
    "Bundle",
    identifier(),
    date("timestamp", "timestamp", when=True),
    code("type", "type", "bundle-type"),
)
BUNDLE: Final = ResourceType(
    _BUNDLE.name,
    (
        *_BUNDLE.parameters,
        Parameter(
            "patient",
            SearchType.REFERENCE,
            PATIENTS,
            targets=("Patient",),
            only="Patient",
            keyed=5,
            documentation="The patients in it, and those that its entries refer to. Not of R4.",
        ),
    ),
)
"""Bundles, kept whole. What R4 calls `composition` and `message` is inside, and found nowhere else."""
