"""Matching of changed resources: few of many queries are tried on the index side of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from store.search.criteria import References, Tokens, flat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.resources.resource_keys import ResourceKey
    from store.search.criteria import Clause
    from store.search.index_side import IndexSide
    from store.tenancy import Tenant


class Dispatch:
    """Queries by a spelling that each asks for, so that few of many are tried on a resource.

    A query of which no token or reference has to be there is tried on each.
    """

    def __init__(self, queries: Iterable[Sequence[Clause]]) -> None:
        self._by_field: dict[str, dict[object, list[int]]] = {}
        self._always: list[int] = []
        for number, clauses in enumerate(queries):
            leading = min(filter(_leads, flat(clauses)), key=_rank, default=None)
            if isinstance(leading, Tokens | References):
                spellings = self._by_field.setdefault(leading.parameter.field, {})
                for spelling in leading.spellings:
                    spellings.setdefault(spelling, []).append(number)
            else:
                self._always.append(number)

    def candidates(self, side: IndexSide | None) -> set[int]:
        """Numbers of the queries that may hold for a resource; None: it is not there."""
        found = set(self._always)
        if side is not None:
            for field, spellings in self._by_field.items():
                for value in side.values(field):
                    found.update(spellings.get(value, ()))
        return found


def _leads(clause: Clause) -> bool:
    return isinstance(clause, References) or (isinstance(clause, Tokens) and not clause.negated)


def _rank(clause: Clause) -> int:
    """Order of clauses by how few resources they hold for: a reference, an identifier, any other token."""
    if isinstance(clause, References):
        return 0
    return 1 if isinstance(clause, Tokens) and clause.parameter.field in _TELLING else 2


_TELLING: Final = frozenset({"id", "index.identifier"})


class IndexSides(Protocol):
    """Index sides of resources as they are now."""

    async def sides(
        self, tenant: Tenant, keys: Collection[ResourceKey], fields: AbstractSet[str]
    ) -> Mapping[str, IndexSide]:
        """Index side of each of these that is there, by `Type/id`, with these fields alone; of expired and
        deleted ones none.
        """
