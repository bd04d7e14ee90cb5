"""Looks of a search: the resource types that its clauses read, each with the parameter that reads it.

A client may ask only where its token lets it search: `patient.family=Smith` would spell out a patient's name
to whoever may search reports alone. An identifier with its value, or an id, gives nothing away, for whoever
asks for it knows it already: so `patient.identifier=system|value` needs no scope on Patient.

`refusals` is asked by searches (`api.search`) and by conditions of writes (`ingest.writes.criteria`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from store.fhir.issues import Issue
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
from store.search.values.tokens import bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from store.search.criteria import Clause, SearchQuery

SEARCH: Final = "s"
"""The letter of `cruds` without which nothing of a type may be looked into."""
_KNOWN: Final = frozenset({"id", "index.identifier"})
"""Fields whose value is known to whoever asks for it."""


class Look(NamedTuple):
    """Resource type that is read for a search."""

    type: str
    parameter: str
    """The parameter that reads it, as a client would spell it; without its value."""
    known: bool = False
    """Whether only an identifier or an id is compared, which the asker knows."""


def looks(query: SearchQuery) -> Iterator[Look]:
    """All that a search reads: its own type by each clause and sort key, and what its chains lead through."""
    for clause in query.clauses:
        yield from looks_of(query.type, clause, "")
    for key in query.sort:
        yield Look(query.type, f"_sort={key.parameter.name}")


def refusals(query: SearchQuery, may: Callable[[str, str], bool]) -> list[Issue]:
    """An issue for each type that is looked into without being allowed to; none: the search may be made.

    `may` says whether letters of `cruds` are granted for a resource type.
    """
    refused = (look for look in looks(query) if not look.known and not may(look.type, SEARCH))
    return [_refusal(*named) for named in dict.fromkeys((look.type, look.parameter) for look in refused)]


def _refusal(resource_type: str, parameter: str) -> Issue:
    text = (
        f"`{parameter}` looks into {resource_type}, which needs the scope `system/{resource_type}.{SEARCH}`;"
        " without it only an identifier with its value may be asked for"
    )
    return Issue("forbidden", text, (parameter,))


def looks_of(
    resource_type: str, clause: Clause, before: str = "", *, referring: bool = False
) -> Iterator[Look]:
    """The looks of one clause on a type; `before` is the chain that led there.

    `referring`: the type was reached by its own reference (`_has`), which is read whatever the clause asks.
    """
    match clause:
        case Chain():
            spelled = f"{before}{clause.parameter.name}"
            yield Look(resource_type, spelled)
            for target, inner in clause.inner:
                yield from looks_of(target, inner, f"{spelled}.")
        case Has():
            spelled = f"{before}_has:{clause.type}:{clause.parameter.name}:"
            yield from looks_of(clause.type, clause.inner, spelled, referring=True)
        case AnyOf() | All():
            yield from _each(resource_type, clause.clauses, before, referring=referring)
        case Together():
            yield from _each(resource_type, clause.parts, before, referring=referring)
        case Tokens():
            whole = not clause.negated and all(map(bare, clause.spellings))
            known = clause.parameter.field in _KNOWN and whole and not referring
            yield Look(resource_type, f"{before}{clause.parameter.name}", known)
        case References() | Dates() | Strings() | Quantities() | Words() | Missing():
            yield Look(resource_type, f"{before}{clause.parameter.name}")
        case _:
            assert_never(clause)


def _each(resource_type: str, clauses: Iterable[Clause], before: str, *, referring: bool) -> Iterator[Look]:
    for clause in clauses:
        yield from looks_of(resource_type, clause, before, referring=referring)
