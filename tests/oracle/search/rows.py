"""Rows of R4's registry of parameters, in as few words as brute force needs.

Names, paths and targets are the registry's; none is taken from `store.search` by import. https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Row(NamedTuple):
    """A search parameter: its kind, where it looks, what its references may point at."""

    kind: str
    paths: str
    targets: tuple[str, ...] = ()
    system: str = ""
    """System of codes: that of their binding. Of ContactPoints: the only kind that counts."""
    only: str = ""
    """References to this type alone, as `resolve() is …` says."""
    parts: tuple[Row, ...] = ()
    """Parts of a composite, beneath the element at `paths`, or the resource."""


def ref(paths: str, targets: str) -> Row:
    return Row("reference", paths, tuple(targets.split()))


def token(paths: str) -> Row:
    return Row("token", paths)


def date(paths: str) -> Row:
    return Row("date", paths)


def string(paths: str) -> Row:
    return Row("string", paths)


def code(paths: str, system: str) -> Row:
    return Row("code", paths, system=system if ":" in system else f"http://hl7.org/fhir/{system}")


def composite(paths: str, *parts: Row) -> Row:
    return Row("composite", paths, parts=parts)


READERS: Final = "CareTeam Organization Practitioner PractitionerRole"
AUTHORS: Final = "Practitioner PractitionerRole Organization Patient RelatedPerson Device"
SUBJECTS: Final = "Device Group Location Patient"
ANY: Final = (
    *("DiagnosticReport", "Device", "DocumentReference", "Encounter", "Group", "Location", "Media"),
    *("Observation", "Organization", "Patient", "Practitioner", "Provenance", "ServiceRequest", "Specimen"),
)
"""As many of all types as the worlds know."""

COMMON: Final = {
    "_id": Row("id", "id"),
    "_type": Row("id", "resourceType"),
    "_lastUpdated": date("meta.lastUpdated"),
    "_tag": token("meta.tag"),
    "_security": token("meta.security"),
    "_profile": Row("uri", "meta.profile"),
    "_source": Row("uri", "meta.source"),
    "_text": Row("words", "text.div"),
    "_content": Row("words", ""),
}
ACTIVE: Final = Row("boolean", "active")
IDENTIFIER: Final = Row("identifier", "identifier")
SUBJECT: Final = ref("subject", SUBJECTS)
ENCOUNTER: Final = ref("encounter", "Encounter")
ADDRESS: Final = {
    "address": string("address"),
    "address-city": string("address.city"),
    "address-country": string("address.country"),
    "address-postalcode": string("address.postalCode"),
    "address-state": string("address.state"),
    "address-use": code("address.use", "address-use"),
}
PERSON: Final = {
    "active": ACTIVE,
    "name": string("name"),
    "family": string("name.family"),
    "given": string("name.given"),
    "gender": code("gender", "administrative-gender"),
    "identifier": IDENTIFIER,
    "telecom": Row("contact", "telecom"),
    "phone": Row("contact", "telecom", system="phone"),
    "email": Row("contact", "telecom", system="email"),
    **ADDRESS,
}


def patient(paths: str = "subject") -> Row:
    return Row("reference", paths, ("Patient",), only="Patient")


VALUE_CONCEPT: Final = token("valueCodeableConcept")
VALUE_STRING: Final = string("valueString valueCodeableConcept.text")
VALUE_DATE: Final = date("valueDateTime valuePeriod")
VALUE_QUANTITY: Final = Row("quantity", "valueQuantity")

ROWS: Final[dict[str, dict[str, Row]]] = {
    "DiagnosticReport": {
        "based-on": ref(
            "basedOn", "CarePlan ImmunizationRecommendation MedicationRequest NutritionOrder ServiceRequest"
        ),
        "category": token("category"),
        "code": token("code"),
        "conclusion": token("conclusionCode"),
        "date": date("effectiveDateTime effectivePeriod"),
        "encounter": ENCOUNTER,
        "identifier": IDENTIFIER,
        "issued": date("issued"),
        "media": ref("media.link", "Media"),
        "patient": patient(),
        "performer": ref("performer", READERS),
        "result": ref("result", "Observation"),
        "results-interpreter": ref("resultsInterpreter", READERS),
        "specimen": ref("specimen", "Specimen"),
        "status": code("status", "diagnostic-report-status"),
        "subject": SUBJECT,
    },
    "Patient": {
        **PERSON,
        "birthdate": date("birthDate"),
        "death-date": date("deceasedDateTime"),
        "deceased": Row("presence", "deceasedBoolean deceasedDateTime"),
        "general-practitioner": ref("generalPractitioner", "Organization Practitioner PractitionerRole"),
        "language": token("communication.language"),
        "link": ref("link.other", "Patient RelatedPerson"),
        "organization": ref("managingOrganization", "Organization"),
    },
    "Practitioner": {**PERSON, "communication": token("communication")},
    "Organization": {
        "active": ACTIVE,
        "identifier": IDENTIFIER,
        "name": string("name alias"),
        "partof": ref("partOf", "Organization"),
        "type": token("type"),
        **ADDRESS,
    },
    "Observation": {
        "based-on": ref(
            "basedOn",
            "CarePlan DeviceRequest ImmunizationRecommendation MedicationRequest NutritionOrder"
            " ServiceRequest",
        ),
        "category": token("category"),
        "code": token("code"),
        "code-value-concept": composite("", token("code"), VALUE_CONCEPT),
        "code-value-date": composite("", token("code"), VALUE_DATE),
        "code-value-quantity": composite("", token("code"), VALUE_QUANTITY),
        "code-value-string": composite("", token("code"), VALUE_STRING),
        "combo-code": token("code component.code"),
        "combo-code-value-concept": composite(". component", token("code"), VALUE_CONCEPT),
        "combo-code-value-quantity": composite(". component", token("code"), VALUE_QUANTITY),
        "combo-data-absent-reason": token("dataAbsentReason component.dataAbsentReason"),
        "combo-value-concept": token("valueCodeableConcept component.valueCodeableConcept"),
        "combo-value-quantity": Row("quantity", "valueQuantity component.valueQuantity"),
        "component-code": token("component.code"),
        "component-code-value-concept": composite("component", token("code"), VALUE_CONCEPT),
        "component-code-value-quantity": composite("component", token("code"), VALUE_QUANTITY),
        "component-value-concept": token("component.valueCodeableConcept"),
        "component-value-quantity": Row("quantity", "component.valueQuantity"),
        "data-absent-reason": token("dataAbsentReason"),
        "date": date("effectiveDateTime effectivePeriod effectiveInstant effectiveTiming"),
        "encounter": ENCOUNTER,
        "has-member": ref("hasMember", "MolecularSequence Observation QuestionnaireResponse"),
        "identifier": IDENTIFIER,
        "method": token("method"),
        "patient": patient(),
        "performer": ref("performer", f"{READERS} Patient RelatedPerson"),
        "specimen": ref("specimen", "Specimen"),
        "status": code("status", "observation-status"),
        "subject": SUBJECT,
        "value-concept": VALUE_CONCEPT,
        "value-date": VALUE_DATE,
        "value-quantity": VALUE_QUANTITY,
        "value-string": VALUE_STRING,
    },
    "ServiceRequest": {
        "authored": date("authoredOn"),
        "based-on": ref("basedOn", "CarePlan MedicationRequest ServiceRequest"),
        "body-site": token("bodySite"),
        "category": token("category"),
        "code": token("code"),
        "encounter": ENCOUNTER,
        "identifier": IDENTIFIER,
        "intent": code("intent", "request-intent"),
        "occurrence": date("occurrenceDateTime occurrencePeriod occurrenceTiming"),
        "patient": patient(),
        "priority": code("priority", "request-priority"),
        "requester": ref("requester", "Device Organization Patient Practitioner PractitionerRole"),
        "requisition": Row("identifier", "requisition"),
        "specimen": ref("specimen", "Specimen"),
        "status": code("status", "request-status"),
        "subject": SUBJECT,
    },
    "Encounter": {
        "class": token("class"),
        "date": date("period"),
        "identifier": IDENTIFIER,
        "length": Row("quantity", "length"),
        "part-of": ref("partOf", "Encounter"),
        "participant": ref("participant.individual", "Practitioner PractitionerRole RelatedPerson"),
        "participant-type": token("participant.type"),
        "patient": patient(),
        "practitioner": Row("reference", "participant.individual", ("Practitioner",), only="Practitioner"),
        "reason-code": token("reasonCode"),
        "service-provider": ref("serviceProvider", "Organization"),
        "status": code("status", "encounter-status"),
        "subject": ref("subject", "Group Patient"),
        "type": token("type"),
    },
    "Specimen": {
        "accession": Row("identifier", "accessionIdentifier"),
        "bodysite": token("collection.bodySite"),
        "collected": date("collection.collectedDateTime collection.collectedPeriod"),
        "collector": ref("collection.collector", "Practitioner PractitionerRole"),
        "container": token("container.type"),
        "container-id": Row("identifier", "container.identifier"),
        "identifier": IDENTIFIER,
        "parent": ref("parent", "Specimen"),
        "patient": patient(),
        "status": code("status", "specimen-status"),
        "subject": ref("subject", f"{SUBJECTS} Substance"),
        "type": token("type"),
    },
    "DocumentReference": {
        "author": ref("author", AUTHORS),
        "category": token("category"),
        "contenttype": code("content.attachment.contentType", "urn:ietf:bcp:13"),
        "custodian": ref("custodian", "Organization"),
        "date": date("date"),
        "description": string("description"),
        "encounter": ref("context.encounter", "Encounter EpisodeOfCare"),
        "event": token("context.event"),
        "format": token("content.format"),
        "identifier": Row("identifier", "masterIdentifier identifier"),
        "location": Row("uri", "content.attachment.url"),
        "patient": patient(),
        "period": date("context.period"),
        "related": ref("context.related", " ".join(ANY)),
        "relatesto": ref("relatesTo.target", "DocumentReference"),
        "relation": code("relatesTo.code", "document-relationship-type"),
        "relationship": composite("relatesTo", ref("target", "DocumentReference"), token("code")),
        "status": code("status", "document-reference-status"),
        "subject": ref("subject", "Device Group Patient Practitioner"),
        "type": token("type"),
    },
    "Media": {
        "based-on": ref("basedOn", "CarePlan ServiceRequest"),
        "created": date("createdDateTime createdPeriod"),
        "encounter": ENCOUNTER,
        "identifier": IDENTIFIER,
        "modality": token("modality"),
        "operator": ref(
            "operator", "CareTeam Device Organization Patient Practitioner PractitionerRole RelatedPerson"
        ),
        "patient": patient(),
        "site": token("bodySite"),
        "status": code("status", "event-status"),
        "subject": ref("subject", f"{SUBJECTS} Practitioner PractitionerRole Specimen"),
        "type": token("type"),
        "view": token("view"),
    },
    "Provenance": {
        "agent": ref("agent.who", AUTHORS),
        "agent-role": token("agent.role"),
        "agent-type": token("agent.type"),
        "patient": patient("target"),
        "recorded": date("recorded"),
        "target": ref("target", " ".join(ANY)),
        "when": date("occurredDateTime"),
    },
}
ALIASES: Final = {"context": "encounter", "resultsInterpreter": "results-interpreter"}
"""Upstream's names, of DiagnosticReport alone (`DECISIONS.md#aliases`)."""
CLINICAL_DATE: Final = {
    "DiagnosticReport": "date",
    "Observation": "date",
    "ServiceRequest": "authored",
    "Encounter": "date",
    "DocumentReference": "date",
    "Media": "created",
    "Provenance": "recorded",
}
"""By which a type is ordered when nobody says how."""
