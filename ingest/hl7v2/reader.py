"""Messages of HL7 v2 in ER7 encoding, taken apart by the delimiters that their MSH names. Pure.

Segments are split into fields at once; repetitions and components where they are looked at. What is split is
the text as sent: a value is unescaped last. HL7 v2.5.1, 2.6 and 2.7.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.hl7v2.charsets import UnknownCharset, decode
from ingest.hl7v2.delimiters import STANDARD, Delimiters
from ingest.hl7v2.escapes import unescaper
from ingest.hl7v2.faults import DATA_TYPE, REQUIRED, SEQUENCE, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Delimiters", "Header", "Message", "Segment", "Unreadable", "read", "read_header"]

_LINE_ENDS_OF_BYTES: Final = re.compile(rb"\r\n|[\r\n]")
_LINE_ENDS: Final = re.compile(r"[\r\n]+")
_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_SPACE: Final = "\v\x1c \t\x00"
_BEFORE: Final = b"\v\x1c \t\x00\r\n\xef\xbb\xbf"
_BEHIND: Final = b"\x1c\r\n\x00"
_HEADER_MAX: Final = 65_536
_DELIMITERS_MIN: Final = 8
"""`MSH|^~\\&`: no header is shorter."""
_ENCODING_CHARACTERS: Final = (4, 5)
"""Number of characters in MSH-2; v2.7 brought the fifth."""
_KNOWN: Final = frozenset(
    "MSH SFT PID PD1 NK1 PV1 PV2 EVN MRG ORC OBR OBX NTE TQ1 SPM TXA PRT DG1 IN1".split()
)
"""Segments that are known where they are indented, or in small letters."""
_ALONE: Final = {"ORU": "R01", "ORM": "O01"}
"""Events of types that HL7 v2.1 names without one, and that had no other one then."""
_TEXTS: Final = frozenset({"OBX", "NTE"})
"""Segments whose text senders break into lines without escaping them."""


class Unreadable(Exception):  # noqa: N818 -- named for the message
    """Bytes that are no HL7 v2 message, or whose text cannot be read."""

    def __init__(self, faults: Sequence[Fault], header: Header | None = None) -> None:
        super().__init__("; ".join(f"{one.place}: {one.rule}" for one in faults))
        self.faults = tuple(faults)
        self.header = header
        """The header, as far as it could be read: an answer mirrors it."""


@dataclass(frozen=True, slots=True)
class Header:
    """The values of MSH, unescaped; empty where nothing was sent."""

    delimiters: Delimiters
    fields: tuple[str, ...]
    """The fields as sent, by their number: `fields[9]` is MSH-9, `fields[0]` is `MSH`."""
    sending_application: str
    """MSH-3.1; MSH-4.1, 5.1 and 6.1 likewise."""
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    type: tuple[str, str]
    """MSH-9.1 and 9.2: `("ORU", "R01")`."""
    structure: str
    control_id: str
    processing_id: str
    version: str
    accept_acknowledgment: str
    """MSH-15: AL, NE, ER, SU or empty."""
    application_acknowledgment: str
    """MSH-16, likewise."""
    charsets: tuple[str, ...]
    """The repetitions of MSH-18, the first one is the default."""
    encoding: str
    """Python's name of the charset that the message was decoded with."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment with its fields as sent: split, not unescaped."""

    name: str
    sequence: int
    """The occurrence within the message, counted from 1 per name."""
    fields: Sequence[str]
    """Fields by number: `fields[3]` is PID-3; MSH-1 and MSH-2 are fields too."""

    def text(self, delimiters: Delimiters) -> str:
        """The segment as it was sent."""
        if self.name == "MSH":
            return "MSH" + delimiters.field + delimiters.field.join(self.fields[2:])
        return delimiters.field.join(self.fields)


@dataclass(frozen=True, slots=True)
class Message:
    """Message, taken apart."""

    header: Header
    segments: tuple[Segment, ...]
    faults: tuple[Fault, ...] = ()
    """Deviations that did not keep it from being read."""

    @property
    def type(self) -> tuple[str, str]:
        """The type and the trigger event: `("ORU", "R01")`."""
        return self.header.type

    @property
    def control_id(self) -> str:
        """Id of the message by its sender (MSH-10)."""
        return self.header.control_id


def read(data: bytes, default_charset: str | None = None) -> Message:
    """Take one message apart. Raises Unreadable with the faults, and the header as far as there is one."""
    header = read_header(data)
    try:
        decoded = decode(data.lstrip(_BEFORE).rstrip(_BEHIND), header.charsets, default_charset)
    except UnknownCharset as error:
        raise Unreadable([Fault("MSH", 1, 18, 0, DATA_TYPE, str(error))], header) from None
    if decoded.encoding != header.encoding:
        first = _LINE_ENDS.split(decoded.text, maxsplit=1)[0]
        header = _header(first, header.delimiters, decoded.encoding)
    _, *rest = _lines(decoded.text, header)
    faults = list(_faults_of(header))
    if decoded.guessed:
        rule = "the charset is not named, and the bytes are no UTF-8: they were read as Windows-1252"
        faults.append(Fault("MSH", 1, 18, 0, REQUIRED, rule, "W"))
    counts: Counter[str] = Counter()
    segments = [Segment("MSH", 1, header.fields)]
    mark = header.delimiters.field
    for line in rest:
        name = line[:3]
        counts[name] += 1
        if name == "MSH":
            rule = "a second MSH in one message; send each message by itself, or in a batch"
            raise Unreadable([Fault("MSH", 2, 0, 0, SEQUENCE, rule)], header)
        segments.append(Segment(name, counts[name], line.split(mark)))
    if not rest:
        faults.append(Fault("MSH", 1, 0, 0, SEQUENCE, "the message has no segment behind MSH"))
    return Message(header, tuple(segments), tuple(faults))


