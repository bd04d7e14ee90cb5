"""Canonical form of a query: equal for spellings that the parser reads alike. Pure.

Order and repetition of clauses and of values make no difference, nor does anything that parsing has undone
already: percent signs, aliases, our own base before a reference, the case of codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

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
    from collections.abc import Iterable

    from store.search.criteria import Clause

Canonical: TypeAlias = "tuple[Canonical | str | int | float | None, ...]"
"""Values in tuples: equal by value, and `ascii` writes them alike in every process."""


def canonical(clauses: Iterable[Clause]) -> Canonical:
    """All of these clauses."""
    return _unordered(map(_one, flat(clauses)))


def _unordered(members: Iterable[Canonical]) -> Canonical:
    return tuple(sorted(set(members), key=ascii))


def _values(values: Iterable[str]) -> Canonical:
    return tuple(sorted(set(values)))


FORMS: Final[Mapping[type, Callable[..., Canonical]]] = {
    Tokens: lambda c: ("token", c.parameter.field, c.negated, _values(c.spellings)),
    References: lambda c: ("reference", c.parameter.field, _values(c.spellings)),
    Dates: lambda c: ("date", c.parameter.field, _unordered((v.prefix, *v.interval) for v in c.values)),
    Strings: lambda c: ("string", c.parameter.field, c.match.value, _values(c.values)),
    Quantities: lambda c: ("quantity", c.parameter.field, _unordered(map(tuple, c.values))),
    Words: lambda c: ("words", c.parameter.field, _unordered(map(_values, c.values))),
    Missing: lambda c: ("missing", c.parameter.field, c.missing),
    Chain: lambda c: (
        "chain",
        c.parameter.field,
        c.only,
        _unordered((name, _one(inner)) for name, inner in c.inner),
        _values(c.identifiers),
    ),
    Has: lambda c: ("has", c.type, c.parameter.field, _one(c.inner)),
    Together: lambda c: ("together", c.parameter.field, _unordered(map(_one, c.parts))),
    All: lambda c: ("all", canonical(c.clauses)),
    AnyOf: lambda c: ("any", _unordered(map(_one, c.clauses))),
}
"""Form of each kind of clause."""


def _one(clause: Clause) -> Canonical:
    return FORMS[type(clause)](clause)
