"""What the `Prefer` header asks of a search. https://hl7.org/fhir/R4/search.html#errors"""

from __future__ import annotations


def wants_strict(prefer: str | None) -> bool:
    """Whether unknown parameters are to be refused instead of left out."""
    if prefer is None:
        return False
    wishes = ("".join(wish.split()).lower() for part in prefer.split(",") for wish in part.split(";"))
    handling = [wish.replace('"', "") for wish in wishes if wish.startswith("handling=")]
    return handling[:1] == ["handling=strict"]  # Of several the first counts, RFC 7240 section 2.
