"""Reports and what they are made of. https://hl7.org/fhir/R4/diagnostics-module.html"""

from __future__ import annotations

from typing import Final

from store.search.rows.builders import (
    ANY,
    clinical_code,
    clinical_identifier,
    code,
    composite,
    date,
    either,
    encounter,
    identifier,
    part,
    patient,
    quantity,
    reference,
    string,
    subject,
    token,
)
from store.search.rows.parameter import Parameter, SearchType
from store.search.rows.resource_type import resource_type

_READERS: Final = "Practitioner PractitionerRole Organization CareTeam"
_SUBJECTS: Final = "Patient Group Device Location"

DIAGNOSTIC_REPORT: Final = resource_type(
    "DiagnosticReport",
    reference(
        "based-on",
        "basedOn",
        "ServiceRequest CarePlan ImmunizationRecommendation MedicationRequest NutritionOrder",
        keyed=2,
    ),
    token("category", "category", scoped=True),
    clinical_code(),
    token("conclusion", "conclusionCode"),
    date("date", "effectiveDateTime | effectivePeriod", "clinical-date", when=True),
    encounter("clinical-encounter", aliases=("context",)),
    clinical_identifier(),
    date("issued", "issued"),
    reference("media", "media.link", "Media"),
    patient(),
    reference("performer", "performer", _READERS),
    reference("result", "result", "Observation"),
    reference("results-interpreter", "resultsInterpreter", _READERS, aliases=("resultsInterpreter",)),
    reference("specimen", "specimen", "Specimen", keyed=3),
    code("status", "status", "diagnostic-report-status", scoped=True),
    subject(_SUBJECTS),
    Parameter(
        "order",
        SearchType.SPECIAL,
        "",
        members=("based-on", "based-on.identifier", "identifier"),
        documentation="Upstream's name: the order, as a reference or by its number, or the order number"
        " among the report's own identifiers. With a modifier or a chain it is `based-on`.",
    ),
)

_CODE: Final = clinical_code()
_VALUE_CONCEPT: Final = token("value-concept", "valueCodeableConcept")
_VALUE_STRING: Final = string("value-string", "valueString | valueCodeableConcept.text")
_VALUE_DATE: Final = date("value-date", "valueDateTime | valuePeriod")
# The registry has SampledData in those for quantities: a series, of which no single number could be asked.
_VALUE_QUANTITY: Final = quantity("value-quantity", "valueQuantity")
_COMPONENT_CODE: Final = part("code", SearchType.TOKEN, "code")

