"""Dates and times of HL7 v2 in FHIR's form, each as precise as it was sent. Pure.

`YYYY[MM[DD[HH[MM[SS[.S[S[S[S]]]]]]]]][±ZZZZ]`. A time without an offset is in the source's zone: that of the
profile, else MSH-7's offset, which HL7 makes the default of the message, else UTC. HL7 v2.5.1, 2.A.22.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from datetime import tzinfo

_DTM: Final = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(\.\d{1,9})?)?)?)?)?)?([+-]\d{4})?"
)
_LOOSE: Final = re.compile(
    r"(\d{4})[-/]?(\d\d)[-/]?(\d\d)(?:[ T]?(\d\d):?(\d\d)(?::?(\d\d)(\.\d{1,9})?)?)?\s*(Z|[+-]\d\d:?\d\d)?"
)
"""ISO 8601, and dates with a blank before the time, as some senders write them."""
_TIME: Final = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(\.\d{1,9})?)?)?([+-]\d{4})?")
_OFFSET_MAX: Final = 14 * 60


@lru_cache(maxsize=64)
def zone_of(name: str | None) -> ZoneInfo | None:
    """The time zone of an IANA name; None: no name is given."""
    return ZoneInfo(name) if name else None


def default_zone(message_time: str, zone: str | None) -> tzinfo:
    """The zone of times without an offset."""
    known = zone_of(zone)
    if known is not None:
        return known
    match = _DTM.fullmatch(message_time.strip())
    minutes = _minutes(match[8]) if match is not None and match[8] else None
    return UTC if minutes is None else timezone(timedelta(minutes=minutes))


@lru_cache(maxsize=2_048)
def fhir_datetime(text: str, zone: tzinfo) -> str | None:
    """A FHIR dateTime of the same precision; None: it is no date. Seconds that are not sent are zero.

    Remembered: the results of a report share their times.
    """
    match = _DTM.fullmatch(text) or _LOOSE.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    clock = f"{hour or ''}{minute or ''}{second or ''}{fraction or ''}"
    if "00" in (month, day):  # Nobody knows the day, or not even the month.
        if clock.strip("0.") or (month == "00" and day not in (None, "00")):
            return None
        month, day, hour = None if month == "00" else month, None, None
    to_midnight = hour == "24" and not clock[2:].strip("0.")
    try:
        if day is None:
            date(int(year), int(month or 1), 1)
            return f"{year}-{month}" if month else year
        if hour is None:
            date(int(year), int(month), int(day))
            return f"{year}-{month}-{day}"
        hours = 0 if to_midnight else int(hour)
        moment = datetime(int(year), int(month), int(day), hours, int(minute or 0), int(second or 0))  # noqa: DTZ001 -- the zone follows
        moment += timedelta(days=to_midnight)  # The end of a day, as it is often written.
    except (ValueError, OverflowError):
        return None
    shift = _offset(moment, offset, zone)
    # Not `%Y`: it writes the year 1, which is no date to .NET, without its zeros.
    return None if shift is None else f"{moment.isoformat(timespec='seconds')}{fraction or ''}{shift}"


def _offset(moment: datetime, offset: str | None, zone: tzinfo) -> str | None:
    if offset is None:
        found = zone.utcoffset(moment.replace(tzinfo=zone)) or timedelta()
        minutes: int | None = round(found.total_seconds() / 60)
    else:
        minutes = _minutes(offset)
    if minutes is None:
        return None
    return (
        "Z" if not minutes else f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    )


def _minutes(offset: str) -> int | None:
    if offset == "Z":
        return 0
    bare = offset.replace(":", "")
    hours, minutes = int(bare[1:3]), int(bare[3:5])
    total = hours * 60 + minutes
    if minutes >= 60 or total > _OFFSET_MAX:  # noqa: PLR2004 -- minutes of an hour
        return None
    return -total if bare[0] == "-" else total


def fhir_date(text: str, zone: tzinfo) -> str | None:
    """A FHIR date: the day as it was sent, whatever the zone; None: the text is no date of HL7."""
    found = fhir_datetime(text, zone)
    return found[:10] if found else None


def fhir_instant(text: str, zone: tzinfo) -> str | None:
    """A FHIR instant; None: no date, or one without a time of day."""
    found = fhir_datetime(text, zone)
    return found if found and "T" in found else None


def fhir_time(text: str) -> str | None:
    """A FHIR time. None: it is no time, or names an offset, which FHIR's has not."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, second, fraction, offset = match.groups()
    if offset or int(hour) > 23 or int(minute or 0) > 59 or int(second or 0) > 59:  # noqa: PLR2004 -- of a day
        return None
    return f"{hour}:{minute or '00'}:{second or '00'}{fraction or ''}"
