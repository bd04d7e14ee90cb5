"""Short forms of clauses, as the parser makes them."""

from __future__ import annotations

from store.fhir import instants
from store.search.parameters import TYPES
from store.search.values.dates import DateValue

REPORT = TYPES["DiagnosticReport"].by_name


DR = "DiagnosticReport"


def date(text: str, prefix: str = "eq") -> DateValue:
    return DateValue(prefix, instants.parse(text))
