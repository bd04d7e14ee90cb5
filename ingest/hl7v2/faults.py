"""Faults of an HL7 v2 message, as ERR segments name them: a place, a code and a rule, never a value.

HL7 v2.5.1, 2.15.4; codes of table 0357. https://terminology.hl7.org/CodeSystem-v2-0357.html
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["E", "W", "I"]
"""HL7 table 0516: an error refuses the message, a warning and an information do not."""

ACCEPTED: Final = "0"
"""The message was accepted; something about it is worth knowing."""
SEQUENCE: Final = "100"
"""Segments are missing, or in a wrong order."""
REQUIRED: Final = "101"
"""A required field is missing."""
DATA_TYPE: Final = "102"
"""A field's text is not of its data type."""
NOT_IN_TABLE: Final = "103"
"""A code is not in its table."""
UNSUPPORTED_TYPE: Final = "200"
"""MSH-9.1 is no type of message that is taken."""
UNSUPPORTED_EVENT: Final = "201"
"""MSH-9.2 is no event that is taken."""
UNSUPPORTED_PROCESSING: Final = "202"
"""MSH-11 is not taken here."""
UNSUPPORTED_VERSION: Final = "203"
"""MSH-12 is no version that is taken."""
APPLICATION: Final = "207"
"""An internal error of the application."""


class Fault(NamedTuple):
    """A fault at its place, as ERR-2 and ERR-3 carry it."""

    segment: str
    """The segment's name, or where a segment is missing, the name that it would have."""
    sequence: int
    """The segment's occurrence within the message, counted from 1 per segment name."""
    field: int
    """The field's number; 0: the segment as a whole."""
    component: int
    """The component's number; 0: the field as a whole."""
    code: str
    """A code of HL7 table 0357."""
    rule: str
    """The rule that is broken and what to do about it, in words without a patient's value."""
    severity: Severity = "E"

    @property
    def place(self) -> str:
        """The place in words for people: `OBX[3]-5.2`."""
        field = f"-{self.field}" if self.field else ""
        component = f".{self.component}" if self.component else ""
        return f"{self.segment}[{self.sequence}]{field}{component}"
