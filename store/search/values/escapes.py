r"""Splitting a search value at `,` `|` `$` and undoing `\,` `\|` `\$` `\\`.

Percent-decoding has happened before. https://hl7.org/fhir/R4/search.html#escaping
"""

from __future__ import annotations

import re
from typing import Final

_PIECE: Final = re.compile(r"\\(.)|([^\\])|(\\)$", re.DOTALL)
_ESCAPABLE: Final = frozenset(",|$\\")


def split(text: str, separator: str) -> list[str]:
    """The parts between unescaped separators, still escaped. Raises ValueError at a bad escape."""
    if "\\" not in text:
        return text.split(separator)
    parts, current = [], ""
    for match in _PIECE.finditer(text):
        escaped, plain, dangling = match.groups()
        if dangling or (escaped is not None and escaped not in _ESCAPABLE):
            message = r"a backslash escapes only `,` `|` `$` and itself"
            raise ValueError(message)
        if plain == separator:
            parts.append(current)
            current = ""
        else:
            current += match.group()
    return [*parts, current]


def unescape(text: str) -> str:
    """The text that was meant. Call it on a part that `split` has passed."""
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) if "\\" in text else text


def escape(text: str) -> str:
    """The part so that it can stand beside a `|` in an index entry and stay one part."""
    return text.replace("\\", "\\\\").replace("|", "\\|") if "|" in text or "\\" in text else text
