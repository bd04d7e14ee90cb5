"""Mentions of a patient in HL7 v2 messages that were never taken apart: numbers, names, dates of birth. Pure.

A message that was refused has no systems to its numbers, so that a number alone tells: rather a message too
many is erased than one too few. Whatever the delimiters and charset, a value stands between characters that
are no letters or digits.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE: Final = rb"(?:^|[\r\n])[ \t\x00\x0b]*"
_SEGMENT: Final = re.compile(_LINE + rb"(?:MSH|FHS|BHS|PID)[^0-9A-Za-z\s]", re.IGNORECASE)
_LOOKED_AT: Final = 10_000
"""Bytes in which a first segment stands, if there is one."""
_PID: Final = re.compile(_LINE + rb"PID([^0-9A-Za-z\s])([^\r\n]*)", re.IGNORECASE)
_CHARSETS: Final = (
    *(f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))),
    *(f"cp{page}" for page in (437, 850, 852, 866, *range(1250, 1259))),
    *("koi8_r", "koi8_u", "iso2022_jp", "shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
)
"""Charsets in which a value is looked for, beside its bytes in UTF-8: nobody says which one it was."""
BORN: Final = 7
"""Number of PID's field with the date of birth."""
_NUMBERED: Final = re.compile(_LINE + rb"(PID|MRG)([^0-9A-Za-z\s])([^\r\n]*)", re.IGNORECASE)
_NUMBERS: Final = {b"PID": (2, 3, 4, 18, 19), b"MRG": (1, 2, 3, 4)}
"""Fields with numbers of a patient, or of the record that is merged into theirs."""
_ENCODING: Final = re.compile(rb"MSH([^0-9A-Za-z\s])([^\r\n]{4})")
_USUAL: Final = b"^~\\&"
"""Delimiters within fields, where no header names others: components, repetitions, escapes, subcomponents."""
NUMBERS_MAX: Final = 10_000


def is_er7(body: bytes) -> bool:
    """Whether a body is a message, or a batch of them."""
    return _SEGMENT.search(body, 0, _LOOKED_AT) is not None


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
        for number in _NUMBERS[segment.upper()]:
            for one in fields[number - 1].split(repetition) if number <= len(fields) else ():
                value = one.split(component)[0].split(within)[0].strip()
                found |= {value.decode("latin-1"), value.decode(errors="replace")} if value else set()
        if len(found) > NUMBERS_MAX:
            break
    return found


def _spellings(value: str) -> Iterable[bytes]:
    found = set()
    for text in {value, value.upper(), value.lower()}:  # Bytes fold no letters but ASCII's.
        found.add(text.encode())
        for charset in () if text.isascii() else _CHARSETS:
            with suppress(UnicodeEncodeError):
                found.add(text.encode(charset))
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