def _lines(text: str, header: Header) -> list[str]:
    """The segments. Raises Unreadable for a line that is none.

    A line break within the text of OBX or NTE that the sender did not escape is taken for a line of text. A
    segment in pieces is put together: ADD goes on where the one before it ends. HL7 v2.5.1, 2.10.2.1.
    """
    lines: list[str] = []
    mark = header.delimiters.field
    more: list[str] = []
    """Lines of text that go on with the last segment."""
    if "\n" in text:
        text = text.replace("\n", "\r")  # An empty line says nothing, so CRLF is one end.
    for line in text.split("\r"):
        if lines and not line.strip(_SPACE):
            continue
        segment = line.lstrip(_SPACE) if not lines else _segment(line, mark)
        if segment is not None:
            _close(lines, more)
            if segment.startswith(f"ADD{mark}") and len(lines) > 1:
                lines[-1] += segment[4:]
            else:
                lines.append(segment)
        elif _is_open(lines[-1], more, mark):
            more.append(line)
        else:
            before = lines[-1][:3]
            count = sum(one[:3] == before for one in lines)
            rule = "the line behind this segment is no segment: three capitals or digits, then the delimiter"
            raise Unreadable([Fault(before, count, 0, 0, SEQUENCE, rule)], header)
    _close(lines, more)
    return lines


def _segment(line: str, mark: str) -> str | None:
    """The segment of a line; None: it is none."""
    if line[3:4] in ("", mark) and (line[:3] in _KNOWN or _SEGMENT.fullmatch(line[:3])):
        return line
    bare = line.lstrip(_SPACE)
    known = bare[3:4] == mark and bare[:3].upper() in _KNOWN
    return bare[:3].upper() + bare[3:] if known else None


def _close(lines: list[str], more: list[str]) -> None:
    """Put together a segment and the lines of text behind it."""
    if more:
        lines[-1] = "\n".join([lines[-1], *more])
        more.clear()


def _is_open(line: str, more: list[str], mark: str) -> bool:
    """Whether a text may go on: of OBX and NTE, and nothing is beyond the text's field."""
    wanted = 5 if line.startswith("OBX") else 3
    if line[:3] not in _TEXTS or (more and mark in more[-1]):
        return False
    return bool(more) or line.count(mark) == wanted


def read_header(data: bytes) -> Header:
    """Read MSH alone, to route by. Raises Unreadable."""
    line = _LINE_ENDS_OF_BYTES.split(data.lstrip(_BEFORE)[:_HEADER_MAX], maxsplit=1)[0]
    text = line.decode("iso8859-1")
    rule = "a message starts with MSH, its field delimiter and four encoding characters: `MSH|^~\\&|`"
    if not text.startswith("MSH") or len(text) < _DELIMITERS_MIN:
        raise Unreadable([Fault("MSH", 1, 0, 0, SEQUENCE, rule)])
    delimiters = _delimiters(text)
    if delimiters is None:
        raise Unreadable([Fault("MSH", 1, 2, 0, DATA_TYPE, rule)])
    header = _header(text, delimiters, "ascii")
    if header.type[0] == "":
        rule = "MSH-9 names the type and the event of the message: `ORU^R01`"
        raise Unreadable([Fault("MSH", 1, 9, 1, REQUIRED, rule)], header)
    return header


def _delimiters(text: str) -> Delimiters | None:
    field = text[3]
    characters = text[4:].partition(field)[0].rstrip().replace("\\\\", "\\")
    told = [*characters, *STANDARD[1 + len(characters) : 5]] if characters else []
    if len(told) not in _ENCODING_CHARACTERS or len({field, *told}) != len(told) + 1:
        return None
    if any(one.isalnum() or one.isspace() for one in (field, *told)):
        return None
    return Delimiters(field, *told)


def _header(line: str, delimiters: Delimiters, encoding: str) -> Header:
    raw = line.split(delimiters.field)
    fields = (raw[0], delimiters.field, *raw[1:])
    plain = unescaper(delimiters, encoding)

    def values(number: int, component: int = 1) -> list[str]:
        told = fields[number].split(delimiters.repetition) if number < len(fields) else [""]
        split = [one.split(delimiters.component) for one in told]
        return [plain(one[component - 1]).strip() if component <= len(one) else "" for one in split]

    def value(number: int, component: int = 1) -> str:
        return values(number, component)[0]

    kind, event = value(9).upper(), value(9, 2).upper()
    if not event and "_" in kind:  # `ORU_R01`, the structure in place of the type.
        kind, _, event = kind.partition("_")
    event = event or _event(value(9, 3)) or _ALONE.get(kind, "")
    return Header(
        delimiters=delimiters,
        fields=fields,
        sending_application=value(3),
        sending_facility=value(4),
        receiving_application=value(5),
        receiving_facility=value(6),
        type=(kind, event),
        structure=value(9, 3),
        control_id=value(10),
        processing_id=value(11).upper(),
        version=value(12),
        accept_acknowledgment=value(15).upper(),
        application_acknowledgment=value(16).upper(),
        charsets=tuple(values(18)),
        encoding=encoding,
    )


def _event(structure: str) -> str:
    """The event of a message that has its structure alone: `ORU_R01`."""
    return structure.partition("_")[2].upper()


def _faults_of(header: Header) -> Iterator[Fault]:
    if not header.control_id:
        rule = "MSH-10 is missing: without it the answer cannot say which message it is about"
        yield Fault("MSH", 1, 10, 0, REQUIRED, rule, "W")
