"""Matching of a changed resource against a query, on its index side, where tokens and references decide it.

A clause of another kind is not decided here: then the store is asked, by the search that it would answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, assert_never

from store.search.criteria import (
    All,
    AnyOf,
    Chain,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    Strings,
    Together,
    Tokens,
    Words,
    flat,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.resources.resource_keys import ResourceKey
    from store.search.criteria import Clause
    from store.tenancy import Tenant


class IndexSide(NamedTuple):
    """Index side of a current resource."""

    type: str
    id: str
    fields: Mapping[str, object]
    """Parameter → spellings, as stored under `index`."""

    def values(self, field: str) -> Sequence[object]:
        """The stored values of a field."""
        if field in ("id", "type"):
            return (self.id if field == "id" else self.type,)
        found = self.fields.get(field.removeprefix("index."), ())
        return found if isinstance(found, list | tuple) else (found,)


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


def fields_of(clauses: Iterable[Clause]) -> frozenset[str]:
    """Fields of an index side by which it is decided whether clauses hold."""
    found: set[str] = set()
    for clause in clauses:
        if isinstance(clause, Tokens | References):
            found.add(clause.parameter.field)
        elif isinstance(clause, All | AnyOf):
            found |= fields_of(clause.clauses)
    return frozenset(found)


def decided(clauses: Iterable[Clause], side: IndexSide) -> bool | None:
    """Whether all clauses hold; None: only a search can tell."""
    known: bool | None = True
    for clause in clauses:
        found = _decided(clause, side)
        if found is False:
            return False
        if found is None:
            known = None
    return known


def _decided(clause: Clause, side: IndexSide) -> bool | None:
    match clause:
        case Tokens():
            found = not frozenset(clause.spellings).isdisjoint(side.values(clause.parameter.field))
            return found is not clause.negated
        case References():
            return not frozenset(clause.spellings).isdisjoint(side.values(clause.parameter.field))
        case All():
            return decided(clause.clauses, side)
        case AnyOf():
            said = [_decided(one, side) for one in clause.clauses]
            return True if True in said else None if None in said else False
        case Chain() | Dates() | Has() | Missing() | Quantities() | Strings() | Together() | Words():
            return None
        case _:
            assert_never(clause)
