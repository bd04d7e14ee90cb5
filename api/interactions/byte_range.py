"""Bytes that a `Range` header asks for. https://www.rfc-editor.org/rfc/rfc9110.html#name-range-requests"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})", re.IGNORECASE | re.ASCII)


class ByteRange(NamedTuple):
    """Range from `start` up to, not including, `end`."""

    start: int
    end: int


class Unsatisfiable(Exception):  # noqa: N818 -- says what the range is
    """None of the bytes asked for is there: 416."""


def parse(header: str | None, size: int) -> ByteRange | None:
    """Range of so many bytes; None: the whole, as for what cannot be read and for several ranges at once.

    Raises Unsatisfiable.
    """
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:  # The last so many bytes.
        start, end = max(size - int(match[2]), 0), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None  # Not a range at all, and so to be ignored.
    if start >= end:
        raise Unsatisfiable
    return ByteRange(start, end)
