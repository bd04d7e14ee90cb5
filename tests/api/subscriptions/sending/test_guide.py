"""Profiles of the Subscriptions R5 Backport guide for R4, element by element, on all that is sent.

Made of the guide's sources by SUSHI, they were tried with HL7's validator, too: it finds no error in these.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import pytest

from api.subscriptions.interactions import rendering
from api.subscriptions.requested import Terms, requested
from api.subscriptions.sending.notification import (
    BUNDLE,
    EVENTS,
    HANDSHAKE,
    HEARTBEAT,
    QUERY_EVENT,
    STATUS,
    notification,
    status_searchset,
)
from store.search.parsing.context import SearchContext, SearchLimits
from store.subscriptions.events import Event
from store.subscriptions.records import Content, Progress, Status
from tests.support.fhir import report
from tests.support.subscriptions import BASE, NOW, asked, extension, kept

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.fhir import Json


class Slice(NamedTuple):
    """Slice of a profile: how often it is there, and the type of its value."""

    least: int
    most: int | None
    value: str


PARAMETERS: Final = {
    "subscription": Slice(1, 1, "valueReference"),
    "topic": Slice(0, 1, "valueCanonical"),
    "status": Slice(1, 1, "valueCode"),
    "type": Slice(1, 1, "valueCode"),
    "events-since-subscription-start": Slice(0, 1, "valueString"),
    "notification-event": Slice(0, None, "part"),
    "error": Slice(0, None, "valueCodeableConcept"),
}
PARTS: Final = {
    "event-number": Slice(1, 1, "valueString"),
    "timestamp": Slice(0, 1, "valueInstant"),
    "focus": Slice(0, 1, "valueReference"),
}
OURS: Final = {"change": Slice(0, 1, "valueCode")}
"""Slicing is open: a part beyond the guide."""
CODES: Final = {
    "status": {"requested", "active", "error", "off"},
    "type": {"handshake", "heartbeat", "event-notification", "query-status", "query-event"},
}
"""http://hl7.org/fhir/subscription-status, and subscription-notification-type of R5."""
EXTENSIONS: Final = {
    "backport-filter-criteria": ("criteria", "valueString"),
    "backport-payload-content": ("payload", "valueCode"),
    "backport-heartbeat-period": ("channel", "valueUnsignedInt"),
    "backport-timeout": ("channel", "valueUnsignedInt"),
    "backport-max-count": ("channel", "valuePositiveInt"),
}
"""Element that each extension is on, and the type of its value."""
CHANGES: Final = ("created", "corrected", "cancelled", "deleted", "erased", "unmatched")
TOLD: Final = [
    *(
        Event(number, f"DiagnosticReport/r{number}", change, 1, NOW)
        for number, change in enumerate(CHANGES, 1)
    ),
    Event(7, "", "created", 1, NOW),
]
SHOWN: Final = {f"DiagnosticReport/r{number}": orjson.dumps(report(f"r{number}")) for number in (1, 2)}


def fits(elements: list[Json], slices: Mapping[str, Slice]) -> None:
    """Check that each element is in a slice, with its value and nothing else, and each slice often enough."""
    names = [one["name"] for one in elements]
    assert set(names) <= slices.keys()
    for name, (least, most, _) in slices.items():
        assert least <= names.count(name) <= (len(names) if most is None else most), name
    for one in elements:
        assert one.keys() == {"name", slices[one["name"]].value}, one


def is_a_status(resource: Json) -> None:
    assert resource["resourceType"] == "Parameters"
    assert resource["meta"]["profile"] == [STATUS]
    fits(resource["parameter"], PARAMETERS)
    for one in resource["parameter"]:
        if one["name"] in CODES:
            assert one["valueCode"] in CODES[one["name"]]
        if one["name"] == "notification-event":
            fits(one["part"], {**PARTS, **OURS})


def sent(kind: str, content: Content, status: Status) -> Json:
    one = replace(kept(content=content, status=status, reason="made up"), progress=Progress(last=7))
    events = TOLD if kind in (EVENTS, QUERY_EVENT) else []
    made = notification(one, kind, id="n1", now=NOW, events=events, resources=SHOWN)
    told: Json = orjson.loads(made)
    return told


@pytest.mark.parametrize("kind", [HANDSHAKE, HEARTBEAT, EVENTS, QUERY_EVENT])
@pytest.mark.parametrize("content", Content)
def test_a_notification_fits_its_profile(kind: str, content: Content) -> None:
    bundle = sent(kind, content, Status.ACTIVE)
    assert bundle["meta"]["profile"] == [BUNDLE]
    assert bundle["type"] == "history"
    first, *others = bundle["entry"]
    is_a_status(first["resource"])
    full = content is Content.FULL_RESOURCE and kind in (EVENTS, QUERY_EVENT)
    assert len(others) == (5 if full else 0)
    for one in bundle["entry"]:  # bdl-3, bdl-4, bdl-8 of R4: a history says what was done to what.
        assert one["request"].keys() == {"method", "url"}
        assert one["response"].keys() == {"status"}
        assert ("resource" in one) is (one["request"]["method"] != "DELETE")
        assert "/_history/" not in one["fullUrl"]
    assert len({one["fullUrl"] for one in bundle["entry"]}) == len(bundle["entry"])
    names = {one["name"] for one in first["resource"]["parameter"]}
    assert ("topic" in names) is (content is not Content.EMPTY)
    assert ("notification-event" in names) is (kind in (EVENTS, QUERY_EVENT))


@pytest.mark.parametrize("status", Status)
def test_the_answer_to_status_fits_its_profile(status: Status) -> None:
    some = [kept("s1", status=status), kept("s2", status=status, reason="made up", content=Content.EMPTY)]
    bundle = orjson.loads(status_searchset(some, id="n1", url=f"{BASE}/Subscription/$status"))
    assert (bundle["type"], bundle["total"]) == ("searchset", 2)
    for one in bundle["entry"]:
        is_a_status(one["resource"])
        assert one["search"] == {"mode": "match"}


def test_a_subscription_is_read_back_within_its_profile() -> None:
    numbers = (
        extension("backport-heartbeat-period", valueUnsignedInt=60),
        extension("backport-timeout", valueUnsignedInt=30),
        extension("backport-max-count", valuePositiveInt=20),
    )
    terms = Terms(SearchContext(SearchLimits(), BASE, 0, strict=True), NOW, lambda _: None)
    told = requested(asked("status=final", "patient=Patient/1", extensions=numbers), terms)
    shown: dict[str, Any] = rendering.resource(kept(resource=told.resource))
    assert {"criteria", "_criteria", "reason", "status", "channel"} <= shown.keys()
    channel = shown["channel"]
    assert (channel["type"], channel["payload"]) == ("rest-hook", "application/fhir+json")
    found = {
        "criteria": shown["_criteria"]["extension"],
        "payload": channel["_payload"]["extension"],
        "channel": channel["extension"],
    }
    for where, extensions in found.items():
        for one in extensions:
            on, value = EXTENSIONS[one["url"].rpartition("/")[2]]
            assert (on, one.keys()) == (where, {"url", value})
    assert len(found["payload"]) == 1
