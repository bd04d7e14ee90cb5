"""Includes of a page, by brute force. https://hl7.org/fhir/R4/search.html#include"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.oracle.search.matching import references, refers_to, resolve
from tests.oracle.search.rows import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.oracle.search.matching import Json, Pair, World

INCLUDED_ROUNDS: Final = 4
"""References between a match and what `:iterate` still includes, by decision."""


def included(world: World, matches: Sequence[Json], pairs: Iterable[Pair]) -> frozenset[str]:
    """Includes of one page."""
    asked = [(name, text) for name, text in pairs if "include" in name]
    seen = {key_of(one): one for one in matches}
    frontier = list(matches)
    for turn in range(INCLUDED_ROUNDS):
        fresh: dict[str, Json] = {}
        for name, text in asked:
            if turn == 0 or name.endswith(":iterate"):
                follow = referring if name.startswith("_rev") else referred
                found = (target for one in frontier for target in follow(world, one, text))
                fresh.update((key_of(one), one) for one in found if key_of(one) not in seen)
        seen |= fresh
        frontier = list(fresh.values())
    return frozenset(set(seen) - {key_of(one) for one in matches})


def key_of(resource: Json) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def referred(world: World, resource: Json, text: str) -> Iterator[Json]:
    """`Source:parameter:Target`, `Source:*`, `*`; current versions, nothing contained."""
    source, name, target = (*text.split(":"), "", "")[:3]
    type = resource["resourceType"]
    if source not in ("*", type):
        return
    rows = ROWS[type].values() if name in ("", "*") else [ROWS[type][name]]
    for row in rows:
        for one in references(resource, row, resource) if row.kind == "reference" else ():
            hit = resolve(world, one, resource)
            if hit and hit[0] is hit[1] and target in ("", hit[0]["resourceType"]):
                yield hit[0]


def referring(world: World, resource: Json, text: str) -> Iterator[Json]:
    source, name, target = (*text.split(":"), "")[:3]
    if target in ("", resource["resourceType"]):
        yield from (one for one in world.of(source) if refers_to(world, one, name, resource))
