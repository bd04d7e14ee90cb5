"""What the `Prefer` header asks of how deviations are taken. https://hl7.org/fhir/R4/search.html#errors"""

from __future__ import annotations


def handling(prefer: str) -> str | None:
    """`strict`, `lenient` or whatever is named first (RFC 7240, section 2); None when nothing is."""
    for part in prefer.replace(";", ",").split(","):
        name, _, value = "".join(part.split()).lower().partition("=")
        if name == "handling":
            return value.replace('"', "")
    return None
