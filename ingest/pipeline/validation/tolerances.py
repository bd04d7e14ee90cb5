"""Deviations of real senders from R4, and how each is mended: one named row each, all tested.

Every row that was applied is named in the reply and counted in a metric. Wrong code systems are not
rewritten: `store.search.values.tokens` finds them by either name (`DECISIONS.md#code-system-uris`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.validation.attachments import HASH, SIZE, with_true_hash, with_true_size
from store.fhir.datatypes import JsonObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.fhir.datatypes import Json


class Tolerance(NamedTuple):
    """Deviation: `mend` gives the mended resource, or the same object when there is nothing to mend."""

    name: str
    why: str
    mend: Callable[[JsonObject], JsonObject]


class Mended(NamedTuple):
    """A resource as it will be kept, and which tolerances made it so."""

    resource: JsonObject
    applied: tuple[str, ...] = ()


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
    """Resource without the empty strings and nulls anywhere inside, and without what had nothing else.

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
        SIZE, "An Attachment whose `size` is not that of its `data`: what is so is kept.", with_true_size
    ),
    Tolerance(HASH, "An Attachment whose `hash` is not the SHA-1 of its `data`: likewise.", with_true_hash),
)


KEPT: Final[Mapping[str, str]] = {
    "blank-inside": "Empty strings and nulls inside an element, as interface engines write them: left out.",
    "object-for-list": "One value where R4 has a list: `category` on upstream's own product page.",
    "list-for-object": "A list of one where R4 has one value: `identifier.type` of some senders.",
    "null-in-list": "A null in a list of objects: left out. In lists of primitives R4 has nulls.",
    "unknown-element": "An element that R4 has not in this place: kept, and not searched.",
    "wrong-value": "A value that is not of its element's datatype, where no search looks: kept as it is.",
    "missing-required": "An element that R4 requires is missing.",
    "date-without-zone": "A date and time without a zone: kept, and searched as UTC.",
    "date-without-seconds": "A time of day without seconds: kept, and searched as the whole minute.",
    "hour-24": "24:00, which ISO 8601 had and R4 has not: kept, and searched as the end of the day.",
    "reversed-period": "A Period that ends before it starts: kept, and found by no date.",
    "dead-reference": "A reference that leads nowhere, such as `Patient 5`, `5`, or `#p` where no `p` is"
    " contained: kept.",
    "control-character": "A character below 32 in a text, which R4 has not but for tab and line ends: kept.",
    "conditional-reference": "A search in place of a reference, outside a transaction: kept; one by"
    " `identifier=system|value` is found by that identifier.",
    "faulty-companion": "What came along with a report breaks a rule: kept if it can be, else refused alone.",
    "entry-without-url": "An entry of a Bundle with `request.method` and no `request.url`, as HAPI's client"
    " writes them: type and id are those of its resource.",
    "no-message-header": "A message without MessageHeader.",
    "operation-mismatch": "A message that its operation is not for, or whose header names another event.",
    "dangling-focus": "A MessageHeader whose focus is not in the message.",
}
"""Deviations that are named and counted as well, found where more is known than one resource."""


MENDED: Final = frozenset(
    {*(one.name for one in TOLERANCES), "blank-inside", "object-for-list", "list-for-object", "null-in-list"}
)
"""Tolerances by which a resource is changed; what the others name is kept as it came."""


def mend(resource: JsonObject) -> Mended:
    """The resource with all that is tolerated made right."""
    applied = []
    for tolerance in TOLERANCES:
        mended = tolerance.mend(resource)
        if mended is not resource:
            applied.append(tolerance.name)
            resource = mended
    return Mended(resource, tuple(applied))
