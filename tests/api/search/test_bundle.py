"""Stored bytes as a searchset."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.search.bundle import render
from api.search.links import Link
from store.fhir.issues import Issue
from store.resources.pages import Entry, Page
from store.resources.resource_keys import ResourceKey
from tests.support.reports import BASE

RAW = b'{"resourceType":"DiagnosticReport","id":"r-1","value":1.00,"text":"\xc3\xa9\\u00e9"}'
ENTRY = Entry(ResourceKey("DiagnosticReport", "r-1"), RAW)
SELF = Link("self", f"{BASE}/DiagnosticReport?patient=1")
IGNORED = Issue("not-supported", "`foo` was left out", ("foo",), "information")


def shown(page: Page, *issues: Issue, base: str = BASE) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(render(page, base=base, links=[SELF], issues=issues))
    return found


def test_a_page() -> None:
    found = shown(Page((ENTRY,), 1))
    assert list(found) == ["resourceType", "id", "type", "total", "link", "entry"]
    assert (found["resourceType"], found["type"], found["total"]) == ("Bundle", "searchset", 1)
    assert found["link"] == [{"relation": "self", "url": SELF.url}]
    assert found["entry"] == [
        {
            "fullUrl": f"{BASE}/DiagnosticReport/r-1",
            "resource": orjson.loads(RAW),
            "search": {"mode": "match", "score": 1},
        }
    ]


def test_the_stored_bytes_come_back_byte_for_byte() -> None:
    body = render(Page((ENTRY, ENTRY), 2), base=BASE, links=[SELF])
    assert body.count(RAW) == 2


@pytest.mark.parametrize(("total", "members"), [(0, {"total": 0}), (7, {"total": 7}), (None, {})])
def test_without_entries_there_is_no_list_and_without_a_total_no_total(
    total: int | None, members: dict[str, int]
) -> None:
    found = shown(Page((), total))
    assert "entry" not in found
    assert {name: value for name, value in found.items() if name == "total"} == members


@pytest.mark.parametrize("entries", [(), (ENTRY,)])
def test_what_was_left_out_is_an_outcome_behind_the_matches_and_counts_in_no_total(
    entries: tuple[Entry, ...],
) -> None:
    found = shown(Page(entries, len(entries)), IGNORED)
    assert found["total"] == len(entries)
    assert [one["search"]["mode"] for one in found["entry"]] == [*["match"] * len(entries), "outcome"]
    outcome = found["entry"][-1]
    assert outcome["fullUrl"].startswith("urn:uuid:")
    assert outcome["resource"]["issue"] == [
        {
            "severity": "information",
            "code": "not-supported",
            "details": {"text": "`foo` was left out"},
            "diagnostics": "`foo` was left out",
            "expression": ["foo"],
        }
    ]


def test_what_was_included_is_behind_the_matches_and_counts_in_no_total() -> None:
    along = Entry(ResourceKey("Patient", "p-1"), b'{"resourceType":"Patient","id":"p-1"}')
    found = shown(Page((ENTRY,), 1, included=(along,)), IGNORED)
    assert found["total"] == 1
    assert [one["search"]["mode"] for one in found["entry"]] == ["match", "include", "outcome"]
    assert found["entry"][1] == {
        "fullUrl": f"{BASE}/Patient/p-1",
        "resource": {"resourceType": "Patient", "id": "p-1"},
        "search": {"mode": "include"},
    }


def test_each_bundle_has_an_id_of_its_own() -> None:
    assert shown(Page((), 0))["id"] != shown(Page((), 0))["id"]


def test_a_base_url_cannot_break_out_of_the_json() -> None:
    base = 'http://dod.test/"},{"x":"'
    assert shown(Page((ENTRY,), 1), base=base)["entry"][0]["fullUrl"] == f"{base}/DiagnosticReport/r-1"
