"""The reach of a caller: which resources of a type it may see, as clauses that a search gets beside its own.

A caller may see all of a type, nothing, or what fulfils the query of its scope, such as
`system/Observation.rs?category=laboratory`. Such a query is made of token and reference parameters alone: it
is tested by the database in a search, and by `holds` on the bytes of one resource.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from store.errors import ServiceError
from store.search.criteria import (
    All,
    AnyOf,
    Chain,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    SearchQuery,
    Strings,
    Together,
    Tokens,
    Words,
)
from store.search.index import index
from store.search.index_side import IndexSide, decided
from store.search.looks import SEARCH, looks_of
from store.search.parameters import TYPES
from store.search.parsing.context import SearchContext, SearchLimits
from store.search.parsing.parse import parse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.fhir.datatypes import JsonObject
    from store.search.criteria import Clause
    from store.search.parsing.query_text import Pair

_PLAIN: Final = SearchQuery("")
INCLUDE: Final = "rs"
"""Letters of `cruds` that a type needs to be included."""
_NARROWING: Final = (
    "the query of a scope is made of token and reference parameters with their values, such as"
    " `category=system|code`; no chain, `_has`, modifier but `:not`, `:identifier` or `:of-type`, and nothing"
    " that shapes an answer"
)


class Reach(Protocol):
    """A caller's permissions, as far as searches ask for them."""

    @property
    def is_narrow(self) -> bool:
        """Whether some type is reached in part only."""

    @property
    def narrowness(self) -> str:
        """A digest of the parts that are reached, for page links; empty when nothing is narrow."""

    def may(self, type: str, letters: str) -> bool:
        """Whether all these letters of `cruds` are granted for the whole resource type."""

    def within(self, type: str, letters: str) -> Clause | None:
        """Filter for resources where the letters are granted for a part of a type; None: not granted so."""


def reaches(reach: Reach, type: str, letters: str) -> bool:
    """Whether the letters are granted for the type, or for a part of it."""
    return reach.may(type, letters) or reach.within(type, letters) is not None


class Everything:
    """The reach of whoever holds the database in hand."""

    is_narrow = False
    narrowness = ""

    def may(self, type: str, letters: str) -> bool:  # noqa: ARG002 -- the shape of a Reach
        """Permit it, whatever it is."""
        return True

    def within(self, type: str, letters: str) -> Clause | None:  # noqa: ARG002 -- the shape of a Reach
        """None: it reaches everything, so nothing narrows it."""
        return None


def constraint(resource_type: str, pairs: Sequence[Pair]) -> Clause:
    """The clause that the query of a scope is. Raises ValueError with the rule that is broken."""
    if resource_type not in TYPES:
        raise ValueError("a scope with a query names its resource type")
    context = SearchContext(SearchLimits(), None, 0, strict=True)
    try:
        query = parse(resource_type, pairs, context).query
        # A search passes over `code=` and `_format=json`; a scope that did would grant more than it says.
        narrows = all(parse(resource_type, [pair], context).query.clauses for pair in pairs)
    except ServiceError as error:
        raise ValueError("; ".join(issue.text for issue in error.issues)) from None
    shaped = replace(query, clauses=()) != replace(_PLAIN, type=resource_type)
    if not query.clauses or not narrows or shaped or not all(map(_is_testable, query.clauses)):
        raise ValueError(_NARROWING)
    return _all(query.clauses)


def _all(clauses: Sequence[Clause]) -> Clause:
    return clauses[0] if len(clauses) == 1 else All(tuple(clauses))


def any_of(clauses: Sequence[Clause]) -> Clause:
    """Clause that at least one of these holds."""
    return clauses[0] if len(clauses) == 1 else AnyOf(tuple(clauses))


def all_of(clauses: Sequence[Clause]) -> Clause:
    """Each of these holds."""
    return _all(tuple(dict.fromkeys(clauses)))


def _is_testable(clause: Clause) -> bool:
    match clause:
        case Tokens() | References():
            return True
        case AnyOf() | All():
            return all(map(_is_testable, clause.clauses))
        case Chain() | Dates() | Has() | Missing() | Quantities() | Strings() | Together() | Words():
            return False
        case _:
            assert_never(clause)


# --- searches


def narrowed(query: SearchQuery, reach: Reach) -> SearchQuery:
    """The search with what the caller's scopes add to it, on every type that it reads.

    `looks.refusals` has refused before what the caller may not look into at all.
    """
    if query.includes:
        query = _with_visible(query, reach)
    if not reach.is_narrow:
        return query
    clauses = [_reached(query.type, clause, reach) for clause in query.clauses]
    own = None if reach.may(query.type, SEARCH) else reach.within(query.type, SEARCH)
    return replace(query, clauses=(*clauses, *([] if own is None else [own])))


def _with_visible(query: SearchQuery, reach: Reach) -> SearchQuery:
    """Query with the types, and the parts of types, that includes may bring along and lead through."""
    if reach.may("*", INCLUDE):
        return query
    whole = {name for name in TYPES if reach.may(name, INCLUDE)}
    found = ((name, reach.within(name, INCLUDE)) for name in TYPES if name not in whole)
    parts = {name: clause for name, clause in found if clause is not None}
    return replace(query, visible=frozenset(whole | parts.keys()), within=tuple(parts.items()))


def _reached(resource_type: str, clause: Clause, reach: Reach) -> Clause:
    """The clause of a search on a type, its chains led through what the caller may look into.

    What a chain by identifier leads through is known to whoever asks (`store.search.looks`) and stays.
    """
    match clause:
        case Chain():
            inner = tuple((target, _behind(target, one, reach)) for target, one in clause.inner)
            return replace(clause, inner=inner)
        case Has():
            return replace(clause, inner=_behind(clause.type, clause.inner, reach, referring=True))
        case AnyOf() | All():
            return replace(
                clause, clauses=tuple(_reached(resource_type, one, reach) for one in clause.clauses)
            )
        case Tokens() | References() | Dates() | Strings() | Quantities() | Words() | Missing() | Together():
            return clause
        case _:
            assert_never(clause)


def _behind(target: str, inner: Clause, reach: Reach, *, referring: bool = False) -> Clause:
    """A clause on the target of a chain, or on what refers."""
    deeper = _reached(target, inner, reach)
    known = all(look.known for look in looks_of(target, inner, referring=referring))
    if known or reach.may(target, SEARCH):
        return deeper
    part = reach.within(target, SEARCH)
    return deeper if part is None else All((deeper, part))


# --- one resource


def holds(clause: Clause, resource: JsonObject, *, type: str, id: str, base: str | None) -> bool:
    """Whether a resource fulfils the clause of a scope; `base` is the tenant's own base URL."""
    indexed = index(resource, type, base=base, resource_id=id)
    known = decided((clause,), IndexSide(type, id, indexed.fields))
    if known is None:
        raise AssertionError  # `constraint` lets in only what is decided there.
    return known
