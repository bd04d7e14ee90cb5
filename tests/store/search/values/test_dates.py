"""The nine prefixes against their definition in words, over random and over all small intervals.

https://hl7.org/fhir/R4/search.html#prefix
"""

from __future__ import annotations

from itertools import combinations, product
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.fhir import instants
from store.fhir.datatypes import Malformed
from store.fhir.instants import ABSENT, DAY, OPEN_END, OPEN_START, Interval
from store.search.values import dates
from store.search.values.dates import PREFIXES, DateValue
from tests.support.filters import matches
from tests.support.reports import stored_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INFINITE: Final = float("inf")
Span = tuple[float, float]


def ends(interval: Interval) -> Span:
    """The ends as numbers, the open ones infinite."""
    start = -INFINITE if interval.start == OPEN_START else interval.start
    return start, INFINITE if interval.end == OPEN_END else interval.end


def contains(s: Span, t: Span) -> bool:
    return s[0] <= t[0] and t[1] <= s[1]


def reaches_above(s: Span, t: Span) -> bool:
    return t[1] > s[1]


def reaches_below(s: Span, t: Span) -> bool:
    return t[0] < s[0]


IN_WORDS: Final[Mapping[str, Callable[[Span, Span], bool]]] = {
    "eq": contains,
    "ne": lambda s, t: not contains(s, t),
    "gt": reaches_above,
    "lt": reaches_below,
    "ge": lambda s, t: reaches_above(s, t) or contains(s, t),
    "le": lambda s, t: reaches_below(s, t) or contains(s, t),
    "sa": lambda s, t: t[0] >= s[1],
    "eb": lambda s, t: t[1] <= s[0],
    "ap": lambda s, t: t[0] < s[1] and s[0] < t[1],
}


def found(prefix: str, asked: Interval, stored: Interval) -> bool:
    return matches({"f": stored_interval(stored)}, dates.to_filter("f", DateValue(prefix, asked)))


def test_there_are_the_nine_prefixes_of_r4() -> None:
    assert list(PREFIXES) == list(IN_WORDS)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_pair_of_a_small_domain(prefix: str) -> None:
    points = [OPEN_START, -2, -1, 0, 1, 2, 3, OPEN_END]
    stored = [Interval(*pair) for pair in combinations(points, 2)]
    asked = [Interval(*pair) for pair in combinations(points[1:-1], 2)]
    for s, t in product(asked, stored):
        assert found(prefix, s, t) is IN_WORDS[prefix](ends(s), ends(t)), (s, t)


_POINTS = st.integers(-(10**17), 10**17) | st.integers(-5, 5)
_CLOSED = st.tuples(_POINTS, _POINTS).map(sorted).filter(lambda p: p[0] < p[1]).map(lambda p: Interval(*p))
_STORED = (
    _CLOSED
    | _POINTS.map(lambda p: Interval(OPEN_START, p))
    | _POINTS.map(lambda p: Interval(p, OPEN_END))
    | st.just(Interval(OPEN_START, OPEN_END))
)


@given(st.sampled_from(sorted(PREFIXES)), _CLOSED, _STORED)
def test_any_pair(prefix: str, asked: Interval, stored: Interval) -> None:
    assert found(prefix, asked, stored) is IN_WORDS[prefix](ends(asked), ends(stored))


@given(st.sampled_from(sorted(PREFIXES)), _CLOSED)
def test_without_a_value_there_is_no_match(prefix: str, asked: Interval) -> None:
    assert not found(prefix, asked, ABSENT)


