"""Hearing of changes: what a caller may be told, by scopes and by the patient scope of its tenant. Pure.

The same as with the history of a type (`DECISIONS.md#history-type-needs-rsu`): changes tell of every patient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.fhir.resource_types import NOT_ABOUT_PATIENTS
from store.search.reach import reaches
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from store.search.reach import Reach

READ_AND_SEARCH: Final = "rs"
UPDATE: Final = "u"


def hears(caller: Reach, resource_type: str, scope: SearchScope) -> bool:
    """Whether a caller may hear of changes of a type, or of a part of it."""
    if not reaches(caller, resource_type, READ_AND_SEARCH):
        return False
    if scope is not SearchScope.PATIENT or resource_type in NOT_ABOUT_PATIENTS:
        return True
    return caller.may(resource_type, UPDATE)
