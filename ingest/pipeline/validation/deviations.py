"""Deviations from R4's definitions, named after the tolerances that they take, and what is said of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WRONG: Final = "wrong-value"
WITHOUT_ZONE: Final = "date-without-zone"
WITHOUT_SECONDS: Final = "date-without-seconds"
HOUR_24: Final = "hour-24"
DEAD: Final = "dead-reference"
CONDITIONAL: Final = "conditional-reference"
CONTROL: Final = "control-character"
INSIDE: Final = "inside"
"""No tolerance: a reference to what is contained, of which the resource as a whole tells whether it is."""
UNKNOWN: Final = "unknown-element"
MISSING: Final = "missing-required"
REVERSED: Final = "reversed-period"
LIST: Final = "list-for-object"
LONE: Final = "object-for-list"
NULL: Final = "null-in-list"
MENDABLE: Final = frozenset({LIST, LONE, NULL})
"""Deviations that `straightened` mends."""
TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    UNKNOWN: ("structure", "is not an element of R4"),
    MISSING: ("required", "is missing"),
    REVERSED: ("value", "starts after it ends: no search by date finds it"),
    LIST: ("structure", "must not be a list"),
    LONE: ("structure", "must be a list"),
    NULL: ("structure", "must not be null"),
    WRONG: ("value", "breaks R4's rule for its datatype"),
    WITHOUT_ZONE: ("value", "must have a time zone: it is taken for UTC"),
    WITHOUT_SECONDS: ("value", "must have seconds: it is taken for the whole minute"),
    HOUR_24: ("value", "must have an hour up to 23: it is taken for the end of the day"),
    DEAD: (
        "value",
        "leads nowhere: a reference is `Type/id`, an absolute URL, or `#id` of what is contained",
    ),
    CONTROL: ("value", "has a control character, which R4's strings have not"),
    CONDITIONAL: ("value", "is a search: R4 has those in transactions only, so it leads nowhere by itself"),
}
"""Issue code, and what is said of the element."""
