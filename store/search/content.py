"""Text search: `_content` in all that a resource says, `_text` in its narrative.

What is stored is one string of distinct folded words, each behind a space; a search finds words by their
start, and all words of a value must occur. https://hl7.org/fhir/R4/search.html#content
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Final

from store.search.escapes import unescape
from store.search.strings import fold, folded_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.fhir.datatypes import Json, JsonObject
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
    found = dict.fromkeys(folded_words(text))
    return " " + " ".join(found) if found else ""


def _plain(div: str) -> str:
    return html.unescape(_TAG.sub(" ", div))


def _texts(value: Json) -> list[str]:
    """What is said, in order. One list for all and no generators: this walks all of every push."""
    if isinstance(value, str):
        return [value]
    said: list[str] = []
    if isinstance(value, dict):
        _gather(value, said)
    return said


def _gather(element: JsonObject, said: list[str]) -> None:
    for name, value in element.items():
        if name in _NOT_SAID:
            continue
        if isinstance(value, str):
            if name == "div":
                said.append(_plain(value))
            elif not (value[:4].isdigit() and _DATE.match(value)):
                said.append(value)
        elif isinstance(value, dict):
            _gather(value, said)
        elif isinstance(value, list):
            _gather_list(value, said)


def _gather_list(values: Sequence[Json], said: list[str]) -> None:
    for value in values:
        if isinstance(value, dict):
            _gather(value, said)
        elif isinstance(value, str):
            if not (value[:4].isdigit() and _DATE.match(value)):
                said.append(value)
        elif isinstance(value, list):
            _gather_list(value, said)


def parse(text: str) -> tuple[str, ...]:
    """One alternative of a query, as folded words. Raises ValueError with the rule."""
    wanted = tuple(dict.fromkeys(fold(unescape(text)).split()))
    if not wanted:
        message = "the value has no letter or digit to search for"
        raise ValueError(message)
    return wanted


def to_filter(field: str, values: Sequence[Sequence[str]]) -> Filter:
    """What the stored words must fulfil."""
    stored = {"$ifNull": [f"${field}", ""]}

    def occurs(word: str) -> Filter:
        return {"$gte": [{"$indexOfBytes": [stored, f" {word}"]}, 0]}

    either = [{"$and": list(map(occurs, words))} for words in values]
    return {"$expr": {"$or": either}}
