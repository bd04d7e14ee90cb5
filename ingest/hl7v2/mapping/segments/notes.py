"""NTE → Annotation, and segments without an element of their own → extensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.context import NULL, URN, extension
from ingest.hl7v2.mapping.datatypes.people import reference
from ingest.hl7v2.mapping.table import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.reader import Segment

SEGMENT: Final = f"{URN}segment"
"""Extension with a segment as it was sent."""
REPORT_NOTE: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"
ROWS: Final = (
    Row(
        "NTE-3",
        "text",
        "FT → markdown",
        lambda *_: None,
        "several NTE of one place are lines of one note",
    ),
    Row("NTE-5", "authorReference", "XCN → Reference(Practitioner)", lambda *_: None),
    Row("NTE-6", "time", "DTM → dateTime", lambda *_: None),
)
PLACES: Final = (
    ("OBX", "Observation.note"),
    ("OBR, ORC", "DiagnosticReport.extension(DiagnosticReport.note of R5), ServiceRequest.note"),
    ("SPM", "Specimen.note"),
    ("PID", "each report of the patient, as above; without reports Patient.extension(urn:dod:hl7v2:NTE)"),
)


def comments(context: Context, notes: Sequence[Segment]) -> list[Element]:
    """Comments in the order sent; lines of one author and time are one comment."""
    made: list[tuple[Element, list[str]]] = []
    for segment in notes:
        fields = segment.fields
        context.segment, context.field = segment, 3
        raw = fields[3] if len(fields) > 3 else ""  # noqa: PLR2004 -- NTE-3
        lines = raw.split(context.repetition)
        text = "\n".join(context.plain(line) for line in lines if line != NULL)
        about: Element = {}
        if len(fields) > 5 and fields[5] and (author := reference(context, fields[5])):  # noqa: PLR2004 -- NTE-5
            about["authorReference"] = author
        context.field = 6
        if len(fields) > 6 and fields[6] and (when := context.times(fields[6])):  # noqa: PLR2004 -- NTE-6
            about["time"] = when
        if not made or made[-1][0] != about:
            made.append((about, []))
        made[-1][1].append(text)
    whole = [(about, "\n".join(lines)) for about, lines in made]
    return [{**about, "text": text} for about, text in whole if text.strip()]


def as_sent(segments: Sequence[Segment], mark: str) -> list[Element]:
    """Extensions with segments as they were sent: Z segments, PRT and all that no table maps."""
    return [extension(SEGMENT, "String", mark.join(one.fields)) for one in segments]
