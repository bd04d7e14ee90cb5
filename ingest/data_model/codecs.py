"""Codecs: a text of the Data Model as a value of FHIR, and back. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from urllib.parse import quote, unquote

from ingest.hl7v2.dates import fhir_date, fhir_datetime, fhir_instant
from ingest.hl7v2.mapping.context import number_of
from ingest.hl7v2.mapping.systems import SYSTEMS, V2, V3, known_system
from store.fhir.datatypes import Number
from store.fhir.instants import parse

if TYPE_CHECKING:
    from datetime import tzinfo

    from ingest.data_model.places import Element

Json: TypeAlias = Any


class Codec(NamedTuple):
    """Pair of ways between a text and a FHIR value; None: the other side has no value for it."""

    name: str
    """FHIR's name of the type."""
    to_fhir: Callable[[str], Json]
    to_model: Callable[[Json], str | None]
    table: Mapping[str, str] = {}
    """Words and their codes, where a table says them."""
    knows: Callable[[str], bool] = lambda _: True
    """Whether a text is one that the other side has a value for, beyond `unknown`."""


def _text(value: Json) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def _words(text: str) -> str | None:
    """A text that FHIR takes as string; R4 has no empty ones."""
    return text if text.strip() else None


_DATE: Final = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?")


def _is_time(text: str) -> bool:
    try:
        parse(text)
    except (ValueError, OverflowError):
        return False
    return True


def _date(text: str) -> str | None:
    """A date; of a date with time its day."""
    day = text.partition("T")[0]
    return day if _DATE.fullmatch(day) and _is_time(day) else fhir_date(text, UTC)


def exact(text: str) -> str | None:
    """A time with seconds and zone; None: it is none."""
    return text if _MOMENT.fullmatch(text) and _is_time(text) else None


def datetimes(zone: tzinfo) -> Codec:
    """Dates and times; those of other forms of ISO 8601 and without a zone are read as HL7 v2's are."""

    def to_fhir(text: str) -> str | None:
        told = text if _DATE.fullmatch(text) and _is_time(text) else exact(text)
        return told or fhir_datetime(text, zone)

    return Codec("dateTime", to_fhir, _text)


def instants(zone: tzinfo) -> Codec:
    """Times of day of a date, likewise."""
    return Codec("instant", lambda text: exact(text) or fhir_instant(text, zone), _text)


def _time(text: str) -> str | None:
    return text if _TIME.fullmatch(text) else None


TEXT: Final = Codec("string", _words, _text)
DATE: Final = Codec("date", _date, _text)
DATETIME: Final = datetimes(UTC)
INSTANT: Final = instants(UTC)
TIME: Final = Codec("time", _time, _text)
DECIMAL: Final = Codec("decimal", number_of, _text)
BOOLEAN: Final = Codec("boolean", {"true": True, "false": False}.get, _text)


def coded(
    table: Mapping[str, str], back: Mapping[str, str | None] | None = None, *, other: str | None = None
) -> Codec:
    """A code by a table; of several words for one code the first is the one back.

    `other` is the code of all other words. Capitals say nothing.
    """
    folded = _folded(table)
    reverse: dict[str, str | None] = {}
    for word, code in table.items():
        reverse.setdefault(code, word)
    reverse |= back or {}

    def to_fhir(text: str) -> Json:
        return folded.get(text.strip().casefold(), other)

    def to_model(value: Json) -> str | None:
        return reverse.get(value) if isinstance(value, str) else None

    return Codec("code", to_fhir, to_model, table, lambda text: text.strip().casefold() in folded)


def _folded(table: Mapping[str, str]) -> Mapping[str, str]:
    """The table by its words in small letters, as either English spells them."""
    made = {word.casefold(): code for word, code in table.items()}
    return made | {"cancelled": made["canceled"]} if "canceled" in made else made


def concept(system: str, table: Mapping[str, str]) -> Codec:
    """A CodeableConcept in one system by a table; its text is always the word."""
    reverse: dict[str, str] = {}
    for word, code in table.items():
        reverse.setdefault(code, word)
    folded = _folded(table)

    def to_fhir(text: str) -> Json:
        if not text.strip():
            return None
        code = folded.get(text.strip().casefold())
        coding = {"coding": [{"system": system, "code": code}]} if code else {}
        return {**coding, "text": text}

    def to_model(value: Json) -> str | None:
        if not isinstance(value, dict):
            return None
        words = value.get("text")
        if isinstance(words, str) and words.strip().casefold() in folded:
            return words
        known = (reverse.get(str(one.get("code"))) for one in codings_of(value))
        displays = (one.get("display") or one.get("code") for one in codings_of(value))
        return next((str(one) for one in (*known, words, *displays) if one), None)

    return Codec("CodeableConcept", to_fhir, to_model, table)


