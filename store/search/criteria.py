"""Query as frozen values; no text of the request is left in it.

SearchQuery
├── clauses          all must hold
│   ├── Tokens       any of the spellings (`negated`: none of them)
│   ├── References   any of the spellings
│   ├── Dates        any of the intervals under its prefix
│   ├── Strings      starts with, holds or is any of the texts
│   ├── Quantities   any of the numbers under its prefix, in its unit
│   ├── Missing      the element is absent, or present
│   ├── Chain        refers to a resource for which the inner clause holds
│   ├── Has          is referred to by a resource for which the inner clause holds
│   ├── Words        the words of one of the texts all occur (`_text`, `_content`)
│   ├── Together     several clauses hold for the same repetition of an element (composites)
│   ├── All          each of several clauses holds
│   └── AnyOf        at least one of several clauses holds (`order`)
├── sort             the keys; the id is always the last one
├── includes         what a page brings along beside its matches
├── summary          how much of each resource is shown; elements: which elements of a match
├── position         where the page starts; None: at the beginning
└── as_of            the moment of the store that is searched; None: now
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from store.search.parameters import Parameter
    from store.search.values.dates import DateValue
    from store.search.values.quantities import QuantityValue
    from store.search.values.strings import Match


@dataclass(frozen=True, slots=True)
class Tokens:
    """Clause: any of these spellings is among the stored ones; `negated`: none is."""

    parameter: Parameter
    spellings: tuple[str, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class References:
    """Clause: any of these targets is referred to."""

    parameter: Parameter
    spellings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dates:
    """Clause: any of these holds for the stored interval."""

    parameter: Parameter
    values: tuple[DateValue, ...]


@dataclass(frozen=True, slots=True)
class Strings:
    """Clause: any of these texts is found, in the way of `match`."""

    parameter: Parameter
    values: tuple[str, ...]
    match: Match


@dataclass(frozen=True, slots=True)
class Quantities:
    """Clause: any of these holds for a stored quantity."""

    parameter: Parameter
    values: tuple[QuantityValue, ...]


@dataclass(frozen=True, slots=True)
class Missing:
    """`:missing=true`, or false."""

    parameter: Parameter
    missing: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """`parameter:Type.inner=…`: the inner clauses are one per type that defines the inner parameter."""

    parameter: Parameter
    inner: tuple[tuple[str, Clause], ...]
    """(type, clause) pairs; an untyped chain tries every target type (`DECISIONS.md#untyped-chains`)."""
    identifiers: tuple[str, ...] = ()
    """Spellings of `.identifier` that match in the reference too (`DECISIONS.md#patient-identifier`)."""
    only: str = ""
    """Target type that counts; a reference to another type does not (`performer:Organization.identifier`)."""


@dataclass(frozen=True, slots=True)
class Has:
    """`_has:Type:parameter:inner=…`: the reverse of a chain."""

    type: str
    """Type of the resources that refer."""
    parameter: Parameter
    """Their reference."""
    inner: Clause


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Clause: at least one of these holds."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class All:
    """Each holds."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Words:
    """All words of one of these texts occur, each at the start of a word."""

    parameter: Parameter
    values: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Together:
    """All of these hold for one and the same repetition of the composite's element."""

    parameter: Parameter
    parts: tuple[Clause, ...]


Clause: TypeAlias = (
    Tokens
    | References
    | Dates
    | Strings
    | Quantities
    | Words
    | Missing
    | Chain
    | Has
    | Together
    | All
    | AnyOf
)

Resolved: TypeAlias = "Mapping[Chain | Has, tuple[str, ...]]"
"""Targets that chains lead through: `Type/id`; for `_has` the ids of those referred to."""


def flat(clauses: Iterable[Clause]) -> Iterator[Clause]:
    """The clauses of a conjunction, with nested conjunctions opened."""
    for clause in clauses:
        if isinstance(clause, All):
            yield from flat(clause.clauses)
        else:
            yield clause


def steps(clauses: Iterable[Clause]) -> Iterator[Chain | Has]:
    """The chains among the clauses, those within alternatives included."""
    for clause in clauses:
        if isinstance(clause, Chain | Has):
            yield clause
        elif isinstance(clause, AnyOf | All):
            yield from steps(clause.clauses)


class SortKey(NamedTuple):
    """Sort by a parameter's value."""

    parameter: Parameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """Include: what a page brings along beside its matches. https://hl7.org/fhir/R4/search.html#include"""

    source: str
    """The type whose references are followed; `*`: any."""
    parameter: Parameter | None = None
    """The reference; None: each one there is."""
    target: str | None = None
    """Type that targets must have."""
    reverse: bool = False
    """Whether it leads from the targets to those that refer to them (`_revinclude`)."""
    iterate: bool = False
    """Whether it is followed from what was included too."""


class Position(NamedTuple):
    """The entry beside which a page starts, by the values it is sorted by."""

    values: tuple[int | float | str, ...]
    """Values for each sort key, then the id."""
    backwards: bool = False
    """The page ends before the entry instead of starting after it."""


class Moment(NamedTuple):
    """A moment in the order of all writes: what was acknowledged before it is in, what came later is not."""

    seconds: int
    """Since 1970."""
    step: int
    """Counts the writes within the second."""


class Total(StrEnum):
    """Effort for `Bundle.total`. https://hl7.org/fhir/R4/search.html#total"""

    BOUNDED = "bounded"
    """Exact when cheap: up to a number of matches and a time (`DECISIONS.md#counts-and-totals`)."""
    ACCURATE = "accurate"
    NONE = "none"


class Summary(StrEnum):
    """Extent to which each resource is shown. https://hl7.org/fhir/R4/search.html#summary"""

    FALSE = "false"
    TRUE = "true"
    TEXT = "text"
    DATA = "data"
    COUNT = "count"


PAGE_BYTES_MAX: Final = 10_000_000
"""Bytes of resources on a page, unless a setting says otherwise."""


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """Query for a page of a search on one type."""

    type: str
    clauses: tuple[Clause, ...] = ()
    sort: tuple[SortKey, ...] = ()
    count: int = 50
    """Matches on a page; 0 asks for the total alone."""
    total: Total = Total.BOUNDED
    position: Position | None = None
    includes: tuple[Include, ...] = ()
    summary: Summary = Summary.FALSE
    elements: tuple[str, ...] = ()
    """Root elements of the matches to show, choices by their base name; empty: all."""
    as_of: Moment | None = None
    visible: frozenset[str] | None = None
    """Types that includes may read and go on from; None: all."""
    within: tuple[tuple[str, Clause], ...] = ()
    """Type and clause, for types of which includes may read and go on from a part only."""
    bytes_max: int = PAGE_BYTES_MAX
    """Bytes of the matches on a page with their includes; one match is shown however large."""
    of_a_patient: bool = False
    """Whether a patient must be named: then nothing leads back from what many of them share."""
