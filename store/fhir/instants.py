"""The only date parser: FHIR date, dateTime, instant and search values as half-open UTC intervals.

`2015-05` is all of May; a whole second contains its fractions; no zone means UTC (`DECISIONS.md#time-zones`).
https://hl7.org/fhir/R4/datatypes.html#dateTime, https://hl7.org/fhir/R4/search.html#date
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

MICROSECOND: Final = 1
MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 24 * 60 * MINUTE

MISSING: Final = -(2**62)
"""Interval in place of a date that a resource does not have: sorts before every real one, matches nothing."""
OPEN_START: Final = MISSING + 1
"""A Period without start reaches back to here."""
OPEN_END: Final = 2**62
"""A Period without end reaches to here."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_YEAR_MAX: Final = 9999
_PAST_THE_LAST: Final = 253_402_300_800 * SECOND
"""The end of the year 9999, for which datetime has no name."""
_FIRST: Final = -62_135_596_800 * SECOND
"""The beginning of the year 1."""
_PATTERN: Final = re.compile(
    r"(?P<year>\d{4})"
    r"(?:-(?P<month>0[1-9]|1[0-2])"
    r"(?:-(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:T(?P<hour>[01]\d|2[0-4]):(?P<minute>[0-5]\d)"
    r"(?::(?P<second>[0-5]\d|60)(?:\.(?P<fraction>\d{1,30}))?)?"
    r"(?P<zone>Z|[+-](?:(?:0\d|1[0-3]):[0-5]\d|14:00))?)?)?)?",
    re.ASCII,
)


class Interval(NamedTuple):
    """[start, end) in microseconds since 1970 UTC. Stored and asked values are both this."""

    start: int
    end: int


ABSENT: Final = Interval(MISSING, MISSING)
"""The interval of a resource without that date."""


class ReversedError(ValueError):
    """A Period ends before it starts."""


@lru_cache(maxsize=4_096)
def parse(text: str) -> Interval:
    """All instants that a partial date stands for. Raises ValueError, which never quotes the text.

    Remembered: the results of a report share its date. What is no date is not, so all are short.
    """
    match = _PATTERN.fullmatch(text)
    if match is None:
        message = (
            "not a FHIR date: yyyy[-mm[-dd[Thh:mm[:ss[.fff]][Z|±hh:mm]]]],"
            " such as 2026-03-02 or 2026-03-02T08:15:00+01:00"
        )
        raise ValueError(message)
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        if day is None:
            return _months(int(year), int(month) if month else None)
        midnight = datetime(int(year), int(month), int(day), tzinfo=UTC)
        if hour is None:
            start = _since_epoch(midnight)
            return Interval(start, start + DAY)
        return _within_day(midnight, hour, minute, second, fraction, zone)
    except (ValueError, OverflowError):
        message = "no such date in the calendar"
        raise ValueError(message) from None


def _months(year: int, month: int | None) -> Interval:
    start = datetime(year, month or 1, 1, tzinfo=UTC)
    if month is None or month == 12:  # noqa: PLR2004 -- December
        if year == _YEAR_MAX:
            return Interval(_since_epoch(start), _PAST_THE_LAST)
        return Interval(_since_epoch(start), _since_epoch(datetime(year + 1, 1, 1, tzinfo=UTC)))
    return Interval(_since_epoch(start), _since_epoch(datetime(year, month + 1, 1, tzinfo=UTC)))


def _within_day(  # noqa: PLR0913 -- the groups of the pattern
    midnight: datetime, hour: str, minute: str, second: str | None, fraction: str | None, zone: str | None
) -> Interval:
    if hour == "24" and (minute != "00" or (second or "00") != "00" or (fraction or "").strip("0")):
        raise ValueError  # 24:00 is the end of a day and nothing later.
    start = _since_epoch(midnight) + int(hour) * 60 * MINUTE + int(minute) * MINUTE - _offset(zone)
    if second is None:
        return Interval(start, start + MINUTE)
    # A leap second is counted as the first second of the next minute, as POSIX time does.
    start += int(second) * SECOND
    if fraction is None:
        return Interval(start, start + SECOND)
    start += int(fraction[:6].ljust(6, "0"))
    return Interval(start, start + (MILLISECOND if len(fraction) <= 3 else MICROSECOND))  # noqa: PLR2004


def _offset(zone: str | None) -> int:
    """A zone in microseconds east of UTC."""
    if zone is None or zone == "Z":
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return (minutes if zone[0] == "+" else -minutes) * MINUTE


def _since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=64)
def from_datetime(moment: datetime) -> Interval:
    """A moment as the instant a resource shows for it: one millisecond wide.

    Remembered, as `to_datetime`: all that is written together is of one moment.
    """
    start = _since_epoch(moment) // MILLISECOND * MILLISECOND
    return Interval(start, start + MILLISECOND)


@lru_cache(maxsize=64)
def to_datetime(microseconds: int) -> datetime:
    """Datetime of microseconds since 1970; the first or the last one there is of what lies beyond.

    A zone takes the first and the last hours of the calendar out of what datetime has names for, and the end
    of its last year is the next one.
    """
    return _EPOCH + timedelta(microseconds=min(max(microseconds, _FIRST), _PAST_THE_LAST - 1))


def period(start: str | None, end: str | None) -> Interval:
    """A FHIR Period: from the start's lower end to the end's upper end, open where one is missing."""
    interval = Interval(
        parse(start).start if start is not None else OPEN_START,
        parse(end).end if end is not None else OPEN_END,
    )
    if interval.start >= interval.end:
        message = "a Period ends before it starts"
        raise ReversedError(message)
    return interval
