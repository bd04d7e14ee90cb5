"""A page of matches in a terminal."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.search.table import HEAD, lines, row_of
from store.resources.pages import Entry
from store.resources.resource_keys import ResourceKey
from tests.support.fhir import coded, patient, refers, report, resource

LONG = "A very long made-up name of a panel that goes on and on"


def row(of: dict[str, Any]) -> tuple[str, ...]:
    return row_of(Entry(ResourceKey(of["resourceType"], of["id"]), orjson.dumps(of)))


@pytest.mark.parametrize(
    ("elements", "cells"),
    [
        ({"effectiveDateTime": "2026-01-02"}, ("2026-01-02", "58410-2", "final", "Patient/p1", "r1")),
        ({"effectivePeriod": {"start": "2026"}}, ("2026/…", "58410-2", "final", "Patient/p1", "r1")),
        ({"effectivePeriod": {"end": "2026"}}, ("…/2026", "58410-2", "final", "Patient/p1", "r1")),
        (
            {"issued": "2026-01-03T00:00:00Z"},
            ("2026-01-03T00:00:00Z", "58410-2", "final", "Patient/p1", "r1"),
        ),
        ({"code": {"text": "CBC"}}, ("-", "CBC", "final", "Patient/p1", "r1")),
        (
            {"code": {"coding": [{"code": "1", "display": "CBC"}, {"code": "2"}]}},
            ("-", "1 CBC", "final", "Patient/p1", "r1"),
        ),
        (
            {"subject": {"identifier": {"value": "MADE-UP-7"}, "display": "Ada Lovelace"}},
            ("-", "58410-2", "final", "identifier", "r1"),
        ),
        (
            {"subject": {"reference": "https://ehr.test/Patient/9", "display": "Ada Lovelace"}},
            ("-", "58410-2", "final", "https://ehr.test/Patient/9", "r1"),
        ),
        ({"subject": {"display": "Ada Lovelace"}}, ("-", "58410-2", "final", "-", "r1")),
        ({"code": {"text": "red\x1b[31m\nline"}}, ("-", "red [31m line", "final", "Patient/p1", "r1")),
        ({"code": ["?"], "status": 7, "subject": 1, "issued": []}, ("-", "-", "-", "-", "r1")),
    ],
)
def test_a_report_as_a_row(elements: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert row(report(**elements)) == cells


@pytest.mark.parametrize(
    ("of", "cells"),
    [
        (
            patient("p9", name=[{"family": "Lovelace"}], birthDate="1815-12-10"),
            ("-", "-", "-", "Patient/p9", "p9"),
        ),
        (
            resource("ServiceRequest", "s", authoredOn="2026", status="active", subject=refers("Patient/1")),
            ("2026", "-", "active", "Patient/1", "s"),
        ),
        (
            resource("Encounter", "e", **{"class": {"code": "AMB"}}, period={"start": "2026", "end": "2027"}),
            ("2026/2027", "AMB", "-", "-", "e"),
        ),
        (
            {
                "resourceType": "Claim",
                "id": "e",
                "type": coded("99213", None),
                "patient": refers("Patient/1"),
            },
            ("-", "99213", "-", "Patient/1", "e"),
        ),
    ],
)
def test_other_types_show_what_they_have(of: dict[str, Any], cells: tuple[str, ...]) -> None:
    assert row(of) == cells


ROWS = [
    row(
        report(
            "1" * 36, "d1400877-88c3-8edf-8643", code={"text": LONG}, effectiveDateTime="2026-01-02T03:04:05Z"
        )
    ),
    row(report("2", "p", code={"text": "short"})),
]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    head, first, second = lines(ROWS)
    assert head.split() == list(HEAD)
    assert LONG in first
    for name in ("CODE", "STATUS", "PATIENT", "ID"):
        at = head.index(name)
        assert first[at - 1] == second[at - 1] == " "
        assert first[at] != " "
        assert second[at] != " "


@pytest.mark.parametrize("width", [80, 100, 120, 140, 1_000])
def test_lines_fit_the_terminal(width: int) -> None:
    shown = list(lines(ROWS, width=width))
    assert max(map(len, shown)) <= width
    assert all("1" * 36 in line for line in shown[1:2])
    assert (LONG in shown[1]) == (width == 1_000)


def test_a_narrow_terminal_keeps_something_of_each() -> None:
    _, first, second = lines(ROWS, width=10)
    assert first.split() == ["2026-01-02…", "A", "very", "…", "final", "Patient/d…", "1111111…"]
    assert second.split() == ["-", "short", "final", "Patient/p", "2"]


def test_further_pages_have_no_head() -> None:
    assert list(lines(ROWS, head=False)) == list(lines(ROWS))[1:]
