"""A page of matches as lines of a terminal: date, code, status, patient, id.

People's names are never shown: a patient is there by reference. Codes are cut so that a line fits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.pipeline.decode import glance

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.resources.pages import Entry

    Row = tuple[str, ...]

HEAD: Final = ("DATE", "CODE", "STATUS", "PATIENT", "ID")
NOTHING: Final = "-"
GAP: Final = "  "
_DATES: Final = (
    "effectiveDateTime effectivePeriod effectiveInstant performedDateTime performedPeriod occurrenceDateTime"
    " occurrencePeriod createdDateTime period started authoredOn issued recorded created date receivedTime"
).split()
"""Elements where resource types keep their clinical date; the first that is there is shown."""
_CODES: Final = ("code", "type", "class", "modality")
_PATIENTS: Final = ("subject", "patient", "for", "beneficiary")
_SHRINKING: Final = ((1, 24), (3, 16), (0, 11), (1, 8), (3, 10), (4, 8))
"""(column, what is left to it): how columns give way in a narrow terminal, in this order; the id last."""


def row_of(entry: Entry) -> Row:
    """The line of one match."""
    resource: JsonObject = glance(entry.raw)
    cells = (_date(resource), _code(resource), _status(resource), _patient(resource, entry), entry.key.id)
    return tuple(map(_plain, cells))


def lines(rows: Sequence[Row], *, width: int | None = None, head: bool = True) -> Iterable[str]:
    """The rows with their columns aligned, within `width` characters where they can give way."""
    shown = [HEAD, *rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    if width is not None:
        for column, least in _SHRINKING:
            excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
            widths[column] = max(min(widths[column], least), widths[column] - max(excess, 0))
    for row in shown if head else rows:
        cells = [_cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)]
        yield GAP.join(cells).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _plain(text: str) -> str:
    """Text without what would steer the terminal."""
    return "".join(one if one.isprintable() else " " for one in text) or NOTHING


def _date(resource: JsonObject) -> str:
    value = next((resource[name] for name in _DATES if name in resource), None)
    if not isinstance(value, dict):
        return _text(value)
    start, end = _text(value.get("start")), _text(value.get("end"))
    return f"{start or '…'}/{end or '…'}"


def _status(resource: JsonObject) -> str:
    return _text(resource.get("status"))


def _code(resource: JsonObject) -> str:
    """Code and display of the first coding, else the text."""
    value = next((resource[name] for name in _CODES if name in resource), None)
    concept = _first(value)
    coding = _first(concept.get("coding")) or concept
    said = [_text(coding.get("code")), _text(concept.get("text")) or _text(coding.get("display"))]
    return " ".join(filter(None, said))


def _patient(resource: JsonObject, entry: Entry) -> str:
    """The reference as it is spelled; `identifier` when the patient is named by one alone."""
    if entry.key.type == "Patient":
        return str(entry.key)
    reference = _first(next((resource[name] for name in _PATIENTS if name in resource), None))
    return _text(reference.get("reference")) or ("identifier" if "identifier" in reference else "")


def _first(value: Json) -> JsonObject:
    """The object, or the first of a list of them."""
    found = value[0] if isinstance(value, list) and value else value
    return found if isinstance(found, dict) else {}


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""
