"""A query with its values left out: what logs, metrics and `explain` may say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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
from store.search.planning.sorting import COMPUTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from store.search.criteria import Clause, SearchQuery
    from store.search.planning.leading_clause import Driver

_KIND: Final[Mapping[type, Callable[..., str]]] = {
    Tokens: lambda c: f"{c.parameter.name}{':not' if c.negated else ''}={_some(len(c.spellings))}",
    References: lambda c: f"{c.parameter.name}={_some(len(c.spellings))}",
    Dates: lambda c: f"{c.parameter.name}={','.join(v.prefix for v in c.values)}",
    Strings: lambda c: f"{c.parameter.name}:{c.match.value}={_some(len(c.values))}",
    Quantities: lambda c: f"{c.parameter.name}={','.join(v.prefix for v in c.values)}",
    Has: lambda c: f"_has:{c.type}:{c.parameter.name}:({shape_of(c.inner)})",
    Missing: lambda c: f"{c.parameter.name}:missing={str(c.missing).lower()}",
    Chain: lambda c: f"{c.parameter.name}.({'|'.join(shape_of(inner) for _, inner in c.inner)})",
    Words: lambda c: f"{c.parameter.name}={_some(len(c.values))}",
    Together: lambda c: f"{c.parameter.name}=({'$'.join(shape_of(part) for part in c.parts)})",
    All: lambda c: "(" + " and ".join(shape_of(member) for member in c.clauses) + ")",
    AnyOf: lambda c: "(" + " or ".join(shape_of(member) for member in c.clauses) + ")",
}


def _some(count: int) -> str:
    return "?" if count == 1 else "?,…"


def shape_of(clause: Clause) -> str:
    """A clause with its values left out."""
    return _KIND[type(clause)](clause)


def shape(
    query: SearchQuery, driver: Driver | None, rest: Sequence[Clause], order: Sequence[tuple[str, int]]
) -> str:
    """Line that says which clauses drive, which filter, and the order."""
    parts = [query.type]
    if driver:
        parts.append("by " + " & ".join(shape_of(clause) for clause in driver.clauses))
    rest = [clause for clause in rest if not driver or not any(clause is one for one in driver.clauses)]
    if rest:
        parts.append("filter " + " & ".join(shape_of(clause) for clause in rest))
    names = [("-" if down < 0 else "") + name.removeprefix(COMPUTED) for name, down in order[:-1]]
    parts.append("sort " + ",".join(names))
    return " ".join(parts)
