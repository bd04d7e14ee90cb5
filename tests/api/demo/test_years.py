"""The demo's patient: the same values each time, with their digits, and accepted as they are."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from api.demo import years
from api.demo.pdf import page
from api.demo.run import bundles

if TYPE_CHECKING:
    from tests.support.service import Service

TODAY = datetime(2026, 6, 1, 9, 20, tzinfo=UTC)


def all_of(**options: Any) -> list[dict[str, Any]]:
    return [one for step in years.steps(TODAY, **options) for one in step]


def test_values_are_the_same_each_time_and_keep_their_digits() -> None:
    made = [years.to_json(one) for one in all_of()]
    assert made == [years.to_json(one) for one in all_of()]
    assert made != [years.to_json(one) for one in all_of(seed=8)]
    creatinines = [one for one in made if '"2160-0"' in one and '"Observation"' in one]
    assert all(re.search(r'"valueQuantity": ?\{"value": ?\d\.\d\d,', one) for one in creatinines)


def test_nothing_lies_in_the_future() -> None:
    for one in all_of():
        assert one.get("effectiveDateTime", "") <= "2026-06-01T09:20:00Z"


async def test_all_of_it_is_accepted_without_a_tolerance(service: Service) -> None:
    for step in bundles(years.steps(TODAY, visits=4)):
        answer = await service.request("POST", "", data=step.body)
        for entry in answer.body["entry"]:
            assert entry["response"]["status"][0] == "2", entry
            issues = entry["response"].get("outcome", {}).get("issue", [])
            assert {one["severity"] for one in issues} <= {"information"}, issues
    found = await service.search([("patient", f"Patient/{years.PATIENT}"), ("status", "corrected")])
    assert [one["resource"]["id"] for one in found.body["entry"]] == [years.CORRECTED]
    history = await service.get(f"DiagnosticReport/{years.CORRECTED}/_history")
    assert [one["resource"]["status"] for one in history.body["entry"]] == [
        "corrected",
        "final",
        "preliminary",
    ]


def test_a_page_of_text_is_a_pdf() -> None:
    made = page("Report (1)", ["*Bold", "back\\slash"])
    assert made.startswith(b"%PDF-1.4")
    assert rb"(Report \(1\)) Tj" in made
    start = int(made.rsplit(b"startxref\n", 1)[1].split()[0])
    assert made[start:].startswith(b"xref\n0 7\n")
    assert orjson.loads(years.to_json({"a": [years.Number("1.10"), "x", None, True]})) == {
        "a": [1.1, "x", None, True]
    }
