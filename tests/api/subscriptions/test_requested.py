"""Subscriptions that cannot work are refused, each reason with its place; those that can are understood."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from api.subscriptions.receivers import refuse_receiver
from api.subscriptions.requested import OAUTH, Terms, requested
from api.subscriptions.secrets import OAuthClient, Sealed
from store.errors import ServiceError
from store.fhir.instants import from_datetime
from store.search.parsing.context import SearchContext, SearchLimits
from store.subscriptions.records import Status
from tests.support.subscriptions import BASE, NOW, asked, extension

if TYPE_CHECKING:
    from tests.support.fhir import Json

TERMS = Terms(
    SearchContext(SearchLimits(), BASE, from_datetime(NOW).start, strict=True),
    NOW,
    partial(refuse_receiver, allowed=()),
)


def channel(**changed: Any) -> Json:
    return asked(channel={**asked()["channel"], **changed})


def oauth(secret: str, **changed: str) -> Json:
    parts = {"token_url": "https://auth.example/token", "client_id": "me", "client_secret": secret, **changed}
    return {"url": OAUTH, "extension": [{"url": name, "valueString": text} for name, text in parts.items()]}


def without(name: str) -> Json:
    made = asked()
    del made[name]
    return made


def test_a_subscription_is_understood() -> None:
    told = requested(
        asked(
            "DiagnosticReport?patient=Patient/1",
            "status=final",
            content="full-resource",
            headers=("X-Api-Key: k-abc", "X-Route: one"),
            extensions=(
                extension("backport-heartbeat-period", valueUnsignedInt=60),
                extension("backport-timeout", valueUnsignedInt=20),
                extension("backport-max-count", valuePositiveInt=5),
                oauth("s3cret"),
            ),
            end="2027-01-01T00:00:00Z",
        ),
        TERMS,
    )
    assert (told.topic.type, len(told.query.clauses)) == ("DiagnosticReport", 2)
    assert f"{told.wanted} {told.channel.content}" == "requested full-resource"
    limits = [told.channel.heartbeat_seconds, told.channel.timeout_seconds, told.channel.max_count]
    assert limits == [60, 20, 5]
    assert told.sealed.headers == (("X-Api-Key", "k-abc"), ("X-Route", "one"))
    assert told.sealed.oauth == OAuthClient("https://auth.example/token", "me", "s3cret")
    assert told.ends is not None
    for secret in (b"k-abc", b"s3cret"):
        assert secret not in told.resource
    assert orjson.loads(told.resource)["channel"]["header"] == ["X-Api-Key: ***", "X-Route: ***"]


@pytest.mark.parametrize("spelling", ["valueUrl", "valueString"])
def test_a_secret_is_kept_sealed_however_it_is_spelled(spelling: str) -> None:
    one = oauth("unset")
    parts = [
        {"url": "client_secret", spelling: "s3cret"} if part["url"] == "client_secret" else part
        for part in one["extension"]
    ]
    told = requested(asked(extensions=({**one, "extension": parts},)), TERMS)
    assert b"s3cret" not in told.resource
    assert told.sealed.oauth is not None
    assert told.sealed.oauth.client_secret == "s3cret"


def test_what_was_read_may_be_sent_again_and_its_secrets_stay() -> None:
    before = requested(asked(headers=("X-Api-Key: k-abc",), extensions=(oauth("s3cret"),)), TERMS)
    read = {**orjson.loads(before.resource), "status": "active"}
    at = before.channel.endpoint
    assert requested(read, TERMS, before=before.sealed, receiver=at).sealed == before.sealed
    elsewhere = {**read, "channel": {**read["channel"], "endpoint": f"{at}/another-path"}}
    assert requested(elsewhere, TERMS, before=before.sealed, receiver=at).sealed == before.sealed
    with pytest.raises(ServiceError) as refused:
        requested(read, TERMS)
    assert len(refused.value.issues) == 2
    moved = asked(extensions=(oauth("***", token_url="https://thief.example/token"),))
    with pytest.raises(ServiceError):
        requested(moved, TERMS, before=before.sealed, receiver=at)


@pytest.mark.parametrize(
    "endpoint",
    ["https://thief.example/hook", "https://app.example:444/hook", "https://app.example.thief/hook"],
)
def test_secrets_of_one_receiver_go_to_no_other(endpoint: str) -> None:
    before = requested(asked(headers=("X-Api-Key: k-abc",), extensions=(oauth("s3cret"),)), TERMS)
    read = orjson.loads(before.resource)
    moved = {**read, "status": "requested", "channel": {**read["channel"], "endpoint": endpoint}}
    with pytest.raises(ServiceError) as refused:
        requested(moved, TERMS, before=before.sealed, receiver=before.channel.endpoint)
    assert len(refused.value.issues) == 2


def test_a_subscription_is_turned_off_and_keeps_no_secret_that_it_does_not_name() -> None:
    assert requested(asked(status="off"), TERMS).wanted is Status.OFF
    assert requested(asked(), TERMS, before=Sealed((("X", "y"),))).sealed == Sealed()


REFUSED: tuple[tuple[str, Json, str, str], ...] = (
    ("no status", without("status"), "Subscription.status", "missing"),
    ("no reason", without("reason"), "Subscription.reason", "missing"),
    ("no channel", without("channel"), "Subscription.channel", "missing"),
    ("an element that R4 has not", asked(topic2=1), "topic2", "not an element"),
    ("another topic", asked(topic="urn:x"), "Subscription.criteria", "no topic"),
    (
        "a misspelt topic",
        asked(topic="urn:data-on-demand:topic:DiagnosticReports"),
        "criteria",
        "DiagnosticReport",
    ),
    ("R4's criteria", asked(topic="DiagnosticReport?status=final"), "criteria", "backport-filter-criteria"),
    ("a filter on another type", asked("Observation?status=final"), "extension[0]", "DiagnosticReport?"),
    ("an unknown parameter", asked("DiagnosticReport?colour=red"), "extension[0]", "colour"),
    ("a misspelt date", asked("status=final", "date=yesterday"), "extension[1]", "date"),
    ("an empty filter", asked("DiagnosticReport?"), "extension[0]", "empty"),
    ("a filter that sorts", asked("status=final&_sort=date"), "extension", "nothing of how a page"),
    ("a filter that includes", asked("status=final&_include=DiagnosticReport:subject"), "extension", "page"),
    ("mail", channel(type="email"), "channel.type", "rest-hook"),
    (
        "a channel of the guide's",
        channel(_type={"extension": [extension("backport-channel-type", valueCoding={"code": "zulip"})]}),
        "channel.type",
        "not supported",
    ),
    (
        "no endpoint",
        asked(channel={k: v for k, v in asked()["channel"].items() if k != "endpoint"}),
        "endpoint",
        "https",
    ),
    ("plain http", asked(endpoint="http://app.example/hook"), "endpoint", "https"),
    ("a password", asked(endpoint="https://me:pw@app.example/hook"), "endpoint", "password"),
    ("loopback", asked(endpoint="https://127.0.0.1/hook"), "endpoint", "loopback"),
    ("loopback in IPv6", asked(endpoint="https://[::1]/hook"), "endpoint", "loopback"),
    ("loopback within IPv6", asked(endpoint="https://[::ffff:127.0.0.1]/hook"), "endpoint", "loopback"),
    ("localhost", asked(endpoint="https://localhost/hook"), "endpoint", "loopback"),
    ("a short IPv4 address", asked(endpoint="https://127.1/hook"), "endpoint", "four decimal numbers"),
    ("link-local", asked(endpoint="https://169.254.169.254/latest"), "endpoint", "private"),
    ("another scheme", asked(endpoint="ftp://app.example/hook"), "endpoint", "https"),
    ("XML", channel(payload="application/fhir+xml"), "channel.payload", "fhir+json"),
    ("no content", channel(_payload={}), "channel.payload", "empty"),
    ("another content", asked(content="all"), "channel.payload", "id-only"),
    (
        "a heartbeat each second",
        asked(extensions=(extension("backport-heartbeat-period", valueUnsignedInt=1),)),
        "heartbeat",
        "10",
    ),
    (
        "no time at all",
        asked(extensions=(extension("backport-timeout", valueUnsignedInt=0),)),
        "timeout",
        "is 1 to",
    ),
    ("JSON of R5", channel(payload="application/fhir+json; fhirVersion=5.0"), "channel.payload", "fhir+json"),
    (
        "no events in one",
        asked(extensions=(extension("backport-max-count", valuePositiveInt=0),)),
        "valuePositiveInt",
        "R4",
    ),
    ("a header of ours", asked(headers=("Webhook-Signature: v1,x",)), "header[0]", "sets itself"),
    ("a coding of answers", asked(headers=("Accept-Encoding: gzip",)), "header[0]", "sets itself"),
    ("a header in two lines", asked(headers=("X-A: b\r\nX-C: d",)), "header[0]", "Name: value"),
    ("too many headers", asked(headers=tuple(f"X-{n}: 1" for n in range(21))), "header[20]", "at most 20"),
    ("a header twice", asked(headers=("Cookie: a=b", "cookie: c=d")), "header[1]", "each once"),
    (
        "two ways to show who asks",
        asked(headers=("Authorization: Bearer x",), extensions=(oauth("x"),)),
        "header",
        "no `Authorization` beside",
    ),
    ("a hidden value", asked(headers=("Authorization: ***",)), "header[0]", "not known"),
    ("half a client", asked(extensions=({"url": OAUTH, "extension": []},)), OAUTH, "client_secret"),
    ("a token URL inside", asked(extensions=(oauth("x", token_url="https://10.0.0.1/t"),)), OAUTH, "private"),
    ("an end that is over", asked(end="2020-01-01T00:00:00Z"), "Subscription.end", "over"),
    (
        "a modifier",
        asked(modifierExtension=[{"url": "urn:x", "valueBoolean": True}]),
        "modifierExtension",
        "understood",
    ),
)


@pytest.mark.parametrize(
    "payload",
    ["application/json", "application/fhir+json;charset=UTF-8", "application/fhir+json; fhirVersion=4.0"],
)
def test_a_media_type_may_have_parameters_that_are_true(payload: str) -> None:
    assert requested(channel(payload=payload), TERMS).wanted is Status.REQUESTED


@pytest.mark.parametrize(
    ("sent", "path", "text"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_subscription_that_cannot_work_is_refused_with_its_reason(sent: Json, path: str, text: str) -> None:
    with pytest.raises(ServiceError) as refused:
        requested(sent, TERMS)
    told = [(", ".join(issue.expression), issue.text) for issue in refused.value.issues]
    assert any(path in where + said and text in said for where, said in told), told
