"""What a resource needs: it stays as long as the resource does, and goes with the last one that needs it.

Pure. A report needs its observations, they their specimens, all of them their patient. Needs go down one
order of types only, so that nothing keeps itself alive in a circle.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from store.attachments import FILE_ID
from store.fhir.references import RELATIVE
from store.fhir.resource_types import NOT_ABOUT_PATIENTS
from store.search.parameters import TYPES, SearchType

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDER: Final = (
    "DiagnosticReport",
    "Observation",
    "DocumentReference",
    "ImagingStudy",
    "Media",
    "Binary",
    "ServiceRequest",
    "Specimen",
    "*",
    "Encounter",
    "Device",
    "RelatedPerson",
    "Group",
    "Patient",
)
"""Each type may need those below it, and Observations each other; `*` is every type not named here."""
_RANK: Final = {name: place for place, name in enumerate(ORDER)}
_OTHERS: Final = _RANK["*"]
DEPTH_MAX: Final = 6
"""Steps from what changed to what it needs, and what that needs in turn."""
_REFERENCE: Final = re.compile(
    rb'"reference":\s*"([A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"'
)
_BINARY: Final = re.compile(rb'"(?:[^"]*/)?Binary/([A-Za-z0-9\-.]{1,64})(?:/_history/[0-9]+)?"')


def rank(resource_type: str) -> int:
    """Its place in the order of needs."""
    return _RANK.get(resource_type, _OTHERS)


def needs_of(resource_type: str, fields: Mapping[str, Any], raw: bytes) -> list[str]:
    """`Type/id` of all that a resource needs: what its bytes refer to, and absolute references to us.

    `fields` are those of the search index, which knows our own base URL.
    """
    if resource_type in NOT_ABOUT_PATIENTS:
        return []
    own = rank(resource_type)
    found = {one.decode() for one in _REFERENCE.findall(raw)}
    for row in TYPES[resource_type].rows:
        if row.type is SearchType.REFERENCE:
            found.update(fields.get(row.name, ()))
    if b"Binary/" in raw:  # In an attachment's `url`.
        found |= {
            f"Binary/{one.decode()}" for one in _BINARY.findall(raw) if not FILE_ID.fullmatch(one.decode())
        }
    return sorted(one for one in found if _may_need(resource_type, own, one))


def _may_need(resource_type: str, own: int, spelling: str) -> bool:
    match = RELATIVE.fullmatch(spelling)
    if match is None or match[1] in NOT_ABOUT_PATIENTS:
        return False
    return own < rank(match[1]) or resource_type == match[1] == "Observation"
