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
_KNOWN_MAX: Final = 256
"""Commands whose text is remembered; a longer list would be an attack."""
_COMMAND_MAX: Final = 16
"""Characters of a command that is remembered: a longer one is text of somebody."""
_WORD: Final = re.compile(r"(?:[.A-Za-z][A-Za-z0-9.+-]*\s*[+-]?\d{0,4})?")
r"""A command, known or not: no text between two marks that nobody escaped, such as `1\2 of \T\`."""
_HEX: Final = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_TEXT_BYTES: Final = frozenset({0x09, 0x0A, 0x0D, *range(0x20, 0x7F)})


@lru_cache(maxsize=64)
def unescaper(delimiters: Delimiters, encoding: str = "utf-8") -> Callable[[str], str]:
    """Make a function that reads a component as plain text; hexadecimal escapes are of the encoding."""
    mark = delimiters.escape
    if not mark:
        return str
    known = {
        "F": delimiters.field,
        "S": delimiters.component,
        "T": delimiters.subcomponent,
        "R": delimiters.repetition,
        "E": mark,
        "P": delimiters.truncation or "#",
    }

    def plain(command: str) -> str:
        found = known.get(command)
        if found is None:
            found = _formatted(command)
            if found is None and command[:1] == "X":
                found = _from_hex(command, encoding)
            if found is None:
                found = f"{mark}{command}{mark}"
            if len(known) < _KNOWN_MAX and len(command) < _COMMAND_MAX:
                known[command] = found
        return found

    def unescape(text: str) -> str:
        if mark not in text:
            return text
        # Between two marks is a command; where it is no word, the first mark is a text of somebody.
        first, *parts = text.split(mark)
        made = [first]
        is_open = True
        """Whether the mark before a part may begin a command."""
        for part in parts[:-1]:
            is_command = is_open and _WORD.fullmatch(part) is not None
            made.append(plain(part) if is_command else f"{mark}{part}" if is_open else part)
            is_open = not is_command
        made.append(f"{mark}{parts[-1]}" if is_open else parts[-1])
        return "".join(made)

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
