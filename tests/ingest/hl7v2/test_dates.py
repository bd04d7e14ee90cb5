"""Dates of each precision, with and without an offset."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hl7v2.dates import default_zone, fhir_date, fhir_datetime, fhir_instant, fhir_time
from store.fhir.instants import parse

BRUSSELS = ZoneInfo("Europe/Brussels")
TABLE = [
    ("2026", "2026"),
    ("202603", "2026-03"),
    ("20260302", "2026-03-02"),
    ("2026030208", "2026-03-02T08:00:00+01:00"),
    ("202603020815", "2026-03-02T08:15:00+01:00"),
    ("20260302081530", "2026-03-02T08:15:30+01:00"),
    ("20260302081530.1", "2026-03-02T08:15:30.1+01:00"),
    ("20260302081530.1230", "2026-03-02T08:15:30.1230+01:00"),
    ("20260702081530", "2026-07-02T08:15:30+02:00"),
    ("20260302081530-0500", "2026-03-02T08:15:30-05:00"),
    ("20260302081530+0000", "2026-03-02T08:15:30Z"),
    ("20260302081530+0545", "2026-03-02T08:15:30+05:45"),
    ("202603020815-0330", "2026-03-02T08:15:00-03:30"),
    ("20260302-0500", "2026-03-02"),
    ("00010101000000+0000", "0001-01-01T00:00:00Z"),
    ("0999-12-31T10:00:00Z", "0999-12-31T10:00:00Z"),
    ("2026-03-02", "2026-03-02"),
    ("2026/03/02 08:15", "2026-03-02T08:15:00+01:00"),
    ("2026-03-02T08:15:30Z", "2026-03-02T08:15:30Z"),
    ("2026-03-02T08:15:30.5+05:30", "2026-03-02T08:15:30.5+05:30"),
    ("20260302 0815", "2026-03-02T08:15:00+01:00"),
    ("20260300", "2026-03"),
    ("20260000", "2026"),
    ("202600", "2026"),
    ("20260300000000+0000", "2026-03"),
    ("2026-00-00 00:00:00", "2026"),
    ("20260302240000", "2026-03-03T00:00:00+01:00"),
    ("202612312400-0500", "2027-01-01T00:00:00-05:00"),
    ("2026030224", "2026-03-03T00:00:00+01:00"),
    ("20260302240001", None),
    ("20260300081530", None),
    ("20260005", None),
    ("99991231240000", None),
    ("20260230", None),
    ("20261301", None),
    ("202603022515", None),
    ("20260302081560", None),
    ("20260302081530+2500", None),
    ("20260302081530+0175", None),
    ("220260302081530", None),
    ("196203520", None),
    ("Aug 15, 1942", None),
    ("00000000", None),
    ("20", None),
    ("", None),
]


@pytest.mark.parametrize(("sent", "expected"), TABLE)
def test_a_date_is_as_precise_as_it_was_sent(sent: str, expected: str | None) -> None:
    assert fhir_datetime(sent, BRUSSELS) == expected


def test_the_zone_is_the_profile_s_else_that_of_msh_7_else_utc() -> None:
    assert default_zone("20260302081500-0500", "Europe/Brussels") == BRUSSELS
    assert default_zone("20260302081500-0500", None) == timezone(timedelta(hours=-5))
    assert default_zone("20260302081500", None) is UTC
    assert default_zone("nonsense", None) is UTC


def test_a_date_of_birth_is_the_day_that_was_sent() -> None:
    assert fhir_date("19800101233000-0800", UTC) == "1980-01-01"
    assert fhir_date("1980", UTC) == "1980"
    assert fhir_date("x", UTC) is None


def test_an_instant_has_a_time_of_day() -> None:
    assert fhir_instant("20260302", UTC) is None
    assert fhir_instant("202603020815", UTC) == "2026-03-02T08:15:00Z"


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("08", "08:00:00"),
        ("0815", "08:15:00"),
        ("081530", "08:15:30"),
        ("223100.0000", "22:31:00.0000"),
        ("08:15:30", "08:15:30"),
        ("2500", None),
        ("0860", None),
        ("081530-0500", None),
        ("noon", None),
    ],
)
def test_a_time_of_day(sent: str, expected: str | None) -> None:
    assert fhir_time(sent) == expected


@given(st.datetimes(min_value=datetime(1800, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(4, 14))  # noqa: DTZ001 -- local times
def test_each_date_is_a_fhir_date_that_holds_the_moment(moment: datetime, length: int) -> None:
    length -= length % 2
    found = fhir_datetime(f"{moment:%Y%m%d%H%M%S}".rjust(14, "0")[:length], UTC)
    assert found is not None
    there = round(moment.replace(tzinfo=UTC).timestamp() * 1_000_000)
    interval = parse(found)
    # Minutes and seconds that were not sent are zero.
    assert interval.start <= there
    assert length >= 10 or there < interval.end
