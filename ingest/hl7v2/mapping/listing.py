"""The mapping's tables as they are read by people: for the reference page, and to check a source by. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.hl7v2.mapping.datatypes import (
    concepts,
    documents,
    identifiers,
    people,
    result_status,
    values,
)
from ingest.hl7v2.mapping.segments import (
    notes,
    observations,
    orders,
    patients,
    references,
    reports,
    specimens,
    visits,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ingest.hl7v2.mapping.table import Row, Table


class Line(NamedTuple):
    """Row of a mapping table, told in words: field, element, type and condition."""

    field: str
    element: str
    type: str
    condition: str = ""


class Section(NamedTuple):
    """The rows of one segment for one resource, or of one datatype."""

    title: str
    lines: Sequence[Line]


_HEADER: Final = (
    Line("MSH-3, MSH-4", "MessageHeader.source", "HD → name, url", "the profile's `endpoint` first"),
    Line("MSH-5, MSH-6", "MessageHeader.destination", "HD → name, url"),
    Line("MSH-7", "Bundle.timestamp", "DTM → instant", "what is older replaces nothing"),
    Line("MSH-9.2", "MessageHeader.eventCoding", "ID → Coding", "HL7 table 0003"),
    Line("MSH-10", "Bundle.identifier", "ST → Identifier"),
)
_MERGES: Final = (
    Line(
        "MRG-1", "identifier", "CX → Identifier", "use `old`: the record of this number is the same person's"
    ),
    Line("MRG-4", "identifier", "CX → Identifier", "likewise"),
)
_LEFT: Final = (
    Line("Z segments, PRT and all others", "extension(urn:dod:hl7v2:segment)", "segment → string", "as sent"),
    Line("fields without a row", "", "", "in the message alone, which is kept as a whole"),
)


def _of(table: Table, more: Iterable[Row] = ()) -> Section:
    rows = sorted((*table.rows, *more), key=lambda row: (row.field.partition("-")[0], row.number))
    lines = [Line(row.field, row.element, row.type, row.condition) for row in rows]
    return Section(f"{table.segment} → {table.resource}", lines)


def _plain(rows: Iterable[tuple[str, str, str]]) -> list[Line]:
    return [Line(field, element, "", condition) for field, element, condition in rows]


SECTIONS: Final[Sequence[Section]] = (
    Section("MSH → Bundle, MessageHeader", _HEADER),
    _of(patients.PID),
    _of(patients.PD1),
    _of(patients.NK1),
    Section("MRG → Patient", _MERGES),
    _of(visits.PV1),
    _of(visits.PV2),
    _of(orders.ORC),
    _of(orders.OBR),
    _of(orders.TQ1),
    _of(reports.OBR, reports.WHOLE),
    _of(observations.OBX, observations.WHOLE),
    Section("OBX-5 by OBX-2 → Observation.value[x]", _plain(values.ELEMENTS)),
    Section("OBX of type ED and RP → DiagnosticReport.presentedForm", _plain(documents.ROWS)),
    _of(specimens.SPM),
    Section(
        "OBR → Specimen",
        [Line(row.field, row.element, row.type, row.condition) for row in specimens.OLD],
    ),
    _of(references.TXA),
    Section(
        "NTE → Annotation",
        [
            *(Line(row.field, row.element, row.type, row.condition) for row in notes.ROWS),
            *(Line(f"NTE behind {place}", element, "") for place, element in notes.PLACES),
        ],
    ),
    Section("Everything else", _LEFT),
)
DATATYPES: Final[Sequence[Section]] = (
    Section("CE, CWE, CNE, CF → CodeableConcept", _plain(concepts.COMPONENTS)),
    Section("CX, EI, EIP → Identifier", _plain(identifiers.COMPONENTS)),
    Section("XPN, XAD, XTN, XCN, XON", _plain(people.COMPONENTS)),
)
STATUSES: Final[Sequence[tuple[str, Mapping[str, str]]]] = (
    ("OBR-25 → DiagnosticReport.status", reports.STATUSES),
    ("OBX-11 → Observation.status", result_status.STATUSES),
)


def elements_of(field: str) -> list[str]:
    """Elements that a field becomes: `Patient.name` of `PID-5`."""
    return list(dict.fromkeys(_elements(field)))


def _elements(field: str) -> Iterator[str]:
    for section in SECTIONS:
        resource = section.title.partition(" → ")[2]
        for line in section.lines:
            if field in [one.partition(".")[0] for one in line.field.split(", ")] and line.element:
                bundled = line.element[:1].isupper()
                yield line.element if bundled else f"{resource}.{line.element}"
