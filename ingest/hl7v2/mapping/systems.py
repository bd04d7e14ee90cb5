"""Names of coding systems and assigning authorities as URIs. HL7 tables 0396, 0301 and 0203."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ingest.hl7v2.mapping.context import URN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.hl7v2.mapping.context import Context

V2: Final = "http://terminology.hl7.org/CodeSystem/v2-"
"""Prefix of the number of a table of HL7 v2."""
V3: Final = "http://terminology.hl7.org/CodeSystem/v3-"
UCUM: Final = "http://unitsofmeasure.org"
LOINC: Final = "http://loinc.org"
NPI: Final = "http://hl7.org/fhir/sid/us-npi"
SSN: Final = "http://hl7.org/fhir/sid/us-ssn"
SYSTEMS: Final[Mapping[str, str]] = {
    "LN": LOINC,
    "LOINC": LOINC,
    "SCT": "http://snomed.info/sct",
    "SCT2": "http://snomed.info/sct",
    "SNOMED": "http://snomed.info/sct",
    "SNOMED-CT": "http://snomed.info/sct",
    "SNOMEDCT": "http://snomed.info/sct",
    "UCUM": UCUM,
    "I9": "http://hl7.org/fhir/sid/icd-9-cm",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "I9CDX": "http://hl7.org/fhir/sid/icd-9-cm",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "ICD10": "http://hl7.org/fhir/sid/icd-10",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "I10CDX": "http://hl7.org/fhir/sid/icd-10-cm",
    "I10P": "http://www.cms.gov/Medicare/Coding/ICD10",
    "C4": "http://www.ama-assn.org/go/cpt",
    "CPT": "http://www.ama-assn.org/go/cpt",
    "CPT4": "http://www.ama-assn.org/go/cpt",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "MVX": "http://hl7.org/fhir/sid/mvx",
    "CDCREC": "urn:oid:2.16.840.1.113883.6.238",
    "ISO3166": "urn:iso:std:iso:3166",
    "ISO3166_1": "urn:iso:std:iso:3166",
    "ISO639": "urn:ietf:bcp:47",
    "DCM": "http://dicom.nema.org/resources/ontology/DCM",
    "ATC": "http://www.whocc.no/atc",
    "NUCC": "http://nucc.org/provider-taxonomy",
}
OIDS: Final[Mapping[str, str]] = {
    "1.2.840.10008.2.16.4": SYSTEMS["DCM"],
    "2.16.840.1.113883.6.1": LOINC,
    "2.16.840.1.113883.6.3": SYSTEMS["I10"],
    "2.16.840.1.113883.6.8": UCUM,
    "2.16.840.1.113883.6.12": SYSTEMS["CPT"],
    "2.16.840.1.113883.6.69": SYSTEMS["NDC"],
    "2.16.840.1.113883.6.73": SYSTEMS["ATC"],
    "2.16.840.1.113883.6.88": SYSTEMS["RXNORM"],
    "2.16.840.1.113883.6.90": SYSTEMS["I10C"],
    "2.16.840.1.113883.6.96": SYSTEMS["SCT"],
    "2.16.840.1.113883.6.101": SYSTEMS["NUCC"],
    "2.16.840.1.113883.6.103": SYSTEMS["I9"],
    "2.16.840.1.113883.6.104": SYSTEMS["I9"],
    "2.16.840.1.113883.12.292": SYSTEMS["CVX"],
}
"""URIs that R4 has for code systems, by OID: it wants the URI. https://hl7.org/fhir/R4/terminologies-systems.html"""
_TABLE: Final = re.compile(r"HL7-?(\d{4})")
_LOCAL: Final = re.compile(r"L|LOCAL|99.*")
_OID: Final = re.compile(r"(?:urn:oid:)?([0-2](?:\.(?:0|[1-9]\d*))+)")
_UUID: Final = re.compile(r"(?:urn:uuid:)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.IGNORECASE)

IDENTIFIER_TYPES: Final[Mapping[str, str]] = {"MRN": "MR", "SSN": "SS", "NHSNMBR": "NH", "DLN": "DL"}
"""Types of numbers that senders write in place of those of HL7 table 0203."""


@lru_cache(maxsize=1_024)
def known_system(name: str, sender: str) -> str:
    """The URI of a coding system; what no table knows gets a name of its own, a local one its sender's."""
    known = SYSTEMS.get(name.upper())
    if known is not None:
        return known
    if match := _TABLE.fullmatch(name.upper()):
        return V2 + match[1]
    if match := _OID.fullmatch(name):
        return OIDS.get(match[1], f"urn:oid:{match[1]}")
    if _URI.fullmatch(name):
        return name
    if _LOCAL.fullmatch(name.upper()):
        return f"{URN}local:{quote(sender, safe='')}:{quote(name, safe='')}"
    return f"{URN}system:{quote(name, safe='')}"


def coding_system(context: Context, name: str) -> str:
    """The URI of a coding system of CWE-3: that of the profile, else the known one."""
    return context.profile.systems.get(name) or known_system(name, context.sender)


def authority(context: Context, raw: str, *, separator: str) -> str:
    """The identifier system of an HD (namespace, universal id, its type); empty: it names none."""
    key = (raw, separator == context.component)
    known = context.authorities.get(key)
    if known is None:
        parts = [context.plain(part).strip() for part in raw.split(separator)]
        namespace, universal, kind = (*parts, "", "", "")[:3]
        known = context.authorities[key] = _authority(context, namespace, universal, kind)
    return known


def _authority(context: Context, namespace: str, universal: str, kind: str) -> str:
    told = context.profile.authorities
    for name in (universal, namespace):
        if name and name in told:
            return told[name]
    if universal:
        return universal_uri(universal, kind)
    if not namespace:
        return ""
    # A number within `1.2.3` without a type is one of an OID that stands in the wrong component.
    return (
        universal_uri(namespace, "")
        if _OID.fullmatch(namespace)
        else f"{URN}authority:{quote(namespace, safe='')}"
    )


@lru_cache(maxsize=1_024)
def universal_uri(universal: str, kind: str) -> str:
    """The URI of a universal id, by its type (HL7 table 0301)."""
    if kind.upper() == "NPI":
        return NPI
    if match := _OID.fullmatch(universal):
        return (
            SSN
            if match[1] == "2.16.840.1.113883.4.1"
            else NPI
            if match[1] == "2.16.840.1.113883.4.6"
            else f"urn:oid:{match[1]}"
        )
    if match := _UUID.fullmatch(universal):
        return f"urn:uuid:{match[1].lower()}"
    if _URI.fullmatch(universal):
        return universal
    named = f"{quote(kind.upper(), safe='')}:" if kind else ""
    return f"{URN}authority:{named}{quote(universal, safe='')}"
