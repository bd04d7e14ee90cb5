"""Time that a source gives for a content, and which of two contents is newer by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from ingest.pipeline.source_time import SETTLED, evidence_of, message_time, source_time
from tests.support.fhir import patient, report

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
UNSETTLED = ("registered", "partial", "preliminary", "unknown", None, 7, ["final"], {"final": 1})


def sourced(
    *, updated: Any = None, made: Any = None, issued: Any = None, status: Any = "final", **more: Any
) -> str:
    told = report(status=status, issued=issued, meta={"lastUpdated": updated}, **more)
    return source_time(told, message=made, latest=NOW)


EARLY, LATE = "2026-11-20T10:00:00Z", "2026-11-20T10:00:00.001Z"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"updated": EARLY}, {"updated": LATE}),
        ({"updated": EARLY, "made": LATE}, {"updated": LATE, "made": EARLY}),
        ({"updated": EARLY, "made": EARLY}, {"updated": EARLY, "made": LATE}),
        ({"made": EARLY, "issued": LATE}, {"made": LATE, "issued": EARLY}),
        ({"issued": EARLY}, {"issued": LATE}),
        ({"made": EARLY}, {"made": EARLY, "issued": EARLY}),
        ({"made": "2026-11-20T12:00:00+02:00"}, {"made": LATE}),
        ({"made": EARLY, "status": "final"}, {"made": LATE, "status": "preliminary"}),
        ({"made": EARLY, "status": "final"}, {"made": EARLY, "issued": EARLY, "status": "preliminary"}),
        *(
            ({"made": EARLY, "status": one}, {"made": EARLY, "status": other})
            for one, other in product(UNSETTLED, sorted(SETTLED))
        ),
    ],
)
def test_which_is_newer(older: dict[str, Any], newer: dict[str, Any]) -> None:
    assert "" < sourced(**older) < sourced(**newer)


@pytest.mark.parametrize("statuses", [sorted(SETTLED), UNSETTLED], ids=["settled", "not settled"])
def test_which_are_of_one_time(statuses: Any) -> None:
    assert len({sourced(made=EARLY, status=status) for status in statuses}) == 1


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"status": "preliminary"},
        {"made": "2026-11-20"},
        {"made": 7},
        {"made": "yesterday at T"},
        {"made": (NOW + timedelta(seconds=1)).isoformat()},
    ],
    ids=str,
)
def test_what_is_no_evidence(told: dict[str, Any]) -> None:
    assert sourced(**told) == ""


def test_a_status_says_something_of_results_alone() -> None:
    one, other = (source_time(patient(status=s), message=EARLY, latest=NOW) for s in ("final", "preliminary"))
    assert one == other != ""


@pytest.mark.parametrize(
    ("bundle", "header", "made"),
    [
        ({"timestamp": EARLY, "meta": {"lastUpdated": LATE}}, {"timestamp": LATE}, EARLY),
        ({"meta": {"lastUpdated": LATE}}, {"timestamp": EARLY}, EARLY),
        ({"timestamp": 7, "meta": {"lastUpdated": EARLY}}, {"meta": {"lastUpdated": LATE}}, EARLY),
        ({}, {"meta": {"lastUpdated": EARLY}}, EARLY),
        ({"meta": 7}, None, None),
    ],
)
def test_when_a_message_says_it_was_made(bundle: Any, header: Any, made: str | None) -> None:
    assert message_time(bundle, header) == made


@pytest.mark.parametrize(("behind", "ahead"), [(0, False), (1, True)])
def test_a_time_that_is_not_believed_is_told(behind: int, ahead: bool) -> None:
    made = (NOW + timedelta(seconds=behind)).isoformat()
    assert evidence_of(patient(), message=made, latest=NOW).ahead is ahead
    assert evidence_of(patient(meta={"lastUpdated": made}), message=EARLY, latest=NOW).ahead is ahead
