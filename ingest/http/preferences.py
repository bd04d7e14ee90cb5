"""Wishes of the `Prefer` header (RFC 7240): how deviations are taken, and what an answer shows.

https://hl7.org/fhir/R4/http.html#ops, https://hl7.org/fhir/R4/search.html#errors
"""

from __future__ import annotations


def handling(prefer: str) -> str | None:
    """`strict`, `lenient` or whatever is named first; None when nothing is."""
    return _preferred(prefer, "handling")


def returned(prefer: str) -> str | None:
    """`minimal`, `representation`, `operationoutcome` or whatever is named first; None when nothing is."""
    return _preferred(prefer, "return")


def _preferred(prefer: str, wanted: str) -> str | None:
    for part in prefer.replace(";", ",").split(","):
        name, _, value = "".join(part.split()).lower().partition("=")
        if name == wanted:
            return value.replace('"', "")
    return None
