"""Delimiters of a message: MSH-1 and MSH-2."""

from __future__ import annotations

from typing import Final, NamedTuple


class Delimiters(NamedTuple):
    """The characters that structure a message."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""
    """The fifth character of MSH-2 (v2.7), which ends a truncated value; empty: there is none."""


STANDARD: Final = Delimiters()
