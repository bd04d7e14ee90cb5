"""`_include` and `_revinclude`: what a page brings along beside its matches.

`Source:parameter`, `Source:parameter:Target`, `Source:*`, `*`. https://hl7.org/fhir/R4/search.html#include
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from store.search.criteria import Include
from store.search.parameters import TYPES, SearchType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from store.search.parameters import Parameter, ResourceType

INCLUDES_MAX: Final = 20
"""Include parameters of one search; each reverse one is a find of its own."""
NAMES: Final[Mapping[str, bool]] = {"_include": False, "_revinclude": True}
"""Whether the parameter follows references against their direction."""
_ITERATE: Final = frozenset({"iterate", "recurse"})
"""R4's modifier and its spelling in STU3."""
_VALUE: Final = re.compile(r"([A-Z][A-Za-z]+):(\*|[A-Za-z_][A-Za-z0-9_-]*)(?::([A-Z][A-Za-z]+))?")


class UnsupportedError(ValueError):
    """Well-formed, and not offered; to drop it would answer another question."""


def parse(name: str, text: str) -> Include:
    """Include that a parameter asks for. Raises LookupError for unknown names, ValueError for bad text."""
    base, colon, modifier = name.partition(":")
    if colon and modifier not in _ITERATE:
        raise UnsupportedError(
            "this modifier is not supported here; it takes `:iterate`, or its older `:recurse`"
        )
    reverse, iterate = NAMES[base], bool(colon)
    if text == "*" and not reverse:
        return Include("*", iterate=iterate)
    if "," in text:
        raise ValueError("a comma is not allowed: repeat the parameter")
    match = _VALUE.fullmatch(text)
    if match is None:
        raise ValueError(
            "takes `Source:parameter` or `Source:parameter:Target`"
            + ("" if reverse else ", `Source:*` or `*`")
        )
    source, parameter, target = match.groups()
    row = TYPES.get(source)
    if row is None:
        raise LookupError(f"`{base}` names a source type that is not known here")
    if parameter == "*" and not reverse:
        found = None
    else:
        found = _reversed(row, parameter) if reverse else _forward(row, parameter)
    if target is not None and target not in (TYPES if found is None else found.targets):
        raise LookupError(f"`{base}` names a target type that is not one of its parameter")
    return Include(source, found, target, reverse=reverse, iterate=iterate)


def _forward(source: ResourceType, name: str) -> Parameter:
    row = source.by_name.get(name)
    if row is None or row.type is not SearchType.REFERENCE:
        offered = _listed(references_of(source))
        raise LookupError(f"`_include`: `{source.name}` has no such reference here but {offered}")
    return row


def _reversed(source: ResourceType, name: str) -> Parameter:
    row = source.by_name.get(name)
    offered = _listed(reversible_of(source))
    if name == "*":
        raise UnsupportedError(f"names one parameter; of `{source.name}` it takes {offered}")
    if row is None or row.type is not SearchType.REFERENCE:
        raise LookupError(f"`_revinclude`: `{source.name}` has no such reference here but {offered}")
    if not reversible(source, row):
        raise UnsupportedError(
            f"would have to look through all resources; of `{source.name}` it takes {offered}"
        )
    return row


def _listed(rows: Iterator[Parameter]) -> str:
    return ", ".join(f"`{row.name}`" for row in rows) or "none"


def references_of(source: ResourceType) -> Iterator[Parameter]:
    """Parameters that `_include` takes, and that `*` stands for."""
    return (row for row in source.rows if row.type is SearchType.REFERENCE)


def reversible_of(source: ResourceType) -> Iterator[Parameter]:
    """Parameters that `_revinclude` takes."""
    return (row for row in references_of(source) if reversible(source, row))


def reversible(source: ResourceType, row: Parameter) -> bool:
    """Whether an index leads from a target back to its sources: the parameter's own, or the patient's.

    The patient's does when both sides are a patient's: a report and its results. It keeps the reverse way
    within the patient too, so that no include leads from a laboratory to everyone's reports.
    """
    return bool(row.keyed) or ("patient" in source.by_name and all(map(_of_a_patient, row.targets)))


def _of_a_patient(resource_type: str) -> bool:
    return resource_type == "Patient" or "patient" in TYPES[resource_type].by_name
