"""Circumstances of a search that is read, and the ways in which a parameter can fail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from store.search.criteria import (
    PAGE_BYTES_MAX,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Bounds of a search; each is a setting."""

    count_default: int = 50
    count_max: int = 1_000
    bytes_max: int = PAGE_BYTES_MAX
    clauses_max: int = 50
    values_max: int = 300


class SearchContext(NamedTuple):
    """Circumstances of parsing, beside the text."""

    limits: SearchLimits
    base: str | None
    """The tenant's own base URL: an absolute reference under it is one of ours."""
    now: int
    """Microseconds since 1970, for the prefix `ap`."""
    strict: bool = False
    alternatives: bool = False
    """Whether other parameters are asked with the same value: it need not fit this one."""


class Unknown(Exception):  # noqa: N818 -- decides between lenient and strict, never leaves
    """Name that nobody knows: dropped or refused, as the client prefers."""

    def __init__(self, text: str, rest: str = "", *, word: str = "", names: Iterable[str] = ()) -> None:
        super().__init__(text)
        self.text = text
        self.rest = rest
        """Part of the value that was understood all the same."""
        self.word = word
        """The name that nobody knows; `names` are those that may be meant."""
        self.names = names


class Refused(Exception):  # noqa: N818 -- becomes an Issue of the parameter
    """Value or modifier that is refused, whatever the client prefers."""

    def __init__(self, text: str, code: str = "invalid") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Unfit(Refused):
    """Question that does not fit the type, whatever the value; it may fit another target of a chain."""


_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_:.\-]{0,127}")


def shown(name: str) -> str:
    """A parameter's name as it may be repeated to the client: a value in its place is not."""
    return name if _NAME.fullmatch(name) else "(unreadable name)"