OBSERVATION: Final = resource_type(
    "Observation",
    reference(
        "based-on",
        "basedOn",
        "ServiceRequest CarePlan DeviceRequest ImmunizationRecommendation MedicationRequest NutritionOrder",
        keyed=2,
    ),
    token("category", "category", scoped=True),
    _CODE,
    date(
        "date",
        "effectiveDateTime | effectivePeriod | effectiveInstant | effectiveTiming",
        "clinical-date",
        when=True,
    ),
    encounter("clinical-encounter"),
    clinical_identifier(),
    patient(),
    reference("performer", "performer", f"{_READERS} Patient RelatedPerson"),
    reference("specimen", "specimen", "Specimen", keyed=3),
    code("status", "status", "observation-status"),
    token("combo-code", "code | component.code"),
    token("combo-data-absent-reason", "dataAbsentReason | component.dataAbsentReason"),
    token("component-code", "component.code"),
    token("component-data-absent-reason", "component.dataAbsentReason"),
    token("data-absent-reason", "dataAbsentReason"),
    token("method", "method"),
    _VALUE_CONCEPT,
    token("component-value-concept", "component.valueCodeableConcept"),
    token("combo-value-concept", "valueCodeableConcept | component.valueCodeableConcept"),
    _VALUE_STRING,
    _VALUE_DATE,
    _VALUE_QUANTITY,
    quantity("component-value-quantity", "component.valueQuantity"),
    quantity("combo-value-quantity", "valueQuantity | component.valueQuantity"),
    composite("code-value-concept", _CODE, _VALUE_CONCEPT),
    composite("code-value-string", _CODE, _VALUE_STRING),
    composite("code-value-date", _CODE, _VALUE_DATE),
    composite("code-value-quantity", _CODE, _VALUE_QUANTITY),
    composite(
        "component-code-value-concept",
        _COMPONENT_CODE,
        part("value", SearchType.TOKEN, "valueCodeableConcept"),
        expression="component",
    ),
    composite(
        "component-code-value-quantity",
        _COMPONENT_CODE,
        part("value", SearchType.QUANTITY, "valueQuantity"),
        expression="component",
    ),
    either("combo-code-value-concept", "code-value-concept", "component-code-value-concept"),
    either("combo-code-value-quantity", "code-value-quantity", "component-code-value-quantity"),
    reference(
        "derived-from",
        "derivedFrom",
        "DocumentReference ImagingStudy Media MolecularSequence Observation QuestionnaireResponse",
    ),
    reference("device", "device", "Device DeviceMetric"),
    reference("focus", "focus", ANY),
    reference("has-member", "hasMember", "MolecularSequence Observation QuestionnaireResponse"),
    reference(
        "part-of",
        "partOf",
        "ImagingStudy Immunization MedicationAdministration MedicationDispense MedicationStatement Procedure",
    ),
    subject(_SUBJECTS),
)

SPECIMEN: Final = resource_type(
    "Specimen",
    identifier("accession", "accessionIdentifier"),
    token("bodysite", "collection.bodySite"),
    date("collected", "collection.collectedDateTime | collection.collectedPeriod"),
    reference("collector", "collection.collector", "Practitioner PractitionerRole"),
    token("container", "container.type"),
    identifier("container-id", "container.identifier"),
    identifier(),
    reference("parent", "parent", "Specimen"),
    patient("subject", "Specimen-patient"),
    code("status", "status", "specimen-status"),
    subject(f"{_SUBJECTS} Substance"),
    token("type", "type"),
)

IMAGING_STUDY: Final = resource_type(
    "ImagingStudy",
    reference(
        "basedon",
        "basedOn",
        "ServiceRequest Appointment AppointmentResponse CarePlan Task",
        keyed=2,
    ),
    token("bodysite", "series.bodySite"),
    token("dicom-class", "series.instance.sopClass"),
    encounter(),
    reference("endpoint", "endpoint | series.endpoint", "Endpoint"),
    clinical_identifier(),
    token("instance", "series.instance.uid", plain=True),
    reference("interpreter", "interpreter", "Practitioner PractitionerRole"),
    token("modality", "series.modality"),
    patient(),
    reference("performer", "series.performer.actor", f"{_READERS} Device Patient RelatedPerson"),
    token("reason", "reasonCode"),
    reference("referrer", "referrer", "Practitioner PractitionerRole"),
    token("series", "series.uid", plain=True),
    date("started", "started", when=True),
    code("status", "status", "imagingstudy-status"),
    subject("Patient Group Device"),
)

MEDIA: Final = resource_type(
    "Media",
    reference("based-on", "basedOn", "ServiceRequest CarePlan", keyed=2),
    date("created", "createdDateTime | createdPeriod", when=True),
    reference("device", "device", "Device DeviceMetric"),
    encounter(),
    identifier(),
    token("modality", "modality"),
    reference("operator", "operator", f"{_READERS} Device Patient RelatedPerson"),
    patient("subject", "Media-patient"),
    token("site", "bodySite"),
    code("status", "status", "event-status"),
    subject(f"{_SUBJECTS} Practitioner PractitionerRole Specimen"),
    token("type", "type"),
    token("view", "view"),
)

MOLECULAR_SEQUENCE: Final = resource_type(
    "MolecularSequence", identifier(), patient("patient", "MolecularSequence-patient")
)
