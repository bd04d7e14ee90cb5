"""The budget of an HL7 v2 message: its segments and parts, counted before it is taken apart.

Pure. A segment may be four bytes long and makes a resource or two: bytes alone bound neither memory nor time.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ingest.hl7v2.faults import APPLICATION, Fault

LIGHT_SEGMENTS: Final = 200
"""Most segments of a message that is handled on the event loop; some ten milliseconds."""
LIGHT_PARTS: Final = 20_000
"""Most parts of such a message."""
BATCH_SEGMENTS: Final = 10
"""Segments of all messages of a batch together, as a multiple of those that one may have."""
PIECE_BYTES: Final = 262_144
"""Bytes looked at together: an early end costs no look at the rest."""
_ENDS: Final = b"\r\n"
_HEAD: Final = b"MSH"
_NAMES_OF_DELIMITERS: Final = slice(3, 8)
_STANDARD: Final = b"|^~\\&"
_BEGINNINGS: Final = (b"MSH", b"PID")
"""Segments that begin what is stored by itself: a message, a patient of one."""


class MessageWeight(NamedTuple):
    """Estimated cost of a message."""

    segments: int
    """Number of line ends."""
    parts: int
    """Number of fields, repetitions, components and escapes, or more."""

    @property
    def is_light(self) -> bool:
        """Whether the message may be handled on the event loop, if it has few bytes."""
        return self.segments <= LIGHT_SEGMENTS and self.parts <= LIGHT_PARTS


def weigh(message: bytes, *, segments: int, parts: int) -> MessageWeight:
    """The weight of a message, counted not much further than these bounds."""
    start = message.find(_HEAD, 0, PIECE_BYTES)
    delimiters = message[start:][:8][_NAMES_OF_DELIMITERS] if start >= 0 else _STANDARD
    ends = inner = 0
    for at in range(0, len(message), PIECE_BYTES):
        piece = message[at : at + PIECE_BYTES]
        ends += _count(piece, _ENDS)
        inner += _count(piece, delimiters)
        if ends > segments or inner > parts:
            break
    return MessageWeight(ends, inner)


def fault_of(weight: MessageWeight, *, segments: int, parts: int) -> Fault | None:
    """The fault of a message that has more than these; None: it has not."""
    if weight.segments > segments:
        rule = f"the message has more than {segments} segments (`DOD_HL7V2_SEGMENTS_MAX`)"
    elif weight.parts > parts:
        rule = f"the message has more than {parts} fields and components (`DOD_BODY_ELEMENTS_MAX`)"
    else:
        return None
    return Fault("MSH", 1, 0, 0, APPLICATION, f"{rule}; send its reports in several messages")


def excess(body: bytes, *, segments: int, messages: int) -> str | None:
    """Rule that a batch breaks, or a message about many patients; None: it breaks none."""
    most = segments * BATCH_SEGMENTS
    ends = 0
    for at in range(0, len(body), PIECE_BYTES):
        ends += _count(body[at : at + PIECE_BYTES], _ENDS)
        if ends > most:
            return f"a batch may have at most {most} segments, ten times `DOD_HL7V2_SEGMENTS_MAX`"
    if max(body.count(b"\r" + begin) + body.count(b"\n" + begin) for begin in _BEGINNINGS) >= messages:
        return f"a batch may have at most {messages} messages or patients (`DOD_BUNDLE_ENTRIES_MAX`)"
    return None


def _count(piece: bytes, signs: bytes) -> int:
    return len(piece) - len(piece.translate(None, signs))
