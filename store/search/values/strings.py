"""String search: folded for case and accents, from the start of any word.

https://hl7.org/fhir/R4/search.html#string
"""

from __future__ import annotations

import unicodedata
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from store.fhir.datatypes import Malformed
from store.search.values.escapes import unescape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.search.filters import Filter

LAST: Final = "\U0010ffff"
"""Sorts after every character a text can hold: the end of a prefix range."""
_PARTS: Final = (
    # HumanName, then Address: what the R4 text says a search by the whole looks into.
    "text family given prefix suffix line city district state postalCode country".split()
)
_DROPPED: Final = str.maketrans("", "", "'’`.")
"""Punctuation within a word: O'Brien is found as obrien. All other is a gap between words."""
_ALIKE: Final = {
    # Letters of their own in one language, which whoever has another keyboard writes like this.
    **dict.fromkeys(map(ord, "łŁ"), "l"),
    **dict.fromkeys(map(ord, "øØ"), "o"),
    **dict.fromkeys(map(ord, "đĐðÐ"), "d"),
    **dict.fromkeys(map(ord, "þÞ"), "th"),
    **dict.fromkeys(map(ord, "æÆ"), "ae"),
    **dict.fromkeys(map(ord, "œŒ"), "oe"),
    **dict.fromkeys(map(ord, "ħĦ"), "h"),
    **dict.fromkeys(map(ord, "ŧŦ"), "t"),
    0x131: "i",  # Turkish, without its dot.
    # Apostrophes within a word beside those above: modifier letters, single quotes, an acute accent, a prime.
    **dict.fromkeys((0xB4, 0x2B9, 0x2BB, 0x2BC, 0x2018, 0x2032, 0xFF07), None),
    # Nothing to see: soft hyphens, joiners, marks of direction, variants of a character.
    **dict.fromkeys((0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), 0xFEFF), None),
    **dict.fromkeys((*range(0x2060, 0x206A), *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)), None),
}
"""Characters that a search takes for others, or for none; Unicode's own forms know nothing of it."""
_ASCII_DROPPED: Final = b"'`."
_ASCII_FOLDED: Final = bytes(
    ord(letter.lower()) if letter.isascii() and letter.isalnum() else ord(" ")
    for letter in map(chr, range(256))
)
"""Lower case, or a blank, for each byte."""
REMEMBERED: Final = 200
"""Characters of the longest text whose folded form is remembered, so that the memory for it has a bound."""


WORDS_MAX: Final = 12
"""Words of one text that a search can start at."""
TEXT_MAX: Final = 1_000
"""Characters of one text that are indexed: a `valueString` can hold a whole document."""


_GROWTH_MAX: Final = 4
"""Characters that each of a long text is folded into, on the whole. A syllable of Hangul is three letters;
of the ligatures of eighteen no long text consists."""

_PIECE: Final = 256
"""Characters that are decomposed at once."""


class Match(StrEnum):
    """Way in which a value is compared."""

    START = "start"
    EXACT = "exact"
    CONTAINS = "contains"


def fold(text: str) -> str:
    """Text as it is searched: without case, accents, punctuation and repeated white space, and what is alike
    as one.
    """
    return _fold(text) if len(text) <= REMEMBERED else " ".join(searched_words(text))


@lru_cache(maxsize=1_024)
def _fold(text: str) -> str:
    return " ".join(searched_words(text))


def searched_words(text: str) -> list[str]:
    """The words of a text as they are searched, in order."""
    return folded_words(text if text.isascii() else text.translate(_ALIKE))


def folded_words(text: str) -> list[str]:
    """The words of a text by Unicode's own folding, in order: who is who is stored by them."""
    if text.isascii():
        # As bytes, in a quarter of the time that a regular expression takes.
        return text.encode().translate(_ASCII_FOLDED, _ASCII_DROPPED).decode().split()
    most = max(TEXT_MAX, len(text) * _GROWTH_MAX)
    decomposed = _decomposed(text.translate(_DROPPED))[:most].casefold()
    base = "".join(c if c.isalnum() else " " for c in decomposed if not unicodedata.combining(c))
    return base.split()


def _decomposed(text: str) -> str:
    """The text in letters and accents by themselves; the order of accents has no meaning here.

    Unicode's order of them takes the square of their number, and nobody else has the interpreter meanwhile:
    two megabytes of accents would stop the process for a quarter of an hour.
    """
    if len(text) <= _PIECE:
        return unicodedata.normalize("NFKD", text)
    pieces = (text[at : at + _PIECE] for at in range(0, len(text), _PIECE))
    return "".join(unicodedata.normalize("NFKD", piece) for piece in pieces)


def parse(text: str, match: Match) -> str:
    """Alternative of a query. Raises ValueError with the rule."""
    value = unescape(text)
    if match is Match.EXACT:
        return value
    folded = fold(value)
    if not folded:
        message = "the value has no letter or digit to search for"
        raise ValueError(message)
    return folded


def texts(value: Json, path: str) -> Iterator[str]:
    """The texts of a string, HumanName or Address."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _parts(value, path)
    else:
        raise Malformed(path, "must be a string, a HumanName or an Address")


def _parts(element: JsonObject, path: str) -> Iterator[str]:
    for name in _PARTS:
        part = element.get(name)
        for text in part if isinstance(part, list) else (part,):
            if isinstance(text, str):
                yield text
            elif text is not None:
                raise Malformed(f"{path}.{name}", "must be a string")


def words(text: str) -> list[str]:
    """The folded text from the start of each of its words: Quinones finds Carreño Quinones."""
    folded = fold(text[:TEXT_MAX])
    found: list[str] = []
    while folded and len(found) < WORDS_MAX:
        found.append(folded)
        folded = folded.partition(" ")[2]
    return found


def ends(said: Sequence[str]) -> list[str]:
    """The folded texts that sort first and last."""
    sorted_ = sorted(fold(text[:TEXT_MAX]) for text in said)
    return [sorted_[0], sorted_[-1]] if said else []


def to_filter(field: str, values: Sequence[str], match: Match) -> Filter:
    """Filter that the stored list must fulfil. No regular expression: a value is never a pattern."""
    if match is Match.EXACT:
        return {f"{field}:exact": {"$in": list(values)}}
    either: list[Filter] = [_start(field, v) if match is Match.START else _contains(field, v) for v in values]
    return either[0] if len(either) == 1 else {"$or": either}


def _start(field: str, value: str) -> Filter:
    return {field: {"$elemMatch": {"$gte": value, "$lt": value + LAST}}}


def _contains(field: str, value: str) -> Filter:
    held = {"$gte": [{"$indexOfCP": ["$$this", {"$literal": value}]}, 0]}
    found = {"$filter": {"input": {"$ifNull": [f"${field}", []]}, "cond": held}}
    return {"$expr": {"$gt": [{"$size": found}, 0]}}
