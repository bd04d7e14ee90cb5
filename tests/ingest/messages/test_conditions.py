"""Conditions under which what a message takes out of the current data may go."""

from __future__ import annotations

import pytest

from ingest.messages.conditions import as_found
from ingest.pipeline.identity.decisions import Candidate
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.numbers import Number, Rank
from store.resources.resource_keys import ResourceKey

KEY = ResourceKey("DiagnosticReport", "r")
FOUND = Facts(numbers=(Number(Rank.STRONG, "urn:filler", "F7"),), patient="Patient/a")
OTHERS = Facts(numbers=(Number(Rank.STRONG, "urn:filler", "F8"),), patient="Patient/a")


@pytest.mark.parametrize(
    ("now", "goes"),
    [
        (FOUND, True),
        (FOUND._replace(status="amended"), True),
        (None, True),
        (FOUND._replace(patient="Patient/b"), False),
        (OTHERS, False),
        (Facts(), False),
    ],
)
def test_a_report_goes_only_as_long_as_it_is_the_one_that_was_found(*, now: Facts | None, goes: bool) -> None:
    [condition] = as_found(Candidate(KEY, FOUND))
    assert condition.key == KEY
    assert condition.is_still(None if now is None else now.stored()) is goes


def test_a_report_without_number_goes_as_long_as_it_has_none_and_is_the_patients() -> None:
    [condition] = as_found(Candidate(KEY, Facts(patient="Patient/a")))
    facts = Facts(patient="Patient/a", status="final")
    other, numbered = facts._replace(patient="Patient/b"), facts._replace(numbers=FOUND.numbers)
    now = [one.stored() for one in (facts, other, numbered)]
    assert [condition.is_still(one) for one in (None, *now)] == [True, True, False, False]
