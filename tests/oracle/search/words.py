"""The few words of made-up worlds, evil ones among them: alike but for a case, a system, or a character."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE: Final = "https://dod.example/fhir/R4/lab/Production"
ELSEWHERE: Final = "https://elsewhere.example/fhir"
LOINC: Final = "http://loinc.org"
V2: Final = ("http://terminology.hl7.org/CodeSystem/v2-0074", "http://hl7.org/fhir/v2/0074")
# Alike but for the system, the case, or a character that a query must escape.
IDENTIFIER_SYSTEMS: Final = ("urn:ids", "urn:IDS", "urn:ids:more", None)
IDENTIFIER_VALUES: Final = ("A1", "a1", "A", "1", "A,1", "A|1", "urn:ids|A1", "A\\1", "A$1", "p1", "ö 1")
CODE_SYSTEMS: Final = (LOINC, "urn:codes", *V2, None)
FEW_CODES: Final = ("LAB", "lab", "58410-2")
"""Codes of what is observed: a composite asks for a code together with a value."""
CODES: Final = ("LAB", "lab", "58410-2", "8410-2", "a,b", "a|b", "a\\b", "a$b", "\\")
DISPLAYS: Final = ("Blood count", "blood  Count, automated", "Zählung", "O'Count", "Lab, count")
FAMILIES: Final = ("Müller", "Muller", "mull", "O'Brien", "Carreño Quiñones", "Smith-Jones", "Smith, J")
CITIES: Final = ("Köln", "St. John's", "koln", "Frankfurt am Main")
PHONES: Final = ("555-1", "a@b.example", "A@B.example", "555|1")
URLS: Final = ("urn:file", "urn:File", "Binary/1")
NARRATIVES: Final = ("<b>Blood</b>&amp;Count", "Z&#228;hlung, O'Count", "<p>Smith</p><p>Jones</p>", "final")
GIVENS: Final = ("Ana", "Ánna", "José", "Jo", "Mary Ann")
STATUSES: Final = ("final", "preliminary", "amended", "entered-in-error")
DATES: Final = (
    "2019",
    "2020",
    "2020-01",
    "2020-02",
    "2020-02-29",
    "2019-12-31",
    "2020-01-01",
    "2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00.000Z",
    "2020-01-01T01:00:00+01:00",
    "2019-12-31T23:59:59.999Z",
    "2019-12-31T23:59:59Z",
    "2019-12-31T22:30:00-05:00",
    "2020-01-31T23:59:59.999-02:00",
    "2020-02-29T12:00:00.5Z",
)
INSTANTS: Final = tuple(date for date in DATES if "T" in date)
TAGS: Final = ("t1", "t2", "a|b")
PROFILES: Final = ("http://example.org/p", "http://example.org/P", "http://example.org/p,q")
NUMBERS: Final = (5, 5.4, 5.35, 5.45, 5.0, 100, 99.5, 0, -5.4)
UNITS: Final = ("mg", "mL", "mg/dL")
UCUM: Final = "http://unitsofmeasure.org"
IDS: Final[dict[str, Sequence[str]]] = {
    "Patient": ("p1", "p2", "p3", "p4", "P1", "x1"),
    "Organization": ("g1", "g2", "x1"),
    "Practitioner": ("d1", "d2", "x1"),
    "Encounter": ("e1", "e2", "e3"),
    "ServiceRequest": ("o1", "o2", "o3", "A1"),
    "Specimen": ("s1", "s2"),
    "Observation": tuple(f"b{n}" for n in range(1, 13)),
    "DocumentReference": ("f1", "f2", "f3", "f4", "f5"),
    "Media": ("m1", "m2"),
    "Provenance": ("v1", "v2", "v3", "v4"),
    "DiagnosticReport": tuple(f"r{n}" for n in range(1, 26)),
}
"""Ids of what may be stored; a reference may also name what never arrives."""
REFERRED: Final = {
    **{type: (*ids, "absent") for type, ids in IDS.items()},
    "Group": ("x1",),
    "Device": ("p1",),
}
