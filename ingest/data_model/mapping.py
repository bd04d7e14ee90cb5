"""The mapping between upstream's Data Model and FHIR R4, object by object; `docs/data-model.md` shows it."""

from __future__ import annotations

from typing import Final

from ingest.data_model.codecs import (
    BOOLEAN,
    DATE,
    DATETIME,
    DECIMAL,
    ETHNICITY,
    FLAG,
    INSTANT,
    MARITAL,
    ORDER_STATUS,
    PRIORITY,
    REPORT_STATUS,
    RESULT_STATUS,
    SEX,
    codeset,
)
from ingest.data_model.table import URN, Row, Table, under

CORE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
NOTE: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"
CITIZENSHIP: Final = "http://hl7.org/fhir/StructureDefinition/patient-citizenship"
SUB_ID: Final = "http://hl7.org/fhir/StructureDefinition/observation-v2-subid"
LANGUAGES: Final = "urn:ietf:bcp:47"
CODESET: Final = codeset("")

ADDRESS: Final = (
    Row("StreetAddress", "line[0]"),
    Row("City", "city"),
    Row("State", "state"),
    Row("ZIP", "postalCode"),
    Row("County", "district"),
    Row("Country", "country"),
)
PHONES: Final = (
    Row("PhoneNumber.Home", "telecom[system=phone,use=home].value"),
    Row("PhoneNumber.Office", "telecom[system=phone,use=work].value"),
    Row("PhoneNumber.Mobile", "telecom[system=phone,use=mobile].value"),
)
EMAILS: Final = Row("EmailAddresses[]", "telecom[system=email,*].value")
CODED: Final = (
    Row("Code", "coding[0].code"),
    Row("Codeset", "coding[0].system", CODESET, "HL7 table 0396, else a name of the source's own"),
    Row("Description", "text"),
)


def _own(path: str) -> Row:
    """A row of what no element of FHIR holds: an extension."""
    many = path.endswith("[]")
    bare = path.removesuffix("[]")
    return Row(path, f"extension[url={URN}{bare}{',*' if many else ''}].valueString")


