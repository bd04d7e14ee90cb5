"""End of a resource by a policy, as tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store.fhir.instants import ABSENT, OPEN_END, OPEN_START, Interval, from_datetime, parse, period
from store.retention.policy import DAYS_MAX, NEVER, CountedFrom, Ends, Policy, Rule, after, ends

RECEIVED = datetime(2026, 11, 25, 8, 30, 0, 123456, tzinfo=UTC)
LATER = RECEIVED + timedelta(days=3)
LAB = {"category": ["lab", "urn:lab|lab", "urn:lab|"], "status": ["final", "urn:status|"]}


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ended(policy: Policy, resource_type: str = "DiagnosticReport", **given: Any) -> Ends:
    asked: dict[str, Any] = {"fields": LAB, "when": ABSENT, "received": RECEIVED, **given}
    return ends(policy, resource_type=resource_type, **asked)


@pytest.mark.parametrize(
    ("since", "days", "expected"),
    [
        pytest.param(day("2026-01-31"), 1, day("2026-02-01"), id="a day"),
        pytest.param(day("2024-02-28"), 366, day("2025-02-28"), id="over a leap day"),
        pytest.param(day("2026-01-31"), None, NEVER, id="without end"),
        pytest.param(NEVER, 1, NEVER, id="never stays never"),
        pytest.param(NEVER - timedelta(days=3), 3, NEVER, id="just past the calendar"),
        pytest.param(day("9998-12-30"), 1, day("9998-12-31"), id="just within the calendar"),
        pytest.param(day("2026-01-31"), DAYS_MAX, day("2126-01-07"), id="a hundred years"),
    ],
)
def test_days_later(since: datetime, days: int | None, expected: datetime) -> None:
    assert after(since, days) == expected


def test_an_end_is_what_mongodb_gives_back() -> None:
    assert after(RECEIVED, 1) == RECEIVED.replace(microsecond=123000) + timedelta(days=1)


@pytest.mark.parametrize(
    ("counted", "fields", "when", "since"),
    [
        pytest.param(CountedFrom.RECEIVED, {}, parse("2020-01-01"), RECEIVED, id="received"),
        pytest.param(CountedFrom.EFFECTIVE, {}, parse("2020-01-01"), day("2020-01-01"), id="effective"),
        pytest.param(CountedFrom.EFFECTIVE, {}, parse("2020"), day("2020-01-01"), id="by its beginning"),
        pytest.param(
            CountedFrom.EFFECTIVE, {}, period("2020-03-01", "2020-04"), day("2020-03-01"), id="a period"
        ),
        pytest.param(
            CountedFrom.EFFECTIVE, {}, period(None, "2020-04"), RECEIVED, id="a period without a beginning"
        ),
        pytest.param(CountedFrom.EFFECTIVE, {}, ABSENT, RECEIVED, id="no clinical date"),
        pytest.param(CountedFrom.EFFECTIVE, {}, parse("2099"), RECEIVED, id="one that is still to come"),
        pytest.param(
            CountedFrom.EFFECTIVE, {}, Interval(OPEN_START, OPEN_END), RECEIVED, id="open on both sides"
        ),
        pytest.param(
            CountedFrom.ISSUED,
            {"issued": parse("2021-02-03")},
            parse("2020"),
            day("2021-02-03"),
            id="issued, whatever the clinical date",
        ),
        pytest.param(CountedFrom.ISSUED, {}, parse("2020"), day("2020-01-01"), id="no issued: clinical"),
        pytest.param(CountedFrom.ISSUED, {"issued": ABSENT}, parse("2020"), RECEIVED, id="issued is absent"),
    ],
)
def test_where_days_begin(
    counted: CountedFrom, fields: dict[str, Any], when: Interval, since: datetime
) -> None:
    policy = Policy(keep_days=10, counted_from=counted)
    assert ended(policy, fields=fields, when=when).expires_at == after(since, 10)


RULES = Policy(
    keep_days=100,
    rules=(
        Rule(10, type="DiagnosticReport", category=("lab",), status=("preliminary",)),
        Rule(20, type="DiagnosticReport", category=("rad", "urn:lab|lab")),
        Rule(None, category=("mb",)),
        Rule(5, CountedFrom.EFFECTIVE, type="Observation"),
        Rule(30, type="Organization"),
        Rule(7, type="DiagnosticReport"),
    ),
)


@pytest.mark.parametrize(
    ("resource_type", "fields", "days"),
    [
        pytest.param("DiagnosticReport", {**LAB, "status": ["preliminary"]}, 10, id="all conditions"),
        pytest.param("DiagnosticReport", LAB, 20, id="one of its categories, with the system"),
        pytest.param("DiagnosticReport", {"category": ["mb"]}, None, id="without end, whatever the type"),
        pytest.param("Observation", LAB, 5, id="another type"),
        pytest.param("DiagnosticReport", {}, 7, id="no category: the rule that asks for none"),
        pytest.param("Condition", {}, 100, id="no rule: the default"),
        pytest.param("Organization", {}, 30, id="a directory type that a rule names"),
        pytest.param("Practitioner", {}, None, id="a directory type stays"),
        pytest.param("Practitioner", {"category": ["mb"]}, None, id="a rule for a category"),
    ],
)
def test_the_first_rule_that_fits_decides(
    resource_type: str, fields: dict[str, Any], days: int | None
) -> None:
    assert ended(RULES, resource_type, fields=fields).expires_at == after(RECEIVED, days)


@pytest.mark.parametrize(
    ("policy", "resource_type", "needed", "expected"),
    [
        pytest.param(Policy(keep_days=10), "Patient", None, after(RECEIVED, 10), id="nothing needs it"),
        pytest.param(Policy(keep_days=10), "Patient", LATER, after(LATER, 0), id="goes with what needs it"),
        pytest.param(Policy(keep_days=1), "Patient", LATER, after(LATER, 0), id="stays with what needs it"),
        pytest.param(Policy(keep_days=10), "Patient", NEVER, NEVER, id="stays without end"),
        pytest.param(RULES, "Observation", LATER, after(RECEIVED, 5), id="not before a rule for its type"),
        pytest.param(RULES, "Observation", NEVER, NEVER, id="nor before what needs it"),
    ],
)
def test_what_is_needed_goes_with_the_last_that_needs_it(
    policy: Policy, resource_type: str, needed: datetime | None, expected: datetime
) -> None:
    assert after(ended(policy, resource_type, needed=needed).expires_at, 0) == expected


def test_the_beginning_of_a_date_is_an_instant() -> None:
    earlier = RECEIVED - timedelta(microseconds=1)
    when = Interval(from_datetime(earlier).start, OPEN_END)
    policy = Policy(keep_days=1, counted_from=CountedFrom.EFFECTIVE)
    assert ended(policy, when=when).own == after(earlier, 1)
