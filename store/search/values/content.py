"""Text search: `_content` in all that a resource says, `_text` in its narrative.

What is stored is one string of distinct folded words, each behind a space; a search finds words by their
start, and all words of a value must occur. https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.fhir.elements import plain, walk
from store.search.values.escapes import unescape
from store.search.values.strings import fold, searched_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from store.fhir.datatypes import JsonObject
    from store.search.filters import Filter

CONTENT_MAX: Final = 50_000
"""Characters of a resource that are indexed; documents are attachments, not elements."""


def content(resource: JsonObject) -> str:
    """The words of a whole resource."""
    return words(walk(resource).said)


def words(said: Iterable[str]) -> str:
    """The words of what a resource says."""
    return _joined(" ".join(said))


def narrative(div: str) -> str:
    """The words of an XHTML narrative."""
    return _joined(plain(div))


def _joined(text: str) -> str:
    found = dict.fromkeys(searched_words(text[:CONTENT_MAX]))
    return " " + " ".join(found) if found else ""


def parse(text: str) -> tuple[str, ...]:
    """Alternative of a query, as folded words. Raises ValueError with the rule."""
    wanted = tuple(dict.fromkeys(fold(unescape(text)).split()))
    if not wanted:
        message = "the value has no letter or digit to search for"
        raise ValueError(message)
    return wanted


def to_filter(field: str, values: Sequence[Sequence[str]]) -> Filter:
    """Filter that the stored words must fulfil."""
    stored = {"$ifNull": [f"${field}", ""]}

    def occurs(word: str) -> Filter:
        return {"$gte": [{"$indexOfBytes": [stored, f" {word}"]}, 0]}

    either = [{"$and": list(map(occurs, words))} for words in values]
    return {"$expr": {"$or": either}}
