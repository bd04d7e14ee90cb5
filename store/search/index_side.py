"""Deciding of clauses on the index side of one resource, where tokens and references are enough.

The reach of a caller is decided so, and who is told of a change. A clause of another kind is not decided
here: then the store is asked, by the search that it would answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, assert_never

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
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from store.search.criteria import Clause


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
