"""Charsets of a message by MSH-18 (HL7 table 0211), and text from its bytes. Pure.

Sources write the charset in many ways and often not the one that they use. What MSH-18 says is believed;
ASCII, the default that nobody looks at, is believed of ASCII bytes alone.
"""

from __future__ import annotations

import codecs
from encodings.aliases import aliases
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ISO: Final[Mapping[str, str]] = {
    f"8859{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))
}
_CODECS: Final[Mapping[str, str]] = {
    **_ISO,
    **{f"iso{name}": codec for name, codec in _ISO.items()},
    "ascii": "ascii",
    "usascii": "ascii",
    "isoir6": "ascii",
    "isoir100": "iso8859-1",
    "isoir101": "iso8859-2",
    "isoir109": "iso8859-3",
    "isoir110": "iso8859-4",
    "isoir144": "iso8859-5",
    "isoir127": "iso8859-6",
    "isoir126": "iso8859-7",
    "isoir138": "iso8859-8",
    "isoir148": "iso8859-9",
    "latin1": "iso8859-1",
    "unicode": "utf-8",
    "unicodeutf8": "utf-8",
    "utf8": "utf-8",
    "isoir192": "utf-8",
    "unicodeutf16": "utf-16",
    "unicodeutf32": "utf-32",
    "isoir14": "iso2022_jp",
    "isoir87": "iso2022_jp",
    "isoir159": "iso2022_jp_1",
    "isoir13": "shift_jis",
    "gb180302000": "gb18030",
    "gb18030": "gb18030",
    "gbk": "gbk",
    "gb2312": "gb2312",
    "ksx1001": "euc_kr",
    "cns116431992": "cp950",
    "big5": "big5",
    "windows1252": "cp1252",
    "ansi": "cp1252",
    "ansi1252": "cp1252",
}
"""Python's codecs by the letters and digits of the name."""
_NAME_MAX: Final = 64
"""Longest name that is looked for."""
_NAMES_MAX: Final = 16
"""Repetitions of MSH-18 that are looked at: HL7's table has no more that go together."""
_UNREAD: Final = frozenset({"idna", "mbcs", "punycode", "unicode_escape", "raw_unicode_escape", "utf_7"})
"""Codecs that are no charset of messages. That of punycode takes a minute for half a megabyte.

See DECISIONS.md#charsets-by-table.
"""
_UNNAMED: Final = ("cp720", "cp737", "cp856", "cp874", "koi8_t", "koi8_u")
"""Charsets of Python's that have no other name."""
_SWITCHING: Final = "iso2022_jp"
"""Codecs that follow the escape sequences from one charset to the next."""
_ALL_OF_JIS: Final = "iso2022_jp_ext"
_ANY_BYTE: Final = "cp1252"
_LAST: Final = "iso8859-1"
_BOM: Final = codecs.BOM_UTF8


class Decoded(NamedTuple):
    """Text of a message."""

    text: str
    encoding: str
    """Python's name of the charset that the bytes were read with."""
    guessed: bool = False
    """Whether nobody said what the bytes are, and they are no UTF-8."""


class UnknownCharset(ValueError):  # noqa: N818 -- says what the charset is
    """A charset that is not known here, or bytes that are not of it; the text is the rule."""


def codec_of(name: str) -> str | None:
    """Python's codec for a name of HL7's table 0211, or one that senders use; None: unknown."""
    bare = _bare(name[: _NAME_MAX + 1])
    return None if len(name) > _NAME_MAX else _CODECS.get(bare) or _named(_ALIASES.get(bare))


def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


_ALIASES: Final[Mapping[str, str]] = {
    _bare(name): codec
    for alias, codec in (*aliases.items(), *((one, one) for one in _UNNAMED))
    if codec not in _UNREAD
    for name in (alias, codec)
}
"""Python's names of codecs by their letters and digits. Python itself is never asked for a name that came: it
remembers each that it does not know, for ever.
"""


@lru_cache(maxsize=256)
def _named(codec: str | None) -> str | None:
    """Python's name of a codec of texts; None: it is none, or not of this platform."""
    try:
        found = codecs.lookup(codec or "")
    except LookupError:
        return None
    return found.name if getattr(found, "_is_text_encoding", True) else None


def _declared(names: Sequence[str]) -> str | None:
    """The codec of all that MSH-18 names; None: a charset that is not known.

    The first repetition is the default, ASCII where it is empty; the others are what escape sequences switch
    to, and hold ASCII themselves. HL7 v2.5.1, 2.15.9.18.
    """
    first, *others = [codec_of(one) if one else "ascii" for one in names[:_NAMES_MAX]]
    if others and any(one and one.startswith(_SWITCHING) for one in (first, *others)):
        return _ALL_OF_JIS
    return first if first != "ascii" else next((one for one in others if one and one != "ascii"), first)


def decode(data: bytes, declared: Sequence[str], default: str | None) -> Decoded:
    """Text of a message; `declared` are the repetitions of MSH-18. Raises UnknownCharset."""
    data = data.removeprefix(_BOM)
    codec = _declared(declared)
    if codec is None and data.isascii():
        return Decoded(data.decode("ascii"), "ascii")  # Whatever the name means, these are the same in it.
    if codec is None:
        message = "MSH-18 names a charset that is not known; use a value of HL7 table 0211"
        raise UnknownCharset(message)
    if codec == "ascii":
        if data.isascii():
            return Decoded(
                data.decode("ascii"), "ascii" if any(declared) else codec_of(default or "") or "utf-8"
            )
        return _undeclared(data, default)
    try:
        return Decoded(data.decode(codec), codec)
    except UnicodeError:
        message = "the bytes are not of the charset that MSH-18 names; name the one that is used"
        raise UnknownCharset(message) from None


def _undeclared(data: bytes, default: str | None) -> Decoded:
    """Text whose charset the message does not name: the source's default, else UTF-8 where it is that."""
    if default:
        codec = codec_of(default)
        try:
            if codec is not None:
                return Decoded(data.decode(codec), codec)
        except UnicodeError:
            pass
        message = "the bytes are not of the source's default charset; name the one that is used in MSH-18"
        raise UnknownCharset(message)
    for codec in ("utf-8", _ANY_BYTE):
        try:
            return Decoded(data.decode(codec), codec, guessed=codec != "utf-8")
        except UnicodeError:
            continue
    return Decoded(data.decode(_LAST), _LAST, guessed=True)