PATIENT: Final = Table(
    "Patient",
    "Patient",
    Row("Demographics.FirstName", "name[0].given[0]"),
    Row("Demographics.MiddleName", "name[0].given[1]", note="without FirstName an extension"),
    Row("Demographics.LastName", "name[0].family"),
    Row("Demographics.DOB", "birthDate", DATE),
    Row("Demographics.Sex", "gender", SEX),
    Row("Demographics.Race", f"extension[url={CORE}race].extension[url=text].valueString"),
    Row(
        "Demographics.IsHispanic",
        f"extension[url={CORE}ethnicity].extension[url=text].valueString",
        ETHNICITY,
    ),
    Row("Demographics.MaritalStatus", "maritalStatus", MARITAL),
    Row("Demographics.IsDeceased", "deceasedBoolean", BOOLEAN, "true where DeathDateTime is"),
    Row("Demographics.DeathDateTime", "deceasedDateTime", DATETIME),
    *under("Demographics", (*PHONES, EMAILS)),
    Row("Demographics.Language", "communication[0].language.coding[0].code"),
    Row(
        "Demographics.Citizenship[]",
        f"extension[url={CITIZENSHIP},*].extension[url=code].valueCodeableConcept.text",
    ),
    *under("Demographics.Address", ADDRESS, "address[0]"),
    _own("Notes[]"),
)
CONTACT: Final = Table(
    "Patient.Contacts[]",
    "Patient.contact",
    Row("FirstName", "name.given[0]"),
    Row("MiddleName", "name.given[1]", note="without FirstName an extension"),
    Row("LastName", "name.family"),
    *under("Address", ADDRESS, "address"),
    *PHONES,
    EMAILS,
    Row("RelationToPatient", "relationship[0].text"),
    _own("Roles[]"),
)
PROVIDER: Final = Table(
    "Provider",
    "Practitioner",
    Row("FirstName", "name[0].given[0]"),
    Row("MiddleName", "name[0].given[1]", note="without FirstName an extension"),
    Row("LastName", "name[0].family"),
    Row("Credentials[]", "name[0].suffix[*]"),
    *under("Address", ADDRESS, "address[0]"),
    *PHONES,
    EMAILS,
    *(_own(f"Location.{part}") for part in ("Type", "Facility", "Department", "Room")),
)
ORGANIZATION: Final = Table(
    "Producer",
    "Organization",
    Row("Name", "name"),
    *under("Address", ADDRESS, "address[0]"),
    *PHONES,
)
SPECIMEN: Final = Table(
    "Specimen",
    "Specimen",
    Row("Source", "type.text"),
    Row("BodySite", "collection.bodySite.text"),
    Row("ID", "identifier[0].value"),
)
PLACE: Final = Table(
    "Visit.Location",
    "Encounter.location",
    *(_own(part) for part in ("Type", "Facility", "Department", "Room", "Bed")),
)
VISIT: Final = Table(
    "Visit",
    "Encounter",
    Row("VisitDateTime", "period.start", DATETIME),
)
REPORT: Final = Table(
    "Orders[]",
    "DiagnosticReport",
    Row("CollectionDateTime", "effectiveDateTime", DATETIME, "without it TransactionDateTime"),
    Row("CompletionDateTime", "issued", INSTANT),
    Row("Notes[]", f"extension[url={NOTE},*].valueAnnotation.text"),
    *under("Procedure", CODED, "code"),
    Row(
        "ResultsStatus",
        "status",
        REPORT_STATUS,
        "In Process without results: `registered`; without it, Status Cancel: `cancelled`",
    ),
)
REQUEST: Final = Table(
    "Orders[]",
    "ServiceRequest",
    Row("TransactionDateTime", "authoredOn", DATETIME),
    Row("Status", "status", ORDER_STATUS),
    _own("ResponseFlag"),
    Row("Priority", "priority", PRIORITY),
)
RESULT: Final = Table(
    "Orders[].Results[]",
    "Observation",
    *under("", CODED, "code"),
    Row(
        "RelatedGroupID",
        f"extension[url={SUB_ID}].extension[url=original-sub-identifier].valueString",
    ),
    Row("CompletionDateTime", "issued", INSTANT),
    Row("Notes[]", "note[*].text"),
    Row("AbnormalFlag", "interpretation[0]", FLAG),
    Row("Status", "status", RESULT_STATUS, "Unavailable without a value: with dataAbsentReason"),
    *under("ObservationMethod", CODED, "method"),
)
RANGE: Final = Table(
    "Orders[].Results[].ReferenceRange",
    "Observation.referenceRange",
    Row("Low", "low.value", DECIMAL),
    Row("High", "high.value", DECIMAL),
    Row("Text", "text"),
)
BY_HAND: Final = (
    ("Patient.Identifiers[].ID, IDType", "Patient.identifier.value, .type", "system: see below"),
    ("Patient.Demographics.SSN", "Patient.identifier", "system `http://hl7.org/fhir/sid/us-ssn`, type `SS`"),
    ("Visit.VisitNumber", "Encounter.identifier", "type `VN`"),
    ("Visit.AccountNumber", "Encounter.identifier", "type `AN`"),
    ("Visit.PatientClass", "Encounter.class", "v3-ActCode, else the word itself"),
    ("Visit.AttendingProvider", "Encounter.participant", "type `ATND`"),
    ("Visit.ReferringProvider", "Encounter.participant", "type `REF`"),
    ("Provider.NPI", "Practitioner.identifier", "system `http://hl7.org/fhir/sid/us-npi`, type `NPI`"),
    ("Provider.ID, IDType", "Practitioner.identifier.value, .type", ""),
    ("Producer.ID, IDType", "Organization.identifier.value, .type", ""),
    ("Orders[].ID", "DiagnosticReport.identifier, ServiceRequest.identifier", "type `PLAC`"),
    ("Orders[].ApplicationOrderID", "DiagnosticReport.identifier", "type `FILL`"),
    ("Orders[].Provider", "ServiceRequest.requester", ""),
    ("Orders[].ResultCopyProviders[]", f"ServiceRequest.extension({URN}ResultCopyProviders)", ""),
    ("Orders[].OrderingFacility", f"ServiceRequest.extension({URN}OrderingFacility)", "an Organization"),
    ("Orders[].Specimen", "DiagnosticReport.specimen", ""),
    ("Orders[].Results[].Specimen", "Observation.specimen", "and DiagnosticReport.specimen"),
    (
        "Orders[].Results[].PrimaryResultsInterpreter",
        "DiagnosticReport.resultsInterpreter",
        f"and Observation.extension({URN}PrimaryResultsInterpreter)",
    ),
    ("Orders[].Results[].Producer", "Observation.performer, DiagnosticReport.performer", "an Organization"),
    ("Orders[].Results[].Performer", "Observation.performer", "a Practitioner"),
    ("Orders[].Results[].Value, ValueType, Units, FileType", "Observation.value[x]", "see values"),
    ("Meta.EventDateTime", "Bundle.timestamp", "orders messages: older ones never replace newer ones"),
    ("Meta.Source", "MessageHeader.source", ""),
    ("Meta.Destinations[]", "MessageHeader.destination", "and the tenant"),
)
"""Paths that take more than one element, or resource, to map: functions of `to_fhir` and `from_fhir`."""
VALUES: Final = (
    ("Numeric, Money, Price", "valueQuantity", "`<5` with comparator; what is no number is valueString"),
    ("Structured Numeric", "valueQuantity with comparator, valueRange, valueRatio", "else valueString"),
    ("Coded Entry", "valueCodeableConcept", ""),
    ("Date, DateTime", "valueDateTime", "what is no date is valueString"),
    ("Time", "valueTime", "what is no time is valueString"),
    (
        "Encapsulated Data",
        "DiagnosticReport.presentedForm.data",
        "base64, the URI of an upload, or a `data:` URL; longer ones become a Binary; `Deleted`: none",
    ),
    ("Reference Pointer", "DiagnosticReport.presentedForm.url", "what is no URI is valueString"),
    ("all others", "valueString", ""),
)
"""Values by their ValueType."""
UNMAPPED: Final = (
    ("Meta.FacilityCode", "stays in the message: no element of the report holds it"),
    ("Meta.Message, Meta.Transmission", "ids of upstream's own log"),
    ("everything else that is not listed above", "named in the reply, `Meta.Warnings[]`"),
)
