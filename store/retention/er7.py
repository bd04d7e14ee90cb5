"""Mentions of a patient in HL7 v2 messages that were never taken apart: numbers, names, dates of birth. Pure.

A message that was refused has no systems to its numbers, so that a number alone tells: rather a message too
many is erased than one too few. Whatever the delimiters and charset, a value stands between characters that
are no letters or digits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_BEGINNING: Final = re.compile(rb"[\s\x0b]*(?:MSH|FHS|BHS|PID)[^0-9A-Za-z\s]")
_PID: Final = re.compile(rb"(?:^|[\r\n])PID([^0-9A-Za-z\s])([^\r\n]*)")
_CHARSETS: Final = ("utf-8", "iso8859-1", "iso8859-15")
"""Charsets in which a value is looked for, beside its bytes in UTF-8."""
BORN: Final = 7
"""Number of PID's field with the date of birth."""
_NUMBERED: Final = re.compile(rb"(?:^|[\r\n])(PID|MRG)([^0-9A-Za-z\s])([^\r\n]*)")
_NUMBERS: Final = {b"PID": (2, 3, 4, 18, 19), b"MRG": (1, 2, 3, 4)}
"""Fields with numbers of a patient, or of the record that is merged into theirs."""
_ENCODING: Final = re.compile(rb"MSH([^0-9A-Za-z\s])([^\r\n]{4})")
_USUAL: Final = b"^~\\&"
"""Delimiters within fields, where no header names others: components, repetitions, escapes, subcomponents."""
NUMBERS_MAX: Final = 10_000


def is_er7(body: bytes) -> bool:
    """Whether a body is a message, or a batch of them."""
    return _BEGINNING.match(body) is not None


def holds(body: bytes, value: str) -> bool:
    """Whether a message has this value, whatever it is a part of."""
    return any(
        re.search(rb"(?<![0-9A-Za-z])" + re.escape(spelled) + rb"(?![0-9A-Za-z])", body, re.IGNORECASE)
        for spelled in _spellings(value)
    )


def numbers_in(body: bytes) -> set[str]:
    """The numbers of the patients whom messages are about, without their authorities."""
    header = _ENCODING.search(body)
    marks = header[2] if header is not None else _USUAL
    component, repetition, within = marks[:1], marks[1:2], marks[3:4]
    found: set[str] = set()
    for segment, mark, rest in _NUMBERED.findall(body):
        fields = rest.split(mark)
        for number in _NUMBERS[segment]:
            for one in fields[number - 1].split(repetition) if number <= len(fields) else ():
                value = one.split(component)[0].split(within)[0].strip()
                found |= {value.decode("latin-1"), value.decode(errors="replace")} if value else set()
        if len(found) > NUMBERS_MAX:
            break
    return found


def _spellings(value: str) -> Iterable[bytes]:
    found = {value.encode()}
    for charset in _CHARSETS:
        try:
            found.add(value.encode(charset))
        except UnicodeEncodeError:
            continue
    return found


def is_born_otherwise(body: bytes, born: str) -> bool:
    """Whether each patient of a message has another date of birth, as far as the two dates go."""
    told = [_field(found[1], found[2]) for found in _PID.finditer(body)]
    wanted = born.replace("-", "").encode()
    return bool(told) and all(one and not _agree(one, wanted) for one in told)


def _field(mark: bytes, rest: bytes) -> bytes:
    fields = rest.split(mark)
    return fields[BORN - 1][:8] if len(fields) >= BORN else b""


def _agree(one: bytes, other: bytes) -> bool:
    size = min(len(one), len(other))
    return one[:size] == other[:size]
