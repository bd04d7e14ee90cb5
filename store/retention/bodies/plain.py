"""Bodies that were never taken apart, in one spelling: UTF-8, and JSON's escapes undone. Pure.

Senders escape slashes, apostrophes and umlauts, or send UTF-16. A name is the same in each.
See DECISIONS.md#letters-in-one-spelling.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_BOMS: Final = (  # UTF-32's begins as UTF-16's does.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (codecs.BOM_UTF8, "utf-8"),
)
_ZEROS: Final[
    dict[tuple[bool, ...], str]
] = {  # Of the first four bytes: https://www.rfc-editor.org/rfc/rfc4627#section-3
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
}
_ESCAPE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL
)


def in_utf8(body: bytes) -> bytes:
    """The body without a byte order mark, from UTF-16 and UTF-32 too."""
    for mark, codec in _BOMS:
        if body.startswith(mark):
            rest = body[len(mark) :]
            return rest if codec == "utf-8" else _read(rest, codec)
    zeros = _ZEROS.get(tuple(byte == 0 for byte in body[:4]))
    return _read(body, zeros) if zeros else body


def _read(body: bytes, codec: str) -> bytes:
    """Text by the codec, and without the zeros: what was cut into lines as bytes is no text any more."""
    return body.decode(codec, errors="replace").encode() + b"\n" + body.replace(b"\0", b"")


def unescaped(text: bytes) -> bytes:
    """JSON text with its escapes undone, but for those without which it would not be the same JSON."""
    return _ESCAPE.sub(_character, text) if b"\\" in text else text


def _character(found: re.Match[bytes]) -> bytes:
    escape = found[0]
    if escape == rb"\/":
        return b"/"
    if not escape.startswith(b"\\u"):
        return escape
    codes = bytes.fromhex(escape.replace(b"\\u", b"").decode())
    character = codes.decode("utf-16-be", errors="replace")
    return escape if character in '"\\' or character < " " else character.encode()
