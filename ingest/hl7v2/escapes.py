r"""Escape sequences of ER7 text: `\F\ \S\ \T\ \R\ \E\ \P\`, `\.br\` and its like, `\Xhh\`, `\H\ \N\`. Pure.

HL7 v2.5.1, 2.7. A sequence that is not known here, charset switches and local ones among them, stays as
sent: nothing is lost, and nothing is guessed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.hl7v2.delimiters import Delimiters

_LINES: Final[Mapping[str, str]] = {
    ".br": "\n",
    ".ce": "\n",
    ".sp": "\n",
    ".fi": "",
    ".nf": "",
    ".in": "",
    ".ti": "",
    ".sk": " ",
    "H": "",
    "N": "",
}
"""Formatting commands (of which a number may follow), and highlighting, which plain text has not."""
_COMMAND: Final = re.compile(r"(\.[a-z]{2}|[HN])\s*([+-]?\d{0,4})", re.IGNORECASE)
_REPEATED: Final = frozenset({".sp", ".sk"})
_REPEATS_MAX: Final = 200
_HEX: Final = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_TEXT_BYTES: Final = frozenset({0x09, 0x0A, 0x0D, *range(0x20, 0x7F)})


@lru_cache(maxsize=64)
def unescaper(delimiters: Delimiters, encoding: str = "utf-8") -> Callable[[str], str]:
    """Make a function that reads a component as plain text; hexadecimal escapes are of the encoding."""
    mark = delimiters.escape
    if not mark:
        return str
    pattern = re.compile(f"{re.escape(mark)}([^{re.escape(mark)}]*){re.escape(mark)}", re.DOTALL)
    characters = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": mark,
        "P": delimiters.truncation or "#",
    }

    def plain(match: re.Match[str]) -> str:
        command = match[1]
        character = characters.get(command)
        if character is not None:
            return character
        known = _formatted(command)
        if known is None and command[:1] == "X":
            known = _from_hex(command, encoding)
        return match[0] if known is None else known

    def unescape(text: str) -> str:
        return pattern.sub(plain, text) if mark in text else text

    return unescape


def _formatted(command: str) -> str | None:
    match = _COMMAND.fullmatch(command)
    name = match[1] if match else ""
    line = _LINES.get(name.lower() if name.startswith(".") else name)
    if line is None or match is None:
        return None
    count = int(match[2] or 1) if name.lower() in _REPEATED else 1
    return line * min(max(count, 1), _REPEATS_MAX)


def _from_hex(command: str, encoding: str) -> str | None:
    match = _HEX.fullmatch(command)
    if match is None:
        return None
    data = bytes.fromhex(match[1])
    if not _TEXT_BYTES.issuperset(data) and data.isascii():
        return None  # Control characters are no text.
    try:
        return data.decode("utf-8" if encoding == "ascii" else encoding)
    except UnicodeError:
        return None


def escape(text: str, delimiters: Delimiters) -> str:
    """Text as it stands in a component: delimiters and line ends become escape sequences."""
    mark = delimiters.escape
    table = {
        mark: f"{mark}E{mark}",
        delimiters.field: f"{mark}F{mark}",
        delimiters.component: f"{mark}S{mark}",
        delimiters.subcomponent: f"{mark}T{mark}",
        delimiters.repetition: f"{mark}R{mark}",
        "\r\n": f"{mark}.br{mark}",
        "\r": f"{mark}.br{mark}",
        "\n": f"{mark}.br{mark}",
    }
    if delimiters.truncation:
        table[delimiters.truncation] = f"{mark}P{mark}"
    wanted = "|".join(re.escape(one) for one in sorted(table, key=len, reverse=True) if one)
    return re.sub(wanted, lambda match: table[match[0]], text) if mark else text
