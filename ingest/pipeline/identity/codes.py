"""Codes of a resource as evidence: what it says, and which result a report goes on from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.pipeline.identity.names import folded
from store.fhir.datatypes import listed
from store.search.values.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from store.fhir.datatypes import Json, JsonObject

_PARENT: Final = "urn:dod:hl7v2:OBR-26"
"""URL of the extension with a parent result: its code, sub-id and text, as they were sent."""


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