def codings_of(value: Json) -> list[Element]:
    """The codings of a CodeableConcept."""
    found = value.get("coding") if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


_CODESETS: Final = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED-CT",
    "http://unitsofmeasure.org": "UCUM",
    **{uri: name for name, uri in reversed(list(SYSTEMS.items())) if not uri.startswith("http://loinc")},
}
_CODESETS["http://snomed.info/sct"] = "SNOMED-CT"
_OWN: Final = "urn:dod:hl7v2:"


def _codeset(uri: Json) -> str | None:
    """The name of a codeset: the one that the mapping of HL7 v2 made the URI of, else the URI."""
    if not isinstance(uri, str):
        return None
    if uri in _CODESETS:
        return _CODESETS[uri]
    if uri.startswith(V2):
        return f"HL7{uri.removeprefix(V2)}"
    return unquote(uri.rpartition(":")[2]) if uri.startswith(_OWN) else uri


def codeset(sender: str) -> Codec:
    """The URI of a codeset; a local one is its sender's."""

    def to_fhir(text: str) -> Json:
        return known_system(text, quote(sender, safe="")) if text.strip() else None

    return Codec("uri", to_fhir, _codeset)


MARITAL: Final = concept(
    f"{V3}MaritalStatus",
    {
        "Married": "M",
        "Single": "S",
        "Divorced": "D",
        "Widowed": "W",
        "Separated": "L",
        "Legally Separated": "L",
        "Domestic Partner": "T",
        "Never Married": "S",
        "Annulled": "A",
        "Interlocutory": "I",
        "Polygamous": "P",
        "Unmarried": "U",
    },
)
SEX: Final = coded(
    {"Male": "male", "Female": "female", "Other": "other", "Nonbinary": "other", "Unknown": "unknown"}
)
ETHNICITY: Final = coded({"true": "Hispanic or Latino", "false": "Not Hispanic or Latino"})
REPORT_STATUS: Final = coded(
    {
        "Final": "final",
        "Preliminary": "preliminary",
        "Corrected": "corrected",
        "Canceled": "cancelled",
        "In Process": "partial",
        "Unavailable": "unknown",
    },
    {
        "unknown": None,
        "registered": "In Process",
        "amended": "Corrected",
        "appended": "Corrected",
        "entered-in-error": "Canceled",
    },
    other="unknown",
)
RESULT_STATUS: Final = coded(
    {
        "Final": "final",
        "Preliminary": "preliminary",
        "Corrected": "corrected",
        "Canceled": "cancelled",
        "Deleted": "entered-in-error",
        "Incomplete": "registered",
        "Unavailable": "cancelled",
        "None Specified": "unknown",
    },
    {"amended": "Corrected", "unknown": None},
    other="unknown",
)
FLAG: Final = concept(
    f"{V3}ObservationInterpretation",
    {
        "Normal": "N",
        "Low": "L",
        "Very Low": "LL",
        "Critically Low": "LL",
        "High": "H",
        "Very High": "HH",
        "Critically High": "HH",
        "Abnormal": "A",
        "Very Abnormal": "AA",
        "Critically Abnormal": "AA",
        "Inconclusive": "IND",
        "Intermediate": "I",
        "Moderately Susceptible": "MS",
        "Susceptible": "S",
        "Very Susceptible": "VS",
        "Not Susceptible": "NS",
        "Resistant": "R",
    },
)
ORDER_STATUS: Final = coded(
    {"New": "active", "Resulted": "completed", "Update": "active", "Cancel": "revoked"}
)
PRIORITY: Final = coded(
    {
        "ASAP": "asap",
        "Stat": "stat",
        "Routine": "routine",
        "Timing Critical": "urgent",
        "Preoperative": "urgent",
    }
)
CLASS: Final = coded(
    {
        "Inpatient": "IMP",
        "Outpatient": "AMB",
        "Emergency": "EMER",
        "Observation": "OBSENC",
        "Preadmit": "PRENC",
    }
)
