"""What real senders do that R4 does not allow, and how it is mended: one named row each, all tested.

Every row that was applied is named in the reply and counted in a metric. Wrong code systems are not
rewritten: `store.search.tokens` finds them by either name (decision D12).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.datatypes import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.fhir.datatypes import Json

_LISTS: Final[Mapping[str, frozenset[str]]] = {
    "DiagnosticReport": frozenset(
        "identifier basedOn category performer resultsInterpreter specimen result imagingStudy media"
        " conclusionCode presentedForm".split()
    ),
    "Observation": frozenset(
        "identifier basedOn partOf category focus performer interpretation note referenceRange hasMember"
        " derivedFrom component".split()
    ),
    "Patient": frozenset(
        "identifier name telecom address contact communication generalPractitioner link".split()
    ),
    "ServiceRequest": frozenset(
        "identifier basedOn category performer reasonCode specimen note orderDetail".split()
    ),
    "Specimen": frozenset("identifier parent request processing container condition note".split()),
    "Encounter": frozenset("identifier type participant reasonCode diagnosis location".split()),
}
"""Elements with max cardinality `*`, https://hl7.org/fhir/R4/resourcelist.html."""


class Tolerance(NamedTuple):
    """One deviation: `mend` gives the mended resource, or the same object when there is nothing to mend."""

    name: str
    why: str
    mend: Callable[[JsonObject], JsonObject]


class Mended(NamedTuple):
    """A resource as it will be kept, and which tolerances made it so."""

    resource: JsonObject
    applied: tuple[str, ...] = ()


def _listed(resource: JsonObject) -> JsonObject:
    lists = _LISTS.get(str(resource.get("resourceType")), frozenset())
    lone = [name for name, value in resource.items() if isinstance(value, dict) and name in lists]
    if not lone:
        return resource
    return {name: [value] if name in lone else value for name, value in resource.items()}


def _without_empty(resource: JsonObject) -> JsonObject:
    if all(resource.values()):
        return resource
    empty = [name for name, value in resource.items() if isinstance(value, str | list | dict) and not value]
    return {name: value for name, value in resource.items() if name not in empty} if empty else resource


def _without_null(resource: JsonObject) -> JsonObject:
    if None not in resource.values():
        return resource
    return {name: value for name, value in resource.items() if value is not None}


def without_blanks(resource: JsonObject) -> JsonObject:
    """Without the empty strings and nulls anywhere inside, and without what had nothing else.

    In a list, null and text keep their place: a sibling list may belong to them.
    """
    solid = ((name, value, _solid(value)) for name, value in resource.items())
    return {name: after for name, before, after in solid if not _is_blank(before, after)}


def _solid(value: Json) -> Json:
    if isinstance(value, dict):
        return without_blanks(value)
    if not isinstance(value, list):
        return value
    solid = ((one, _solid(one)) for one in value)
    return [after for before, after in solid if not (isinstance(before, dict) and _is_blank(before, after))]


def _is_blank(before: Json, after: Json) -> bool:
    return before is None or before == "" or (after in ({}, []) and bool(before))


TOLERANCES: Final = (
    Tolerance("null-element", "Elements that are null, as ORMs write them.", _without_null),
    Tolerance("empty-element", "Elements that are an empty string, list or object.", _without_empty),
    Tolerance(
        "object-for-list",
        "An object where R4 has a list: `category` on upstream's own product page.",
        _listed,
    ),
)


KEPT: Final[Mapping[str, str]] = {
    "blank-inside": "Empty strings and nulls inside an element, as interface engines write them: left out.",
    "missing-required": "A companion, or a report in strict handling, lacks an element that R4 requires.",
    "faulty-companion": "What came along with a report breaks a rule: kept if it can be, else refused alone.",
    "entry-without-url": "An entry of a Bundle with `request.method` and no `request.url`, as HAPI's client"
    " writes them: type and id are those of its resource.",
    "no-message-header": "A message without MessageHeader.",
    "operation-mismatch": "A message that its operation is not for, or whose header names another event.",
    "dangling-focus": "A MessageHeader whose focus is not in the message.",
}
"""Deviations that are named and counted as well, found where more is known than one resource."""


def mend(resource: JsonObject) -> Mended:
    """The resource with all that is tolerated made right."""
    applied = []
    for tolerance in TOLERANCES:
        mended = tolerance.mend(resource)
        if mended is not resource:
            applied.append(tolerance.name)
            resource = mended
    return Mended(resource, tuple(applied))
