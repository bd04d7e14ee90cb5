"""Order of a search: by stored scalars, else by scalars computed from what is indexed.

Of several values the first in the direction counts. What has no value sorts below everything, and stays
on the pages. https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from store.search.criteria import Dates, flat
from store.search.parameters import WHEN, Parameter, SearchType
from store.search.planning.leading_clause import keyable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from store.search.criteria import Clause, SearchQuery, SortKey

Expression = object
"""A MongoDB aggregation expression."""

_NUMBER_MAX: Final = 1e308
"""Bounds what a comparator leaves open: JSON, and so a page link, has no infinity."""
_NO_NUMBER: Final = -1.5e308
_BARE: Final = r"^(?:[^|\\]|\\.)*$"
"""A spelling without system; see `store.search.values.tokens`."""

COMPUTED: Final = "sort:"
"""Prefix of sort fields that are not stored."""


class Order(NamedTuple):
    """The sort fields with their directions, and the expressions of those that are not stored."""

    fields: tuple[tuple[str, int], ...]
    computed: Mapping[str, Expression]


def order_of(query: SearchQuery) -> Order:
    """The sort fields, the id last: the order of pages is total.

    Unless asked otherwise the newest come first, and a poll by `_lastUpdated` in the order of arrival.
    """
    if not query.sort:
        return _unasked(query.clauses)
    computed: dict[str, Expression] = {}
    fields: dict[str, int] = {}
    for key in query.sort:
        stored = _stored(key.parameter)
        name = stored or f"{COMPUTED}{key.parameter.name}"
        if name in fields:
            continue  # Of two keys on one field the first decides.
        fields[name] = -1 if key.descending else 1
        if stored is None:
            computed[name] = _COMPUTED[key.parameter.type](key)
        if name == "id":
            break  # Nothing is left to sort behind it.
    # The id goes the way of the last key, so that one index serves both directions.
    fields.setdefault("id", list(fields.values())[-1])
    return Order(tuple(fields.items()), computed)


def _unasked(clauses: Iterable[Clause]) -> Order:
    clauses = list(flat(clauses))
    polls = any(map(_polls, clauses)) and not any(map(keyable, clauses))
    return _ARRIVAL if polls else _NEWEST_FIRST


_ARRIVAL: Final = Order((("updated.lo", 1), ("id", 1)), {})
_NEWEST_FIRST: Final = Order(((f"{WHEN}.lo", -1), ("id", -1)), {})


def _polls(clause: Clause) -> bool:
    return isinstance(clause, Dates) and clause.parameter.field == "updated"


def _stored(parameter: Parameter) -> str | None:
    """The stored scalar that a parameter sorts by: of an interval its lower end."""
    if parameter.type is SearchType.DATE:
        return f"{parameter.field}.lo"
    return parameter.field if parameter.field in ("id", "type") else None


def _first(values: Expression, key: SortKey) -> Expression:
    return {"$max" if key.descending else "$min": values}


def _text(key: SortKey) -> Expression:
    return {"$ifNull": [_first(f"${key.parameter.field}", key), ""]}


def _code(key: SortKey) -> Expression:
    bare = {"$regexMatch": {"input": "$$this", "regex": _BARE}}
    codes = {"$filter": {"input": {"$ifNull": [f"${key.parameter.field}", []]}, "cond": bare}}
    return {"$ifNull": [_first(codes, key), ""]}


def _folded(key: SortKey) -> Expression:
    return {"$ifNull": [_first(f"${key.parameter.field}:sort", key), ""]}


def _number(key: SortKey) -> Expression:
    value = _first(f"${key.parameter.field}.{'hi' if key.descending else 'lo'}", key)
    bounded = {"$max": [-_NUMBER_MAX, {"$min": [_NUMBER_MAX, value]}]}
    return {"$cond": [{"$isNumber": value}, bounded, _NO_NUMBER]}


_COMPUTED: Final[Mapping[SearchType, Callable[[SortKey], Expression]]] = {
    SearchType.TOKEN: _code,
    SearchType.STRING: _folded,
    SearchType.URI: _text,
    SearchType.REFERENCE: _text,
    SearchType.QUANTITY: _number,
}
