"""Quantity search: a number under a prefix, with or without a unit.

A value that was asked covers what its digits imply (5.4: 5.35 up to 5.45; 1e2: 95 up to 105) for `eq`, `ne`
and `ap`, and is exact for the others. A stored comparator such as `<` opens the range, without its own end.
https://hl7.org/fhir/R4/search.html#quantity
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from math import nextafter
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from store.fhir.datatypes import Malformed, Number, object_of, text_of
from store.search.values.escapes import escape, split, unescape
from store.search.values.strings import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.fhir.datatypes import Json
    from store.search.filters import Filter

_NUMBER: Final = re.compile(
    r"(?P<prefix>[a-z]{2})?(?P<number>[+-]?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?)", re.ASCII
)
_STORED: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d{1,4})?")
_INFINITY: Final = float("inf")


_LOW: Final[Mapping[str | None, Callable[[float], float]]] = {
    "<": lambda _: -_INFINITY,
    "<=": lambda _: -_INFINITY,
    ">": lambda exact: nextafter(exact, _INFINITY),
}
_HIGH: Final[Mapping[str | None, Callable[[float], float]]] = {
    "<": lambda exact: nextafter(exact, -_INFINITY),
    ">": lambda _: _INFINITY,
    ">=": lambda _: _INFINITY,
}
"""Ends of the values that a stored comparator stands for: both ends belong to them."""


class QuantityValue(NamedTuple):
    """Alternative of a query."""

    prefix: str
    low: float
    exact: float
    high: float
    unit: str | None
    """`system|code`, or a code or printed unit alone; None: any."""


class StoredQuantity(TypedDict):
    """Stored form of a Quantity."""

    lo: float
    hi: float
    units: list[str]


PREFIXES: Final[Mapping[str, Callable[[str, QuantityValue], Filter]]] = {
    "eq": lambda f, v: {f"{f}lo": {"$gte": v.low}, f"{f}hi": {"$lt": v.high}},
    "ne": lambda f, v: {"$or": [{f"{f}lo": {"$lt": v.low}}, {f"{f}hi": {"$gte": v.high}}]},
    "gt": lambda f, v: {f"{f}hi": {"$gt": v.exact}},
    "lt": lambda f, v: {f"{f}lo": {"$lt": v.exact}},
    "ge": lambda f, v: {f"{f}hi": {"$gte": v.exact}},
    "le": lambda f, v: {f"{f}lo": {"$lte": v.exact}},
    "sa": lambda f, v: {f"{f}lo": {"$gt": v.exact}},
    "eb": lambda f, v: {f"{f}hi": {"$lt": v.exact}},
    # The range was widened when it was parsed.
    "ap": lambda f, v: {f"{f}lo": {"$lte": v.high}, f"{f}hi": {"$gte": v.low}},
}


def parse(text: str) -> QuantityValue:
    """Alternative of a query: `[prefix]number[|system|code]`. Raises ValueError with the rule."""
    parts = [unescape(part) for part in split(text, "|")]
    match = _NUMBER.fullmatch(parts[0])
    if match is None or len(parts) not in (1, 3):
        message = "a quantity is `[prefix]number`, `…|system|code` or `…||code`"
        raise ValueError(message)
    prefix = match["prefix"] or "eq"
    if prefix not in PREFIXES:
        message = f"the prefix must be one of {', '.join(PREFIXES)}"
        raise ValueError(message)
    number = Decimal(match["number"])
    slack = _half_a_unit(number, scientific="e" in match["number"].lower())
    if prefix == "ap":
        slack = max(slack, abs(number) / 10)
    unit = _unit(parts[1], parts[2]) if len(parts) > 1 else None
    # More digits than a float has leave no room: the number itself is in its range all the same.
    exact, high = float(number), float(number + slack)
    return QuantityValue(prefix, float(number - slack), exact, max(high, nextafter(exact, _INFINITY)), unit)


def _half_a_unit(number: Decimal, *, scientific: bool) -> Decimal:
    """Half a unit of the last digit that was written; R4 reads `1e2` as 1.0e2: [95, 105)."""
    _, digits, exponent = number.as_tuple()
    last = int(exponent) - (1 if scientific and len(digits) == 1 else 0)
    return Decimal(5).scaleb(last - 1)


def _unit(system: str, code: str) -> str | None:
    if not code:
        return f"{escape(system)}|" if system else None
    return f"{escape(system)}|{escape(code)}" if system else escape(code)


def to_filter(prefix: str, value: QuantityValue) -> Filter:
    """Filter that a stored quantity must fulfil; its fields stand under `prefix`."""
    filtered = PREFIXES[value.prefix](prefix, value)
    return filtered if value.unit is None else {**filtered, f"{prefix}units": value.unit}


def index(value: Json, path: str) -> StoredQuantity | None:
    """Stored form of a Quantity; None when it has no value."""
    quantity = object_of(value, path)
    number = quantity.get("value")
    if number is None:
        return None
    text = number.text if isinstance(number, Number) else str(number)
    if isinstance(number, bool | str) or not _STORED.fullmatch(text):
        raise Malformed(f"{path}.value", "must be a number")
    exact = float(text)
    comparator = text_of(quantity, "comparator", path)
    system, code = text_of(quantity, "system", path), text_of(quantity, "code", path)
    unit = text_of(quantity, "unit", path)
    units = list(_units(system, code, unit))
    if comparator is None:
        return StoredQuantity(lo=exact, hi=exact, units=units)
    return StoredQuantity(
        lo=_LOW.get(comparator, float)(exact), hi=_HIGH.get(comparator, float)(exact), units=units
    )


def _units(system: str | None, code: str | None, unit: str | None) -> list[str]:
    short = len(system or "") + len(code or "") + len(unit or "") <= REMEMBERED
    return _remembered_units(system, code, unit) if short else _spelled_units(system, code, unit)


@lru_cache(maxsize=1_024)
def _remembered_units(system: str | None, code: str | None, unit: str | None) -> list[str]:
    """Spellings of units: they come from small sets and repeat in each result."""
    return _spelled_units(system, code, unit)


def _spelled_units(system: str | None, code: str | None, unit: str | None) -> list[str]:
    found = [escape(text) for text in (code, unit) if text]
    if system:
        found += [f"{escape(system)}|", f"{escape(system)}|{escape(code or '')}"]
    return list(dict.fromkeys(found))
