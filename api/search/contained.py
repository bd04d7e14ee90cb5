"""Contained resources of one that is cut down: those that what is shown refers to stay.

R4 asks that a reference such as `#p` leads to one: https://hl7.org/fhir/R4/references.html#contained
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.fhir.datatypes import Json, JsonObject


def with_contained(kept: JsonObject, whole: JsonObject) -> JsonObject:
    """The elements that are kept, in their order, with what they refer to of the contained resources."""
    contained = whole.get("contained")
    if "contained" in kept or not isinstance(contained, list):
        return kept
    left = {
        f"#{one['id'].removeprefix('#')}": one
        for one in contained
        if isinstance(one, dict) and isinstance(one.get("id"), str)
    }
    shown: list[JsonObject] = []
    waiting: list[JsonObject] = [kept]
    while waiting:  # They may refer to one another.
        found = [left.pop(name) for name in dict.fromkeys(_local(waiting.pop())) if name in left]
        shown += found
        waiting += found
    if not shown:
        return kept
    both = {**kept, "contained": [one for one in contained if any(one is other for other in shown)]}
    return {name: both[name] for name in whole if name in both}


def _local(element: JsonObject) -> Iterator[str]:
    """References within the resource that stand anywhere in it."""
    waiting: list[Json] = [element]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and value.startswith("#"):
            yield value
