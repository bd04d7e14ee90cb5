"""`_summary` and `_elements`: how much of each resource is asked for. What is cut, and how, is the outside's.

https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from store.fhir.definitions import OPEN_TYPES, definitions
from store.search.criteria import Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.search.criteria import Include

_ELEMENT: Final = re.compile(r"(?:([A-Z][A-Za-z]*)\.)?([a-z][A-Za-z0-9]*)(?:\[x\])?")
"""`status`, `DiagnosticReport.status`, `effective[x]`."""


def summary(text: str, before: Summary | None) -> Summary:
    """The value of `_summary`; `before` is what was asked already. Raises ValueError with the rule."""
    try:
        found = Summary(text)
    except ValueError:
        message = "must be `true`, `text`, `data`, `count` or `false`"
        raise ValueError(message) from None
    if before not in (None, found):
        message = "may be asked one way only"
        raise ValueError(message)
    return found


def elements(text: str, resource_type: str) -> Iterator[str]:
    """The root elements that `_elements` names. Raises ValueError with the rule."""
    for part in filter(None, text.split(",")):  # Names: there is nothing to escape.
        named = _ELEMENT.fullmatch(part)
        if named is None:
            message = f"takes names of root elements, such as `id` or `{resource_type}.id`"
            raise ValueError(message)
        if named[1] not in (None, resource_type):
            message = f"takes elements of the matches, which are of type `{resource_type}`"
            raise ValueError(message)
        yield named[2]


def known(resource_type: str) -> Iterator[str]:
    """The root elements of a type by all the names that `_elements` takes."""
    for name in definitions()[resource_type].elements:
        yield name
        yield from (name[: -len(one)] for one in _CHOICES if name.endswith(one) and len(name) > len(one))


_CHOICES: Final = tuple(f"{one[0].upper()}{one[1:]}" for one in OPEN_TYPES)
"""Ends of the names of a choice, for each of its datatypes."""


def contradictions(
    asked: Summary | None, named: Sequence[str], includes: Sequence[Include]
) -> Iterator[tuple[str, str]]:
    """Parameters that cannot be asked together, each with the rule."""
    if named and asked in (Summary.TRUE, Summary.TEXT, Summary.DATA):
        yield "_elements", "cannot be combined with `_summary`, for each names another part of the resource"
    if includes and asked is Summary.TEXT:
        yield "_summary", "`text` cannot be combined with `_include` or `_revinclude`"
