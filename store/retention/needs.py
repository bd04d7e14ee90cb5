"""Needs of resources: what one needs stays as long as it does, and goes with the last one that needs it.

Pure. A report needs its observations, they their specimens, all of them their patient. Needs go down one
order of types only, so that nothing keeps itself alive in a circle.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from store.fhir.references import RELATIVE
from store.fhir.resource_types import NOT_ABOUT_PATIENTS
from store.files import FILE_ID
from store.search.parameters import TYPES, SearchType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
    """Rank of a type in the order of needs."""
    return _RANK.get(resource_type, _OTHERS)


def is_ever_needed(resource_type: str) -> bool:
    """Whether anything can need a resource of this type: nothing needs a report."""
    return rank(resource_type) > 0 and resource_type not in NOT_ABOUT_PATIENTS


def needs_of(
    resource_type: str, fields: Mapping[str, Any], raw: bytes, derived_from: Iterable[str] = ()
) -> list[str]:
    """`Type/id` of all that a resource needs: what its bytes refer to, absolute references to us, sources.

    `fields` are those of the search index, which knows our own base URL; `derived_from` are the records of
    the message that it was made of.
    """
    if resource_type in NOT_ABOUT_PATIENTS:
        return []
    found = {one.decode() for one in _REFERENCE.findall(raw)} | set(derived_from)
    if b"Binary/" in raw:  # In an attachment's `url`.
        found |= {
            f"Binary/{one.decode()}" for one in _BINARY.findall(raw) if not FILE_ID.fullmatch(one.decode())
        }
    needed, names = _needed_by(resource_type), _references_of(resource_type)
    indexed = {one for name in names if name in fields for one in fields[name]} - found
    found.update(one for one in indexed if isinstance(one, str) and RELATIVE.fullmatch(one))
    return sorted([one for one in found if one.partition("/")[0] in needed])


@cache
def _references_of(resource_type: str) -> tuple[str, ...]:
    """The parameters of a type that are references."""
    return tuple(row.name for row in TYPES[resource_type].rows if row.type is SearchType.REFERENCE)


@cache
def _needed_by(resource_type: str) -> frozenset[str]:
    """The types that one of this type may need."""
    own = rank(resource_type)
    below = {name for name in TYPES if name not in NOT_ABOUT_PATIENTS and own < rank(name)}
    return frozenset(below | ({"Observation"} if resource_type == "Observation" else set()))
