"""Partial dates as intervals, against the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.fhir.instants import (
    ABSENT,
    DAY,
    MILLISECOND,
    MINUTE,
    OPEN_END,
    OPEN_START,
    SECOND,
    Interval,
    from_datetime,
    parse,
    period,
    to_datetime,
)


def at(*parts: int, microseconds: int = 0) -> int:
    """Microseconds since 1970 of a UTC moment."""
    moment = datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) + microseconds


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        pytest.param("1970", 0, at(1971, 1, 1), id="year"),
        pytest.param("2024", at(2024, 1, 1), at(2025, 1, 1), id="leap year"),
        pytest.param("2020-02", at(2020, 2, 1), at(2020, 3, 1), id="month"),
        pytest.param("2020-12", at(2020, 12, 1), at(2021, 1, 1), id="December"),
        pytest.param("2020-02-29", at(2020, 2, 29), at(2020, 3, 1), id="leap day"),
        pytest.param("2020-12-31", at(2020, 12, 31), at(2021, 1, 1), id="last day of a year"),
        pytest.param("0001", at(1, 1, 1), at(2, 1, 1), id="first year"),
        pytest.param("9999", at(9999, 1, 1), at(9999, 12, 31) + DAY, id="last year"),
        pytest.param("9999-12", at(9999, 12, 1), at(9999, 12, 31) + DAY, id="last month"),
        pytest.param("9999-12-31", at(9999, 12, 31), at(9999, 12, 31) + DAY, id="last day"),
        pytest.param("2020-05-11T10:30", at(2020, 5, 11, 10, 30), at(2020, 5, 11, 10, 31), id="minute"),
        pytest.param(
            "2020-05-11T10:30Z", at(2020, 5, 11, 10, 30), at(2020, 5, 11, 10, 31), id="minute with zone"
        ),
        pytest.param(
            "2020-05-11T10:30:15",
            at(2020, 5, 11, 10, 30, 15),
            at(2020, 5, 11, 10, 30, 16),
            id="second without zone is UTC and holds its fractions",
        ),
        pytest.param(
            "2020-05-11T10:30:15+02:00", at(2020, 5, 11, 8, 30, 15), at(2020, 5, 11, 8, 30, 16), id="east"
        ),
        pytest.param(
            "2020-01-01T00:00:00+05:30", at(2019, 12, 31, 18, 30), at(2019, 12, 31, 18, 30, 1), id="half hour"
        ),
        pytest.param(
            "2020-12-31T23:59:59-14:00", at(2021, 1, 1, 13, 59, 59), at(2021, 1, 1, 14), id="farthest west"
        ),
        pytest.param(
            "2020-05-11T10:30:15.5Z",
            at(2020, 5, 11, 10, 30, 15, 500_000),
            at(2020, 5, 11, 10, 30, 15, 501_000),
            id="one digit",
        ),
        pytest.param(
            "2020-05-11T10:30:15.123Z",
            at(2020, 5, 11, 10, 30, 15, 123_000),
            at(2020, 5, 11, 10, 30, 15, 124_000),
            id="milliseconds",
        ),
        pytest.param(
            "2020-05-11T10:30:15.123456Z",
            at(2020, 5, 11, 10, 30, 15, 123_456),
            at(2020, 5, 11, 10, 30, 15, 123_457),
            id="microseconds",
        ),
        pytest.param(
            "2020-05-11T10:30:15.123456789Z",
            at(2020, 5, 11, 10, 30, 15, 123_456),
            at(2020, 5, 11, 10, 30, 15, 123_457),
            id="nanoseconds",
        ),
        pytest.param("2016-12-31T23:59:60Z", at(2017, 1, 1), at(2017, 1, 1, 0, 0, 1), id="leap second"),
        pytest.param("2020-05-11T24:00:00Z", at(2020, 5, 12), at(2020, 5, 12, 0, 0, 1), id="24:00:00"),
        pytest.param("2020-05-11T24:00", at(2020, 5, 12), at(2020, 5, 12, 0, 1), id="24:00"),
    ],
)
def test_parse(text: str, start: int, end: int) -> None:
    assert parse(text) == Interval(start, end)


_FORM = "not a FHIR date: yyyy"
_CALENDAR = "no such date in the calendar"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("", _FORM, id="empty"),
        pytest.param("20", _FORM, id="century"),
        pytest.param("20200511", _FORM, id="basic format"),
        pytest.param("2020-5", _FORM, id="one digit"),
        pytest.param("2020-13", _FORM, id="month 13"),
        pytest.param("2020-00", _FORM, id="month 0"),
        pytest.param("2020-01-32", _FORM, id="day 32"),
        pytest.param("2020-02-30", _CALENDAR, id="30 February"),
        pytest.param("2021-02-29", _CALENDAR, id="no leap year"),
        pytest.param("0000", _CALENDAR, id="year 0"),
        pytest.param("2020-05-11T10", _FORM, id="hours without minutes"),
        pytest.param("2020-05-11T25:00", _FORM, id="hour 25"),
        pytest.param("2020-05-11T24:01", _CALENDAR, id="later than 24:00"),
        pytest.param("2020-05-11T24:00:01", _CALENDAR, id="a second after 24:00"),
        pytest.param("2020-05-11T24:00:00.1", _CALENDAR, id="a fraction after 24:00"),
        pytest.param("2020-05-11T10:60", _FORM, id="minute 60"),
        pytest.param("2020-05-11T10:30:61Z", _FORM, id="second 61"),
        pytest.param("2020-05-11T10:30:15.Z", _FORM, id="fraction without digits"),
        pytest.param("2020-05-11T10:30:15 02:00", _FORM, id="a raw plus is a space"),
        pytest.param("2020-05-11T10:30:15+0200", _FORM, id="offset without colon"),
        pytest.param("2020-05-11T10:30:15+15:00", _FORM, id="offset past 14 hours"),
        pytest.param("2020-05-11T10:30:15+14:01", _FORM, id="offset a minute past 14 hours"),
        pytest.param("2020-05-11 10:30:15Z", _FORM, id="space for T"),
        pytest.param("2020-05-11Z", _FORM, id="zone without time"),
        pytest.param(" 2020", _FORM, id="leading space"),
        pytest.param("2020\n", _FORM, id="newline"),
        pytest.param("٢٠٢٠", _FORM, id="digits that are not ASCII"),
        pytest.param("-2020", _FORM, id="before our era"),
        pytest.param("yesterday", _FORM, id="text"),
    ],
)
def test_parse_refuses_with_the_rule_and_without_the_text(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule) as refused:
        parse(text)
    assert not text or text not in str(refused.value).partition(", such as")[0]


@given(st.text(alphabet="0123456789-T:.+Z ", max_size=32) | st.text(max_size=32))
def test_parse_raises_nothing_but_value_errors(text: str) -> None:
    try:
        found = parse(text)
    except ValueError:
        return
    assert OPEN_START < found.start < found.end < OPEN_END


@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)),  # noqa: DTZ001 -- a zone is added
    st.integers(-14 * 60, 14 * 60),
)
def test_each_precision_lies_within_the_coarser_one(moment: datetime, offset: int) -> None:
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    day = moment.strftime("%Y").zfill(4) + moment.strftime("-%m-%d")
    texts = [
        f"{day}T{moment:%H:%M:%S}.{moment.microsecond:06}{zone}",
        f"{day}T{moment:%H:%M:%S}.{moment.microsecond // 1000:03}{zone}",
        f"{day}T{moment:%H:%M:%S}{zone}",
        f"{day}T{moment:%H:%M}{zone}",
    ]
    shift = offset * MINUTE
    found = [Interval(one.start + shift, one.end + shift) for one in map(parse, texts)]
    found += [parse(day), parse(day[:7]), parse(day[:4])]
    assert [one.end - one.start for one in found[:5]] == [1, MILLISECOND, SECOND, MINUTE, DAY]
    for fine, coarse in pairwise(found):
        assert coarse.start <= fine.start < fine.end <= coarse.end


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_moment_is_the_millisecond_that_it_shows(moment: datetime) -> None:
    found = from_datetime(moment)
    assert found.end - found.start == MILLISECOND
    assert to_datetime(found.start) <= moment
    assert to_datetime(found.start) == moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert found == parse(to_datetime(found.start).isoformat(timespec="milliseconds"))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("9999", datetime(9999, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        ("9999-12-31T23:59:59-14:00",) + (datetime.max.replace(tzinfo=UTC),) * 2,
        ("0001-01-01T00:00:00+14:00",) + (datetime.min.replace(tzinfo=UTC),) * 2,
    ],
)
def test_a_moment_beyond_the_calendar_is_its_edge(text: str, start: datetime, end: datetime) -> None:
    found = parse(text)
    assert (to_datetime(found.start), to_datetime(found.end)) == (start, end)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        pytest.param("2020", "2021", Interval(at(2020, 1, 1), at(2022, 1, 1)), id="both"),
        pytest.param("2020-05", None, Interval(at(2020, 5, 1), OPEN_END), id="open end"),
        pytest.param(None, "2020-05", Interval(OPEN_START, at(2020, 6, 1)), id="open start"),
        pytest.param(
            "2020-05-11T10:00:00Z",
            "2020-05-11T10:00:00Z",
            Interval(at(2020, 5, 11, 10), at(2020, 5, 11, 10, 0, 1)),
            id="one moment",
        ),
        pytest.param(
            "2020-05-11T10:00Z", "2020-05", Interval(at(2020, 5, 11, 10), at(2020, 6, 1)), id="mixed"
        ),
    ],
)
def test_period(start: str | None, end: str | None, expected: Interval) -> None:
    assert period(start, end) == expected


def test_a_period_does_not_end_before_it_starts() -> None:
    with pytest.raises(ValueError, match="a Period ends before it starts"):
        period("2020-05-12", "2020-05-11")


def test_absent_comes_before_everything_and_is_empty() -> None:
    assert ABSENT.start == ABSENT.end < OPEN_START < parse("0001").start
