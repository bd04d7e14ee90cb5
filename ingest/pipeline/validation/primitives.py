"""The rules that R4 has for primitive values: a check for each datatype, which names the tolerance it takes.

https://hl7.org/fhir/R4/datatypes.html#primitive
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ingest.pipeline.validation.deviations import (
    CONDITIONAL,
    CONTROL,
    DEAD,
    HOUR_24,
    INSIDE,
    WITHOUT_SECONDS,
    WITHOUT_ZONE,
    WRONG,
)
from store.fhir.datatypes import Number
from store.fhir.instants import parse
from store.fhir.resource_types import RESOURCE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.fhir.datatypes import Json

    Check = Callable[[Json], str | None]
    """The tolerance that a value takes; None: it is as R4 has it."""

_SECONDS: Final = len("2026-11-22T12:00:00")
_MIDNIGHT: Final = "24"
_DATE: Final = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?", re.ASCII)
_ZONED: Final = re.compile(r".*(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_TIME: Final = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?", re.ASCII)
_CODE: Final = re.compile(r"\S+(?:\s\S+)*")
_URI: Final = re.compile(r"\S+")
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_OID: Final = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
_UUID: Final = re.compile(r"urn:uuid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RELATIVE: Final = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_SEARCH: Final = re.compile(r"(?:https?://\S+/)?([A-Z][A-Za-z]+)\?.+", re.DOTALL)
_ABSOLUTE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+")
_CONTAINED: Final = re.compile(r"#\S*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def _base64(value: Json) -> str | None:
    return None if isinstance(value, str) else WRONG


def _string(value: Json) -> str | None:
    if not isinstance(value, str):
        return WRONG
    # The first look is a fast one, and is right but for line ends and the like.
    return CONTROL if not value.isprintable() and _CONTROL.search(value) else None


def _like(pattern: re.Pattern[str]) -> Check:
    def check(value: Json) -> str | None:
        good = isinstance(value, str) and (not value or pattern.fullmatch(value))
        return None if good else WRONG  # An empty string is told of as such.

    return check


def _boolean(value: Json) -> str | None:
    return None if isinstance(value, bool) else WRONG


def _decimal(value: Json) -> str | None:
    good = isinstance(value, int | float | Number) and not isinstance(value, bool)
    return None if good else WRONG


def _integer(least: int | None) -> Check:
    def check(value: Json) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return WRONG
        return None if least is None or value >= least else WRONG

    return check


def _date(value: Json) -> str | None:
    return None if isinstance(value, str) and _DATE.fullmatch(value) and _is_date(value) else WRONG


def _date_time(value: Json) -> str | None:
    if not isinstance(value, str) or not _is_date(value):
        return WRONG
    return None if "T" not in value else _clock(value)


def _instant(value: Json) -> str | None:
    return _clock(value) if isinstance(value, str) and "T" in value and _is_date(value) else WRONG


def _clock(value: str) -> str | None:
    """Fault of a time of day that can be read, by R4's rules."""
    if _ZONED.fullmatch(value) is None:
        return WITHOUT_ZONE
    hour, _, rest = value.partition("T")[2].partition(":")
    if hour == _MIDNIGHT:
        return HOUR_24
    return None if rest[2:3] == ":" else WITHOUT_SECONDS


def _is_date(value: str) -> bool:
    try:
        parse(value)
    except ValueError:
        return False
    return True


def _reference(value: Json) -> str | None:
    """Whether a `Reference.reference` can lead to anything. https://hl7.org/fhir/R4/references.html#literal"""
    if not isinstance(value, str):
        return WRONG
    match = _RELATIVE.fullmatch(value)
    if match is not None:
        return None if match[1] in RESOURCE_TYPES else DEAD
    match = _SEARCH.fullmatch(value)
    if match is not None and match[1] in RESOURCE_TYPES:
        return CONDITIONAL
    if _CONTAINED.fullmatch(value):
        return INSIDE
    return None if not value or _ABSOLUTE.fullmatch(value) else DEAD


CHECKS: Final[Mapping[str, Check]] = {
    **dict.fromkeys(("string", "markdown", "xhtml"), _string),
    "base64Binary": _base64,
    **dict.fromkeys(("uri", "url", "canonical"), _like(_URI)),
    "boolean": _boolean,
    "code": _like(_CODE),
    "date": _date,
    "dateTime": _date_time,
    "decimal": _decimal,
    "id": _like(_ID),
    "instant": _instant,
    "integer": _integer(None),
    "oid": _like(_OID),
    "positiveInt": _integer(1),
    "reference": _reference,
    "time": _like(_TIME),
    "unsignedInt": _integer(0),
    "uuid": _like(_UUID),
}
"""Checks by datatype. Base64 is decoded where it is kept."""
