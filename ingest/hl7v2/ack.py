"""Acknowledgments: MSH, MSA and ERR segments, in the version, charset and delimiters of the message answered.

Pure. Original and enhanced mode: HL7 v2.5.1, 2.9; ERR: 2.15.4, before v2.5: 2.16.5 of v2.3.1. What an answer
says of a fault is its place and its rule, never a value; from the message it takes MSH fields alone.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.hl7v2.escapes import escape
from ingest.hl7v2.reader import Delimiters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ingest.hl7v2.faults import Fault
    from ingest.hl7v2.reader import Header

FAULTS_MAX: Final = 20
"""Faults that one answer names."""
FIELD_MAX: Final = 500
"""Characters of a field of MSH that an answer repeats."""
TABLE: Final = "HL70357"
TEXTS: Final[Mapping[str, str]] = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "206": "Application record locked",
    "207": "Application internal error",
}
"""HL7 table 0357. https://terminology.hl7.org/CodeSystem-v2-0357.html"""
_STRUCTURED: Final = (2, 3, 1)
"""The first version whose MSH-9 has a third component."""
_EVENT: Final = (2, 3)
"""The first version whose acknowledgment names the event in MSH-9."""
_ERR_FIELDS: Final = (2, 5)
"""The first version whose ERR has a field for each thing that it says."""
_NO_TEXT: Final = (2, 7)
"""The first version without MSA-3."""
_BATCH: Final = 10
"""Place of BHS-11, the batch control ID, among the parts of the segment."""
_LINES: Final = re.compile(rb"[\r\n]+")
_ORDER: Final[Mapping[str, int]] = {"E": 0, "W": 1, "I": 2}
"""Errors are told first."""
_BYTES: Final = "iso8859-1"
"""Charset that gives the bytes of a header back which was read without knowing its charset."""
_BREAKS: Final = re.compile(r"[\x00-\x1f]+")


class Verdict(StrEnum):
    """The outcome of a message, as the second letter of MSA-1 says it."""

    ACCEPT = "A"
    ERROR = "E"
    REJECT = "R"


class Answer(NamedTuple):
    """The verdict on a message, and the faults that it is told with."""

    verdict: Verdict
    faults: tuple[Fault, ...] = ()


def codes(
    header: Header | None, verdict: Verdict, *, both: bool = False, always: bool = False
) -> tuple[str, ...]:
    """The values of MSA-1 that a message asks to be answered with, in order: AA, AE, AR; CA, CE, CR; or none.

    Original mode, MSH-15 and MSH-16 empty, asks for AA. In enhanced mode the message is committed and
    processed at one stroke, so that an application acknowledgment says all that a commit acknowledgment does:
    a sender that asks for both gets that alone, since it waits for one answer to each message; with `both` it
    gets both. `always`: whoever asks for none is answered all the same.
    """
    accept = header.accept_acknowledgment.upper() if header else ""
    application = header.application_acknowledgment.upper() if header else ""
    if not accept and not application:
        return (f"A{verdict}",)
    commit = (f"C{verdict}",) if _is_wanted(accept, verdict) else ()
    applied = (f"A{verdict}",) if _is_wanted(application, verdict) else ()
    found = (*commit, *applied) if both else applied or commit
    return found or ((f"A{verdict}",) if always else ())


def _is_wanted(condition: str, verdict: Verdict) -> bool:
    """Whether a condition of HL7 table 0155 asks for an answer; one that the table lacks does."""
    match condition:
        case "" | "NE":
            return False
        case "ER":
            return verdict is not Verdict.ACCEPT
        case "SU":
            return verdict is Verdict.ACCEPT
        case _:
            return True


def build(header: Header | None, code: str, faults: Sequence[Fault], *, at: datetime, number: str) -> bytes:
    """Acknowledgment of a message; `number` is its own MSH-10."""
    writing = _Writing(header)
    faults = sorted(faults, key=lambda fault: _ORDER[fault.severity])
    if code[1:] == Verdict.ACCEPT and not writing.tells_severity:
        faults = []  # They would look like errors.
    lines = [writing.msh(at, number), writing.msa(code, faults), *writing.err(faults[:FAULTS_MAX])]
    return "".join(f"{line}\r" for line in lines).encode(writing.encoding, errors="replace")


def charset_of(content: bytes, told: Sequence[str]) -> str:
    """The charset of acknowledgments: that of the messages, where it is one that the bytes are of."""
    wanted = told[0] if len(set(told)) == 1 else "ascii"
    try:
        content.decode(wanted)
    except (LookupError, UnicodeDecodeError):
        return _BYTES
    return wanted


