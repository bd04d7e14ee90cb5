"""The categories and statuses that R4 knows: a policy that names another one is misspelt.

A code system of the tenant's own is written out, `system|code`, and not looked into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CATEGORIES: Final[Mapping[str, frozenset[str]]] = {
    # https://terminology.hl7.org/CodeSystem-v2-0074.html
    "http://terminology.hl7.org/CodeSystem/v2-0074": frozenset(
        """AU BG BLB CG CH CP CT CTH CUS EC EN GE HM ICU IMG IMM LAB MB MCB MYC NMR NMS NRS OSL OT OTH OUS
        PAR PAT PF PHR PHY PT RAD RC RT RUS RX SP SR TX URN VR VUS XRC""".split()
    ),
    # https://terminology.hl7.org/CodeSystem-observation-category.html
    "http://terminology.hl7.org/CodeSystem/observation-category": frozenset(
        """social-history vital-signs imaging laboratory procedure survey exam therapy activity""".split()
    ),
    # US Core: notes by LOINC, https://hl7.org/fhir/us/core/ValueSet-us-core-diagnosticreport-category.html
    "http://loinc.org": frozenset("LP29684-5 LP29708-2 LP7839-6 LP7801-6 LP173421-1".split()),
    "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category": frozenset({"clinical-note"}),
}
"""Categories by code system."""
STATUSES: Final[Mapping[str, frozenset[str]]] = {
    # https://hl7.org/fhir/R4/valueset-diagnostic-report-status.html
    "DiagnosticReport": frozenset(
        """registered partial preliminary final amended corrected appended cancelled entered-in-error
        unknown""".split()
    ),
    # https://hl7.org/fhir/R4/valueset-observation-status.html
    "Observation": frozenset(
        "registered preliminary final amended corrected cancelled entered-in-error unknown".split()
    ),
}
"""Statuses by type; those of other types are not looked into."""


def is_category(text: str) -> bool:
    """Whether `code` or `system|code` may be a category."""
    system, bar, code = text.rpartition("|")
    folded = code.casefold()
    if not bar:
        return any(folded == one.casefold() for known in CATEGORIES.values() for one in known)
    known = CATEGORIES.get(system)
    if known is None or system == "http://loinc.org":  # LOINC has more that may be one.
        return bool(system and code)
    return any(folded == one.casefold() for one in known)
