"""Resources that may refer to resources of a type: their types, and their parameters for it. Pure."""

from __future__ import annotations

from functools import lru_cache

from store.search.parameters import TYPES, SearchType


@lru_cache
def referring(
    targets: frozenset[str], *, without: frozenset[str] = frozenset()
) -> tuple[list[str], list[str]]:
    """Types that belong to a patient and may refer to these, and the names of their parameters for it.

    `without`: types whose references do not count.
    """
    rows = [
        (row.name, parameter.name)
        for row in TYPES.values()
        if "patient" in row.by_name and row.name not in without
        for parameter in row.by_name.values()
        if parameter.type is SearchType.REFERENCE and not targets.isdisjoint(parameter.targets)
    ]
    return sorted({name for name, _ in rows}), sorted({name for _, name in rows})