def batched(answers: Sequence[bytes], asked: bytes) -> bytes:
    """Acknowledgments as one batch, in answer to a batch whose BHS-11 they refer to."""
    lines = _LINES.split(asked[:FIELD_MAX])
    # A BHS that is no more than its name has no delimiter.
    begin = next((line for line in lines if line.startswith(b"BHS") and line[3:]), b"BHS|^~\\&")
    by, fields = begin[3:4], begin.split(begin[3:4])
    encoding = fields[1] if len(fields) > 1 else b""
    header = by.join([b"BHS", encoding, *([b""] * 9), fields[_BATCH] if len(fields) > _BATCH else b""])
    return b"\r".join(
        [header.rstrip(by), *(one.rstrip(b"\r") for one in answers), b"BTS%b%d" % (by, len(answers)), b""]
    )


class _Writing:
    """Segments in the form of the message that they answer."""

    def __init__(self, header: Header | None) -> None:
        self._header = header
        self._by = header.delimiters if header else Delimiters()
        self.encoding = header.encoding if header and header.encoding != "ascii" else _BYTES
        self._version = version_of(header.version if header else "")

    @property
    def tells_severity(self) -> bool:
        """Whether ERR of this version tells a warning from an error."""
        return self._version >= _ERR_FIELDS

    def _sent(self, number: int) -> str:
        """A field of MSH as it was sent."""
        fields = self._header.fields if self._header else ()
        return _BREAKS.sub("", fields[number][:FIELD_MAX]) if number < len(fields) else ""

    def _line(self, name: str, fields: Mapping[int, str]) -> str:
        last = max((n for n, text in fields.items() if text), default=0)
        return self._by.field.join([name, *(fields.get(n, "") for n in range(1, last + 1))])

    def msh(self, at: datetime, number: str) -> str:
        by = self._by
        fields = {
            3: self._sent(5),
            4: self._sent(6),
            5: self._sent(3),
            6: self._sent(4),
            7: f"{at:%Y%m%d%H%M%S%z}",
            9: self._type(),
            10: number,
            11: self._sent(11) or "P",
            12: self._sent(12) or "2.5.1",
            18: self._sent(18),
        }
        # Without a fifth one, for truncation: nothing is cut here, and readers before v2.7 refuse it.
        encoding = f"{by.component}{by.repetition}{by.escape}{by.subcomponent}"
        # MSH-1 is the field separator itself, so that MSH-3 comes behind the first separator of the rest.
        return self._line(f"MSH{by.field}{encoding}", {n - 2: text for n, text in fields.items()})

    def _type(self) -> str:
        event = _BREAKS.sub("", self._header.type[1][:FIELD_MAX]) if self._header else ""
        if self._version < _EVENT or not event:
            return "ACK"
        parts = ["ACK", escape(event, self._by), *(["ACK"] if self._version >= _STRUCTURED else [])]
        return self._by.component.join(parts)

    def msa(self, code: str, faults: Sequence[Fault]) -> str:
        text = self._text(faults[0].rule) if faults and self._version < _NO_TEXT else ""
        return self._line("MSA", {1: code, 2: self._sent(10), 3: text})

    def err(self, faults: Sequence[Fault]) -> list[str]:
        if not faults:
            return []
        if self._version < _ERR_FIELDS:
            return [self._line("ERR", {1: self._by.repetition.join(map(self._location, faults))})]
        return [self._line("ERR", self._err(fault)) for fault in faults]

    def _err(self, fault: Fault) -> dict[int, str]:
        place = [fault.segment, fault.sequence, fault.field or "", "", fault.component or ""]
        if fault.component:
            place[3] = 1
        if not fault.segment:
            place = []
        return {
            2: self._joined(place),
            3: self._joined([fault.code, self._text(TEXTS.get(fault.code, "")), TABLE]),
            4: fault.severity,
            8: self._text(fault.rule),
        }

    def _location(self, fault: Fault) -> str:
        """ERR-1 of the versions before 2.5, with the rule as the code's text."""
        if not fault.segment:
            fault = fault._replace(segment="MSH")
        error = self._by.subcomponent.join([fault.code, self._text(fault.rule), TABLE])
        return self._by.component.join([fault.segment, str(fault.sequence), str(fault.field or ""), error])

    def _joined(self, parts: Sequence[object]) -> str:
        return self._by.component.join(map(str, parts)).rstrip(self._by.component)

    def _text(self, text: str) -> str:
        return escape(text, self._by)


def version_of(text: str) -> tuple[int, ...]:
    """MSH-12.1 as numbers; a version that says nothing is taken for 2.5.1."""
    try:
        return tuple(int(part) for part in text.strip().split(".")[:3])
    except ValueError:
        return (2, 5, 1)
