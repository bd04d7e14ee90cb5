"""The bytes that every later read returns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ingest.pipeline.stamp import digest, unstamped
from store.errors import Category
from store.resources.resource_keys import ResourceKey
from tests.support.reports import refusal

KEY = ResourceKey("Patient", "p-1")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=UTC)
STAMP = '"versionId":"7","lastUpdated":"2026-01-02T03:04:05.678Z"}'


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        pytest.param({}, '{"resourceType":"Patient","id":"p-1","meta":{' + STAMP + "}", id="nothing else"),
        pytest.param(
            {"id": "theirs", "active": True},
            '{"resourceType":"Patient","id":"p-1","meta":{' + STAMP + ',"active":true}',
            id="the id is ours",
        ),
        pytest.param(
            {"meta": {"versionId": "9", "lastUpdated": "1999", "tag": []}, "x": None},
            '{"resourceType":"Patient","id":"p-1","meta":{"tag":[],' + STAMP + ',"x":null}',
            id="the version is ours, the rest of meta is kept",
        ),
        pytest.param(
            {"meta": "text"}, '{"resourceType":"Patient","id":"p-1","meta":{' + STAMP + "}", id="no meta"
        ),
    ],
)
def test_stamp(resource: dict[str, Any], expected: str) -> None:
    assert unstamped(resource, KEY).stamp(7, MOMENT) == expected.encode()


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def test_nesting_is_bounded() -> None:
    assert unstamped(nested(200), KEY).tail
    error = refusal(lambda: unstamped(nested(300), KEY))
    assert error.category is Category.INCORRECT
    assert [issue.text for issue in error.issues] == ["the JSON is nested too deep"]


def test_a_lone_surrogate_is_refused_even_when_nobody_looked_before() -> None:
    error = refusal(lambda: unstamped({"a": "\ud800"}, KEY))
    assert [issue.text for issue in error.issues] == ["a text holds a lone surrogate"]


def test_the_digest_is_of_the_content_without_the_version() -> None:
    theirs: dict[str, Any] = {"meta": {"versionId": "1"}, "active": True}
    ours: dict[str, Any] = {"active": True, "meta": {"versionId": "2", "lastUpdated": "2026"}}
    assert digest(unstamped(theirs, KEY)) == digest(unstamped(ours, KEY))
    others = [
        unstamped({"active": False}, KEY),
        unstamped({"active": True, "meta": {"source": "x"}}, KEY),
        unstamped({"active": True}, ResourceKey("Patient", "p-2")),
        unstamped({"active": True}, ResourceKey("Person", "p-1")),
        unstamped({"active": True}, KEY),
    ]
    assert len({digest(one) for one in others}) == len(others)
