"""Messages of HL7 v2 in ER7 encoding, taken apart by the delimiters that their MSH names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ingest.hl7v2.faults import Fault


class Delimiters(NamedTuple):
    """The characters of MSH-1 and MSH-2."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"


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
    charset: str
    """MSH-18 as sent, its first repetition."""
    encoding: str
    """Python's name of the charset that the message was decoded with."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment with its fields as sent: split, not unescaped."""

    name: str
    sequence: int
    """The occurrence within the message, counted from 1 per name."""
    fields: tuple[str, ...]
    """By number: `fields[3]` is PID-3; MSH-1 and MSH-2 are fields too."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message."""

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
        """MSH-10."""
        return self.header.control_id


def read(data: bytes, default_charset: str | None = None) -> Message:
    """Take one message apart. Raises Unreadable with the faults, and the header as far as there is one."""
    raise NotImplementedError


def split(data: bytes) -> Iterator[bytes]:
    """Single messages of a file or batch (FHS, BHS, BTS, FTS; MLLP's framing characters are skipped)."""
    raise NotImplementedError


def read_header(data: bytes) -> Header:
    """Read MSH alone, to route by. Raises Unreadable."""
    raise NotImplementedError
