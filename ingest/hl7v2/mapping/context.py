"""State of one translation: delimiters, zone and profile of the message, faults, and entries made so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote
from uuid import UUID, uuid5

from ingest.hl7v2.dates import default_zone, fhir_datetime
from ingest.hl7v2.escapes import unescaper
from ingest.hl7v2.faults import DATA_TYPE, Fault
from store.fhir.datatypes import Number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.faults import Severity
    from ingest.hl7v2.profile import SourceProfile
    from ingest.hl7v2.reader import Header, Segment

Element: TypeAlias = dict[str, Any]
"""A FHIR element or resource that is being made."""
URN: Final = "urn:dod:hl7v2:"
"""Before names of systems and extensions that nobody else has defined."""
REPETITIONS_MAX: Final = 500
"""Repetitions of a field that are looked at; the message is kept with all of them."""
NULL: Final = '""'
"""HL7's null: the value is to be deleted. An empty field says nothing."""
AS_SENT: Final = f"{URN}text"
"""Extension with a text as it was sent, where no FHIR value holds it."""
_NAMESPACE: Final = UUID("5b0d3c52-2f1c-5b63-9c0b-6d6c7f6a0d3e")


class Context:
    """Circumstances that converters of fields need, and what they leave behind."""

    __slots__ = (
        "authorities",
        "component",
        "concepts",
        "deleted",
        "endpoint",
        "entries",
        "escape",
        "faults",
        "field",
        "known",
        "plain",
        "profile",
        "repetition",
        "segment",
        "sender",
        "statuses",
        "subcomponent",
        "uuids",
        "zone",
    )

    def __init__(self, header: Header, profile: SourceProfile) -> None:
        marks = header.delimiters
        self.component = marks.component
        self.repetition = marks.repetition
        self.subcomponent = marks.subcomponent
        self.escape = marks.escape
        self.plain = unescaper(marks, header.encoding)
        self.profile = profile
        sent = header.fields[7] if len(header.fields) > 7 else ""  # noqa: PLR2004 -- MSH-7
        self.zone = default_zone(sent.partition(marks.component)[0], profile.zone)
        self.sender = header.sending_facility or header.sending_application
        named = header.sending_application or header.sending_facility
        self.endpoint = profile.endpoint or (f"{URN}source:{_source(header)}" if named else "")
        self.faults: list[Fault] = []
        self.entries: list[Element] = []
        self.segment: Segment | None = None
        self.field = 0
        self.deleted: set[str] = set()
        self.authorities: dict[tuple[str, bool], str] = {}
        self.concepts: dict[str, Element | None] = {}
        self.known: dict[str, str] = {}
        self.statuses: dict[str, str] = {}
        name = f"{self.endpoint}\n{header.control_id}\n{sent}"
        self.uuids = f"urn:uuid:{str(uuid5(_NAMESPACE, name))[:24]}"

    def fault(self, code: str, rule: str, severity: Severity = "W", component: int = 0) -> None:
        """Note a fault at the field that is being converted."""
        segment = self.segment
        name, sequence = (segment.name, segment.sequence) if segment else ("MSH", 1)
        self.faults.append(Fault(name, sequence, self.field, component, code, rule, severity))

    def add(self, resource: Element) -> str:
        """Make an entry of the Bundle; the reference to it."""
        url = f"{self.uuids}{len(self.entries):012x}"
        self.entries.append({"fullUrl": url, "resource": resource})
        return url

    def shared(self, key: str, resource: Element) -> str:
        """The reference to an entry that several places of the message name; `key` is what they say."""
        url = self.known.get(key)
        if url is None:
            url = self.known[key] = self.add(resource)
        return url

    def first(self, raw: str) -> str:
        """The first component of a field's first repetition, unescaped."""
        text = raw
        if self.repetition in text:
            text = text.partition(self.repetition)[0]
        if self.component in text:
            text = text.partition(self.component)[0]
        return "" if text == NULL else self.plain(text).strip()

    def repetitions(self, raw: str) -> Sequence[str]:
        """Repetitions of a field as sent, as many as are looked at."""
        if self.repetition not in raw:
            return (raw,)
        found = raw.split(self.repetition)
        if len(found) > REPETITIONS_MAX:
            rule = f"of more than {REPETITIONS_MAX} repetitions the first ones are looked at"
            self.fault(DATA_TYPE, rule)
            return found[:REPETITIONS_MAX]
        return found

    def parts(self, raw: str) -> list[str]:
        """Components of a repetition, as sent; HL7's null is an empty one."""
        parts = raw.split(self.component)
        return ["" if one == NULL else one for one in parts] if NULL in raw else parts

    def times(self, raw: str) -> str | None:
        """A FHIR dateTime, as precise as it was sent; None: nothing was sent, or no date, which is noted."""
        text = raw.partition(self.component)[0]  # TS.2 is its precision, which the text shows.
        if not text or text == NULL:
            return None
        found = fhir_datetime(text, self.zone)
        if found is None:
            rule = "this is no date of HL7: YYYYMMDD[HHMM[SS[.SSSS]]][±ZZZZ]; it is kept as it was sent"
            self.fault(DATA_TYPE, rule)
        return found


def _source(header: Header) -> str:
    parts = (header.sending_application, header.sending_facility)
    return ":".join(quote(one, safe="") for one in parts)


def number_of(text: str) -> Number | None:
    """A JSON number with the digits that were sent; None: no decimal."""
    sign, digits = ("-", text[1:]) if text[:1] == "-" else ("", text.removeprefix("+"))
    whole, dot, fraction = digits.partition(".")
    if not (whole + fraction).isdecimal() or not (whole + fraction).isascii():
        return None
    whole = whole.lstrip("0") or "0"
    return Number(f"{sign}{whole}.{fraction}" if dot and fraction else f"{sign}{whole}")


def codes(text: str) -> dict[str, str]:
    """A table of codes from its rows: `F=final C=corrected`."""
    return dict(row.split("=", 1) for row in text.split())


def extension(url: str, kind: str, value: object) -> Element:
    """Extension of this URL."""
    return {"url": url, f"value{kind}": value}