@pytest.mark.parametrize(
    ("asked", "stored", "expected"),
    [
        pytest.param("2020-01", "2020", False, id="eq is containment"),
        pytest.param("2020", "2020-01", True, id="a month lies in its year"),
        pytest.param("ge2020-06", "2020", True, id="ge: reaches above"),
        pytest.param("gt2020-01", "2020", True, id="gt: reaches above"),
        pytest.param("gt2020-05-11", "2020-05", True, id="gt: past the 11th"),
        pytest.param("gt2020-05-11", "2020-05-11T23:00:00Z", False, id="gt: not past the 11th"),
        pytest.param(
            "2020-05-11T10:00:00Z", "2020-05-11T10:00:00.999Z", True, id="a second and its fractions"
        ),
        pytest.param("2020-05-11T10:00", "2020-05-11T10:00:59Z", True, id="a minute and its seconds"),
        pytest.param("2020-05-11", "2020-05-11T23:30:00-01:00", False, id="an offset moves the day"),
        pytest.param("2020-05-12", "2020-05-11T23:30:00-01:00", True, id="to the next one"),
        pytest.param(
            "eb2020-05-11T10:00:00.000Z", "2020-05-11T10:00:00.000Z", False, id="eb: not the same instant"
        ),
        pytest.param(
            "sa2020-05-11T10:00:00.000Z", "2020-05-11T10:00:00.000Z", False, id="sa: not the same instant"
        ),
        pytest.param("eq2020-05-11T10:00:00.000Z", "2020-05-11T12:00:00.000+02:00", True, id="zones"),
        pytest.param("ne2020", {"start": "2020-05"}, True, id="ne: open end"),
        pytest.param("2020", {"start": "2020-05"}, False, id="an open end is never eq"),
        pytest.param("gt2999", {"start": "2020-05"}, True, id="an open end is always gt"),
        pytest.param("eb2999", {"start": "2020-05"}, False, id="an open end is never eb"),
        pytest.param("lt1900", {"end": "2020-05"}, True, id="an open start is always lt"),
        pytest.param("sa1900", {"end": "2020-05"}, False, id="an open start is never sa"),
        pytest.param(
            "ge2013-03-14", {"start": "2013-03-01", "end": "2013-03-14T12:00Z"}, False, id="strict ge"
        ),
        pytest.param("le2013-03-14", {"start": "2013-03-14T12:00Z", "end": "2013-04"}, False, id="strict le"),
        pytest.param("2020-05", {"start": "2020-05-01", "end": "2020-05-31"}, True, id="a period within"),
        pytest.param("ne2020", {}, False, id="an empty period is no value"),
        pytest.param("2020", {"event": ["2020-01-01", "2020-03"]}, True, id="events of a Timing"),
        pytest.param("2020-01", {"event": ["2020-01-01", "2020-03"]}, False, id="Timing: the outer limits"),
        pytest.param(
            "2020", {"repeat": {"boundsPeriod": {"start": "2020-02", "end": "2020-03"}}}, True, id="bounds"
        ),
        pytest.param("ne2020", {"repeat": {"count": 3}}, False, id="a Timing without limits"),
    ],
)
def test_examples(asked: str, stored: Any, expected: bool) -> None:
    value = dates.parse(asked, 0)
    assert found(value.prefix, value.interval, dates.index(stored, "p")) is expected


def test_approximately_is_a_tenth_of_the_distance_from_now_on_both_sides() -> None:
    now = instants.parse("2020-01-11").start
    value = dates.parse("ap2020-01-01", now)
    day = instants.parse("2020-01-01")
    assert value == DateValue("ap", Interval(day.start - DAY, day.end + DAY))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(
            "xx2020", "the prefix must be one of eq, ne, gt, lt, ge, le, sa, eb, ap", id="unknown prefix"
        ),
        pytest.param("GE2020", "the prefix must be one of", id="prefixes are case-sensitive"),
        pytest.param("ge", "not a FHIR date", id="prefix alone"),
        pytest.param("gege2020", "not a FHIR date", id="two prefixes"),
        pytest.param("ge 2020", "not a FHIR date", id="space"),
        pytest.param(">2020", "prefixes of letters: eq, .* as in `ge2026-03`", id="sign"),
        pytest.param("ge2020-01-01T00:00 02:00", "write the zone as `%2B01:00`", id="raw plus"),
        pytest.param("ge2020-02-30", "no such date in the calendar", id="30 February"),
    ],
)
def test_parse_refuses_with_the_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dates.parse(text, 0)


@pytest.mark.parametrize(
    ("value", "path", "rule"),
    [
        pytest.param("soon", "p", "not a FHIR date", id="text"),
        pytest.param(2020, "p", "must be an object", id="number"),
        pytest.param({"start": 2020}, "p.start", "must be a string", id="number in a Period"),
        pytest.param({"event": "2020"}, "p.event", "must be a list", id="one event"),
        pytest.param({"event": ["soon"]}, "p.event", "not a FHIR date", id="text for an event"),
    ],
)
def test_index_refuses_a_wrong_shape_at_its_place(value: Any, path: str, rule: str) -> None:
    with pytest.raises(Malformed, match=rule) as refused:
        dates.index(value, "p")
    assert refused.value.path == path
    assert "soon" not in str(refused.value)


def test_a_period_that_ends_before_it_starts_has_no_date() -> None:
    reversed_: Any = {"start": "2021", "end": "2020"}
    assert dates.index(reversed_, "p") == ABSENT
    timing: Any = {"event": [None, "2022-01-01"], "repeat": {"boundsPeriod": reversed_}}
    assert dates.index(timing, "p") == dates.index("2022-01-01", "p")
