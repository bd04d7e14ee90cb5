"""Codes and names of resources as evidence: what is said, folded, whatever the case and accents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.fhir.datatypes import listed
from store.search.values.escapes import escape
from store.search.values.strings import folded_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.fhir.datatypes import Json, JsonObject

_PARENT: Final = "urn:dod:hl7v2:OBR-26"
"""URL of the extension with a parent result: its code, sub-id and text, as they were sent."""
_NOT_BORNE: Final = ("old", "temp", "anonymous", "maiden", "nickname")
"""Uses of names that are no evidence of who somebody is: `Bob` is many."""
_TITLES: Final = frozenset(
    "dr doctor prof professor md do mbbs phd dds dmd pharmd rn np pa mr mrs ms miss sir dame".split()
)


def parent_of(report: JsonObject) -> str:
    """Code and sub-id of a parent result; without a sub-id the text tells one organism from another."""
    for one in listed(report.get("extension")):
        if isinstance(one, dict) and one.get("url") == _PARENT and isinstance(one.get("valueString"), str):
            code, *told = str(one["valueString"]).split("^")
            sub_id = told[0].strip() if told else ""
            return " ".join([code.partition("&")[0], sub_id or folded(" ".join(told))])
    return ""


def codes_of(code: Json) -> Iterator[str]:
    """`system|code` of each coding of a concept, or of a coding itself."""
    for concept in listed(code):
        if not isinstance(concept, dict):
            continue
        codings: Iterable[Json] = listed(concept.get("coding")) if "coding" in concept else [concept]
        for coding in codings:
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                yield f"{escape(str(coding.get('system') or ''))}|{escape(str(coding['code']))}"


def title_of(code: Json) -> str:
    """The folded text of a concept."""
    texts = (one.get("text") for one in listed(code) if isinstance(one, dict))
    return next((folded(text) for text in texts if isinstance(text, str)), "")


def telling_words(names: Iterable[str]) -> set[str]:
    """Words of names that tell one from another: no titles, and no initials."""
    return {word for name in names for word in name.split() if len(word) > 1 and word not in _TITLES}


def name_of(resource: JsonObject) -> Json:
    """The name of a person or organization; of a Device those that are given to it."""
    if resource.get("resourceType") != "Device":
        return resource.get("name")
    given = [one.get("name") for one in listed(resource.get("deviceName")) if isinstance(one, dict)]
    return [one for one in given if isinstance(one, str)]


def folded(text: str) -> str:
    """Text without case and accents. What is stored was folded so, whatever searches take for alike."""
    return " ".join(folded_words(text))


def names_of(names: Json) -> Iterator[str]:
    """Each name as its sorted words: a person's family and given names, else the text."""
    for name in listed(names):
        if isinstance(name, str) and folded(name):
            yield folded(name)
        elif isinstance(name, dict) and name.get("use") not in _NOT_BORNE:
            words = _words([name.get("family"), *listed(name.get("given"))]) or _words([name.get("text")])
            # `Jr` and `Sr` are all that tells some fathers from their sons.
            words |= _words(listed(name.get("suffix"))) if words else set()
            if words:
                yield " ".join(sorted(words))


def _words(parts: Iterable[Json]) -> set[str]:
    return {word for part in parts if isinstance(part, str) for word in folded_words(part)}
