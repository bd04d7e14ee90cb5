"""Profiles of US Core whose searches are all served, for `/metadata`.

US Core 6.1 asks of each type that a server supports for searches by these parameters, alone and together.
https://hl7.org/fhir/us/core/STU6.1/CapabilityStatement-us-core-server.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.search.parameters import ResourceType

SERVER: Final = "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"
_PROFILE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"


class Asked(NamedTuple):
    """Requirements for profiles of a type."""

    profiles: str
    """Names of them, without what they have in common."""
    parameters: str
    """Search parameters that a server shall support, and those of the combinations that it shall."""


_ASKED: Final[Mapping[str, Asked]] = {
    "AllergyIntolerance": Asked("allergyintolerance", "patient"),
    "CarePlan": Asked("careplan", "patient category"),
    "CareTeam": Asked("careteam", "patient status"),
    "Condition": Asked(
        "condition-encounter-diagnosis condition-problems-health-concerns", "patient category"
    ),
    "Device": Asked("implantable-device", "patient"),
    "DiagnosticReport": Asked("diagnosticreport-lab diagnosticreport-note", "patient category code date"),
    "Encounter": Asked("encounter", "_id patient date"),
    "Immunization": Asked("immunization", "patient"),
    "Location": Asked("location", "name address"),
    "MedicationRequest": Asked("medicationrequest", "patient intent status"),
    "Observation": Asked(
        "observation-lab observation-clinical-result observation-screening-assessment simple-observation"
        " smokingstatus",
        "patient category code date",
    ),
    "Organization": Asked("organization", "name address"),
    "Patient": Asked("patient", "_id identifier name birthdate gender"),
    "Practitioner": Asked("practitioner", "_id identifier name"),
    "PractitionerRole": Asked("practitionerrole", "practitioner specialty"),
    "Procedure": Asked("procedure", "patient date"),
    "Provenance": Asked("provenance", "target"),
    "RelatedPerson": Asked("relatedperson", "_id"),
    "ServiceRequest": Asked("servicerequest", "_id patient category code authored"),
    "Specimen": Asked("specimen", "_id"),
}
"""Searches by type. Not DocumentReference: it takes the operation `$docref`."""


def profiles_of(row: ResourceType) -> list[str]:
    """The profiles of US Core that a type supports: those whose parameters it has."""
    asked = _ASKED.get(row.name)
    if asked is None or not {*asked.parameters.split()} <= row.by_name.keys():
        return []
    return [_PROFILE + name for name in asked.profiles.split()]
