"""Notifications are R4 by its definitions, and what the backport guide asks of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from fhir.resources.R4B.bundle import Bundle

from api.subscriptions.requested import requested
from api.subscriptions.sending import light
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
from ingest.pipeline.validation.conformance import look
from store.changes.kinds import Kind
from store.subscriptions.events import UNMATCHED, Event
from store.subscriptions.records import Content, Form, Progress, Status
from tests.api.subscriptions.test_requested import TERMS
from tests.support.fhir import identified, patient, report
from tests.support.subscriptions import BASE, NOW, asked, extension, kept

if TYPE_CHECKING:
    from tests.support.fhir import Json

ALL = (
    Event(1, "DiagnosticReport/r1", Kind.CREATED.value, 1, NOW),
    Event(2, "DiagnosticReport/r2", Kind.CORRECTED.value, 2, NOW),
    Event(3, "DiagnosticReport/r3", Kind.DELETED.value, 3, NOW),
    Event(4, "DiagnosticReport/r4", Kind.ERASED.value, 1, NOW),
    Event(5, "DiagnosticReport/r5", UNMATCHED, 2, NOW),
    Event(6, "DiagnosticReport/r6", Kind.UPDATED.value, 2, NOW),
    Event(7, "", Kind.CREATED.value, 1, NOW),
)
"""Events of each kind; the sixth may not be read, and the name of the seventh is forgotten."""
READABLE = {f"DiagnosticReport/r{n}": orjson.dumps(report(f"r{n}", conclusion="1.00")) for n in (1, 2)}


def valid(body: bytes) -> Json:
    """A Bundle that R4's definitions and a stock library take."""
    bundle: Json = orjson.loads(body)
    assert [issue.text for issue in look(bundle).issues] == []
    for entry in bundle.get("entry", ()):
        if "resource" in entry:
            assert [issue.text for issue in look(entry["resource"]).issues] == []
    Bundle.model_validate(bundle)
    return bundle


def parameters(bundle: Json) -> list[Any]:
    listed: list[Any] = bundle["entry"][0]["resource"]["parameter"]
    return listed


@pytest.mark.parametrize("content", list(Content))
@pytest.mark.parametrize("kind", [HANDSHAKE, HEARTBEAT, EVENTS, QUERY_EVENT])
def test_notifications_are_what_the_guide_says(kind: str, content: Content) -> None:
    one = kept(content=content, progress=Progress(last=7), status=Status.ACTIVE)
    events = ALL if kind in (EVENTS, QUERY_EVENT) else ()
    body = notification(one, kind, id="n1", now=NOW, events=events, resources=READABLE)
    bundle = valid(body)
    assert (bundle["type"], bundle["meta"]["profile"]) == ("history", [BUNDLE])
    first = bundle["entry"][0]
    assert (first["resource"]["resourceType"], first["resource"]["meta"]["profile"]) == (
        "Parameters",
        [STATUS],
    )
    assert first["request"] == {"method": "GET", "url": f"{BASE}/Subscription/s1/$status"}
    for entry in bundle["entry"]:
        assert {"fullUrl", "request", "response"} <= entry.keys()
    named = {one["name"]: one for one in parameters(bundle) if one["name"] != "notification-event"}
    assert named["type"]["valueCode"] == kind
    assert named["events-since-subscription-start"]["valueString"] == "7"
    assert ("topic" in named) is (content is not Content.EMPTY)
    told = [one["part"] for one in parameters(bundle) if one["name"] == "notification-event"]
    assert [parts[0]["valueString"] for parts in told] == [str(event.number) for event in events]
    focused = [
        part["valueReference"]["reference"].rpartition("/")[2]
        for parts in told
        for part in parts
        if part["name"] == "focus"
    ]
    assert focused == ([] if content is Content.EMPTY or not events else ["r1", "r2", "r3", "r4", "r5"])
    requests = [entry["request"]["method"] for entry in bundle["entry"][1:]]
    full = content is Content.FULL_RESOURCE and bool(events)
    assert requests == (["POST", "PUT", "DELETE", "DELETE", "DELETE"] if full else [])
    assert (b'"1.00"' in body) is full


def test_an_error_is_told_with_the_status() -> None:
    one = kept(status=Status.ERROR, reason="given up")
    bundle = valid(
        status_searchset([one, replace(one, id="s2", reason="")], id="b1", url="https://dod.example/$status")
    )
    assert (bundle["type"], bundle["total"]) == ("searchset", 2)
    texts = [
        [
            part["valueCodeableConcept"]["text"]
            for part in entry["resource"]["parameter"]
            if part["name"] == "error"
        ]
        for entry in bundle["entry"]
    ]
    assert texts == [["given up"], []]
    assert valid(status_searchset([], id="b2", url="https://dod.example/$status"))["total"] == 0


def test_the_example_of_the_guide_is_refused_for_its_topic_alone() -> None:
    """With a topic of ours it is taken, extensions and all."""
    example = asked(
        "Encounter?patient=Patient/123",
        topic="urn:data-on-demand:topic:Encounter",
        endpoint="https://example.org/Endpoints/d7dcc004-808d-452b-8030-3a3a13cd871d",
        end="2027-12-31T12:00:00Z",
        extensions=(
            extension("backport-heartbeat-period", valueUnsignedInt=86_400),
            extension("backport-timeout", valueUnsignedInt=60),
            extension("backport-max-count", valuePositiveInt=20),
        ),
    )
    assert requested(example, TERMS).topic.type == "Encounter"


@pytest.mark.parametrize("detailed", [False, True])
def test_upstreams_messages_are_r4(detailed: bool) -> None:
    one = kept(form=Form.DETAILED if detailed else Form.LIGHT)
    person = orjson.dumps(patient("p1", identified("urn:mr", "7"), name=[{"family": "Secret"}]))
    for event in ALL[:-1]:
        there = READABLE.get(event.key)
        told = light.Told(there, person if there else None)
        bundle = valid(light.message(one, event, told, detailed=detailed))
        assert bundle["type"] == "message"
        assert bundle["entry"][0]["resource"]["resourceType"] == "MessageHeader"
        assert (b"Secret" in orjson.dumps(bundle)) is (detailed and there is not None)
