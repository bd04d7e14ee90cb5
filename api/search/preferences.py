"""Wishes of the `Prefer` header of a search. https://hl7.org/fhir/R4/search.html#errors"""

from __future__ import annotations

from ingest.http.preferences import handling


def wants_strict(prefer: str | None) -> bool:
    """Whether unknown parameters are to be refused instead of left out."""
    return handling(prefer or "") == "strict"
