"""Date search: nine prefixes over half-open intervals. https://hl7.org/fhir/R4/search.html#date

v is what was asked, lo and hi what is stored; both half-open, UTC, microseconds. A resource without the
date stores `ABSENT`, which none of the nine matches.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir import instants
from store.fhir.datatypes import Malformed, object_of, text_of
from store.fhir.instants import ABSENT, MISSING, Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.fhir.datatypes import Json
    from store.search.filters import Filter


_SPACED_ZONE: Final = re.compile(r"T\d\d:\d\d[\d:.]* \d\d:\d\d$")
_OPERATORS: Final = frozenset("<>=!")


class DateValue(NamedTuple):
    """Alternative of a query."""

    prefix: str
    interval: Interval


def _ne(f: str, v: Interval) -> Filter:
    return {f"{f}lo": {"$gt": MISSING}, "$or": [{f"{f}lo": {"$lt": v.start}}, {f"{f}hi": {"$gt": v.end}}]}


def _ge(f: str, v: Interval) -> Filter:
    # `hi > start` follows from either branch; it keeps the index scan to what may match.
    either = [{f"{f}hi": {"$gt": v.end}}, {f"{f}lo": {"$gte": v.start}}]
    return {f"{f}hi": {"$gt": v.start}, "$or": either}


def _le(f: str, v: Interval) -> Filter:
    # `lo < end` follows from either branch.
    either = [{f"{f}lo": {"$lt": v.start}}, {f"{f}hi": {"$lte": v.end}}]
    return {f"{f}lo": {"$gt": MISSING, "$lt": v.end}, "$or": either}


PREFIXES: Final[Mapping[str, Callable[[str, Interval], Filter]]] = {
    # `lo < end` is implied by `hi <= end`; it bounds the index scan on both sides.
    "eq": lambda f, v: {f"{f}lo": {"$gte": v.start, "$lt": v.end}, f"{f}hi": {"$lte": v.end}},
    "ne": _ne,
    "gt": lambda f, v: {f"{f}hi": {"$gt": v.end}},
    "lt": lambda f, v: {f"{f}lo": {"$gt": MISSING, "$lt": v.start}},
    "ge": _ge,
    "le": _le,
    "sa": lambda f, v: {f"{f}lo": {"$gte": v.end}},
    "eb": lambda f, v: {f"{f}lo": {"$gt": MISSING, "$lt": v.start}, f"{f}hi": {"$lte": v.start}},
    # The interval was widened when it was parsed.
    "ap": lambda f, v: {f"{f}lo": {"$gt": MISSING, "$lt": v.end}, f"{f}hi": {"$gt": v.start}},
}


def parse(text: str, now: int) -> DateValue:
    """Alternative of a query; `now` in microseconds, for `ap`. Raises ValueError with the rule."""
    if _SPACED_ZONE.search(text):
        message = "a `+` in a URL or form is a space: write the zone as `%2B01:00`"
        raise ValueError(message)
    if text[:1] in _OPERATORS:
        message = f"comparisons are prefixes of letters: {', '.join(PREFIXES)}, as in `ge2026-03`"
        raise ValueError(message)
    prefix, rest = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
    if prefix not in PREFIXES:
        message = f"the prefix must be one of {', '.join(PREFIXES)}, as in `ge2026-03`"
        raise ValueError(message)
    interval = instants.parse(rest)
    if prefix == "ap":
        # R4 suggests a tenth of the distance from now, on both sides.
        slack = abs(now - interval.start) // 10
        interval = Interval(interval.start - slack, interval.end + slack)
    return DateValue(prefix, interval)


def to_filter(field: str, value: DateValue) -> Filter:
    """Filter that a stored interval must fulfil."""
    return PREFIXES[value.prefix](f"{field}.", value.interval)


def to_filter_of_each(field: str, value: DateValue) -> Filter:
    """Filter that one interval of a stored list must fulfil."""
    return {field: {"$elemMatch": PREFIXES[value.prefix]("", value.interval)}}


def index(value: Json, path: str) -> Interval:
    """The interval of a date, dateTime, instant, Period or Timing."""
    try:
        if isinstance(value, str):
            return instants.parse(value)
        element = object_of(value, path)
        if "event" in element or "repeat" in element:
            return _timing(element, path)
        start, end = text_of(element, "start", path), text_of(element, "end", path)
        return ABSENT if start is None and end is None else instants.period(start, end)
    except instants.ReversedError:
        return ABSENT  # Kept, and found by no date: `ingest.pipeline.validation.conformance` tells of it.
    except ValueError as error:
        raise Malformed(path, str(error)) from None


def _timing(element: Json, path: str) -> Interval:
    """The outer limits of a Timing: its events, or the bounds of its repetition."""
    timing = object_of(element, path)
    events = timing.get("event") or []
    if not isinstance(events, list):
        raise Malformed(f"{path}.event", "must be a list")
    found = [index(event, f"{path}.event") for event in events if event is not None]
    repeat = timing.get("repeat")
    if isinstance(repeat, dict) and isinstance(repeat.get("boundsPeriod"), dict):
        found.append(index(repeat["boundsPeriod"], f"{path}.repeat.boundsPeriod"))
    return union(found)


def union(intervals: list[Interval]) -> Interval:
    """The span from the first to the last."""
    found = [interval for interval in intervals if interval != ABSENT]
    if not found:
        return ABSENT
    return Interval(min(i.start for i in found), max(i.end for i in found))
