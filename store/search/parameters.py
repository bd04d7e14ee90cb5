"""The table everything is one of: which types there are, and what each can be searched by.

Indexing, parsing, planning, `/metadata`, the docs and the tests walk it. Another resource type or parameter
is a row in `store.search.rows`. https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.fhir.resource_types import RESOURCE_TYPES
from store.search.rows import care, diagnostics, directory, documents, orders
from store.search.rows.diagnostics import DIAGNOSTIC_REPORT
from store.search.rows.parameter import WHEN, Parameter, SearchType
from store.search.rows.resource_type import COMMON, ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COMMON", "DIAGNOSTIC_REPORT", "TYPES", "WHEN", "Parameter", "ResourceType", "SearchType"]

_OWN: Final = (
    DIAGNOSTIC_REPORT,
    diagnostics.OBSERVATION,
    directory.PATIENT,
    orders.SERVICE_REQUEST,
    care.ENCOUNTER,
    diagnostics.SPECIMEN,
    documents.PROVENANCE,
    care.CARE_TEAM,
    directory.DEVICE,
    documents.DOCUMENT_REFERENCE,
    directory.GROUP,
    diagnostics.IMAGING_STUDY,
    directory.LOCATION,
    diagnostics.MEDIA,
    directory.ORGANIZATION,
    directory.PRACTITIONER,
    directory.PRACTITIONER_ROLE,
    directory.RELATED_PERSON,
    care.CONDITION,
    care.PROCEDURE,
    care.CARE_PLAN,
    orders.TASK,
    orders.MEDICATION_REQUEST,
    directory.MEDICATION,
    care.IMMUNIZATION,
    care.ALLERGY_INTOLERANCE,
    documents.COMPOSITION,
    documents.LIST,
    documents.QUESTIONNAIRE_RESPONSE,
    documents.BUNDLE,
    diagnostics.MOLECULAR_SEQUENCE,
    directory.ENDPOINT,
)
_ROWS: Final = {row.name: row for row in _OWN}

TYPES: Final[Mapping[str, ResourceType]] = {
    **_ROWS,
    **{name: ResourceType(name) for name in sorted(RESOURCE_TYPES) if name not in _ROWS},
}
"""Types that can be pushed, read and searched: those with rows of their own first, then all others of R4,
which a bundle may carry along, by the common parameters."""
