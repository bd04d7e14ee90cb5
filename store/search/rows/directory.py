"""People, organizations, places, things. https://hl7.org/fhir/R4/administration-module.html"""

from __future__ import annotations

from typing import Final

from store.search.rows.builders import (
    active,
    addresses,
    called,
    code,
    date,
    gender,
    identifier,
    patient,
    reached,
    reference,
    string,
    telecoms,
    token,
    uri,
)
from store.search.rows.resource_type import resource_type

# None has `phonetic`, whose rule is that of a language; Location is without `near`, which needs a map.

PATIENT: Final = resource_type(
    "Patient",
    active(),
    date("birthdate", "birthDate", "individual-birthdate"),
    date("death-date", "deceasedDateTime"),
    token("deceased", "deceasedBoolean | deceasedDateTime", plain=True, boolean=True, presence=True),
    gender(),
    reference("general-practitioner", "generalPractitioner", "Organization Practitioner PractitionerRole"),
    identifier(),
    token("language", "communication.language"),
    reference("link", "link.other", "Patient RelatedPerson"),
    reference("organization", "managingOrganization", "Organization"),
    *called(),
    *reached(),
)

RELATED_PERSON: Final = resource_type(
    "RelatedPerson",
    active(),
    date("birthdate", "birthDate", "individual-birthdate"),
    gender(),
    identifier(),
    string("name", "name", keyed=7),
    patient("patient", "RelatedPerson-patient"),
    token("relationship", "relationship"),
    *reached(),
)

PRACTITIONER: Final = resource_type(
    "Practitioner",
    active(),
    token("communication", "communication"),
    gender(),
    identifier(),
    *called(),
    *reached(),
)

PRACTITIONER_ROLE: Final = resource_type(
    "PractitionerRole",
    active(),
    date("date", "period"),
    reference("endpoint", "endpoint", "Endpoint"),
    identifier(),
    reference("location", "location", "Location"),
    reference("organization", "organization", "Organization"),
    reference("practitioner", "practitioner", "Practitioner", keyed=2),
    token("role", "code"),
    reference("service", "healthcareService", "HealthcareService"),
    token("specialty", "specialty"),
    *telecoms(),
)

ORGANIZATION: Final = resource_type(
    "Organization",
    active(),
    reference("endpoint", "endpoint", "Endpoint"),
    identifier(),
    string("name", "name | alias", keyed=7),
    reference("partof", "partOf", "Organization"),
    token("type", "type"),
    *addresses(),
)

LOCATION: Final = resource_type(
    "Location",
    reference("endpoint", "endpoint", "Endpoint"),
    identifier(),
    string("name", "name | alias", keyed=7),
    token("operational-status", "operationalStatus"),
    reference("organization", "managingOrganization", "Organization"),
    reference("partof", "partOf", "Location"),
    code("status", "status", "location-status"),
    token("type", "type"),
    *addresses(),
)

DEVICE: Final = resource_type(
    "Device",
    string("device-name", "deviceName.name | type.coding.display | type.text"),
    identifier(),
    reference("location", "location", "Location"),
    string("manufacturer", "manufacturer"),
    string("model", "modelNumber"),
    reference("organization", "owner", "Organization"),
    patient("patient", "Device-patient"),
    code("status", "status", "device-status"),
    token("type", "type"),
    string("udi-carrier", "udiCarrier.carrierHRF"),
    string("udi-di", "udiCarrier.deviceIdentifier"),
    uri("url", "url"),
)

GROUP: Final = resource_type(
    "Group",
    token("actual", "actual", plain=True, boolean=True),
    token("code", "code"),
    identifier(),
    reference(
        "managing-entity", "managingEntity", "Organization Practitioner PractitionerRole RelatedPerson"
    ),
    reference(
        "member",
        "member.entity",
        "Device Group Medication Patient Practitioner PractitionerRole Substance",
    ),
    code("type", "type", "group-type"),
)

ENDPOINT: Final = resource_type(
    "Endpoint",
    token("connection-type", "connectionType"),
    identifier(),
    string("name", "name"),
    reference("organization", "managingOrganization", "Organization"),
    token("payload-type", "payloadType"),
    code("status", "status", "endpoint-status"),
)

MEDICATION: Final = resource_type(
    "Medication",
    token("code", "code", "clinical-code", keyed=8),
    identifier(),
    code("status", "status", "CodeSystem/medication-status"),
)
