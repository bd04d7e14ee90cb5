"""Text search: `_content` in all that a resource says, `_text` in its narrative.

What is stored is one string of distinct folded words, each behind a space; a search finds words by their
start, and all words of a value must occur. https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from store.search.escapes import unescape
from store.search.strings import fold, folded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.fhir.datatypes import Json
    from store.search.criteria import Filter

CONTENT_MAX: Final = 50_000
"""Characters of a resource that are indexed; documents are attachments, not elements."""
_NOT_SAID: Final = frozenset(
    ("resourceType", "id", "meta", "data", "system", "reference", "url", "contentType", "language", "hash")
)
"""Elements that hold no text for people: machine names, addresses, encoded documents. Dates neither."""
_DATE: Final = re.compile(r"\d{4}-\d\d(?:-\d\d|$)")
_TAG: Final = re.compile(r"<[^>]*>")


def content(resource: Json) -> str:
    """The words of a whole resource, or of a narrative."""
    said = " ".join(_texts(resource))[:CONTENT_MAX]
    return _joined(said)


def narrative(div: str) -> str:
    """The words of an XHTML narrative."""
    return _joined(_plain(div)[:CONTENT_MAX])


def _joined(text: str) -> str:
    words = dict.fromkeys(folded(text).split())
    return " " + " ".join(words) if words else ""


def _plain(div: str) -> str:
    return html.unescape(_TAG.sub(" ", div))


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        if not _DATE.match(value):
            yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name == "div" and isinstance(inner, str):
                yield _plain(inner)
            elif name not in _NOT_SAID:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def parse(text: str) -> tuple[str, ...]:
    """One alternative of a query, as folded words. Raises ValueError with the rule."""
    words = tuple(dict.fromkeys(fold(unescape(text)).split()))
    if not words:
        message = "the value has no letter or digit to search for"
        raise ValueError(message)
    return words


def to_filter(field: str, values: Sequence[Sequence[str]]) -> Filter:
    """What the stored words must fulfil."""
    stored = {"$ifNull": [f"${field}", ""]}

    def occurs(word: str) -> Filter:
        return {"$gte": [{"$indexOfBytes": [stored, f" {word}"]}, 0]}

    either = [{"$and": list(map(occurs, words))} for words in values]
    return {"$expr": {"$or": either}}
