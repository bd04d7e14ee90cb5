"""Notifications of the Subscriptions R5 Backport guide: a history Bundle that begins with Parameters. Pure.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/notifications.html
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

import orjson

from api.subscriptions.requested import utc
from store.changes.kinds import Kind
from store.subscriptions.events import GOING
from store.subscriptions.records import Content

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from store.subscriptions.events import Event
    from store.subscriptions.records import Subscription

BUNDLE: Final = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-notification-r4"
)
STATUS: Final = (
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-status-r4"
)
HANDSHAKE: Final = "handshake"
HEARTBEAT: Final = "heartbeat"
EVENTS: Final = "event-notification"
QUERY_STATUS: Final = "query-status"
QUERY_EVENT: Final = "query-event"
CHANGE: Final = "change"
"""Part of an event beyond the guide: the kind of the change."""


def status(
    subscription: Subscription, kind: str, *, content: Content | None = None, events: Iterable[Event] = ()
) -> dict[str, Any]:
    """The Parameters that say how a subscription stands, and which events there are."""
    shown = subscription.channel.content if content is None else content
    parameters: list[dict[str, Any] | orjson.Fragment] = [
        {"name": "subscription", "valueReference": {"reference": url_of(subscription)}},
    ]
    if shown is not Content.EMPTY:  # The guide: an empty notification does not tell its topic.
        parameters.append({"name": "topic", "valueCanonical": subscription.topic})
    parameters += [
        {"name": "status", "valueCode": subscription.status.value},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(subscription.progress.last)},
        *(_event(one, subscription.base, shown) for one in events),
    ]
    error = subscription.problem if kind == QUERY_STATUS else subscription.reason
    if error:
        parameters.append({"name": "error", "valueCodeableConcept": {"text": error}})
    return {
        "resourceType": "Parameters",
        "meta": {"profile": [STATUS]},
        "parameter": parameters,
    }


def _event(event: Event, base: str, content: Content) -> orjson.Fragment:
    focus = f"{base}/{event.key}" if content is not Content.EMPTY and event.key else ""
    number = (
        b'{"name":"notification-event","part":[{"name":"event-number","valueString":"%d"},' % event.number
    )
    return orjson.Fragment(number + _behind_number(event.at, focus, event.change if focus else ""))


@lru_cache(maxsize=4_096)
def _behind_number(at: datetime, focus: str, change: str) -> bytes:
    """An event behind its number: the same for all subscribers, who hear of it at about the same moment."""
    parts: list[dict[str, Any]] = [{"name": "timestamp", "valueInstant": utc(at)}]
    if focus:
        parts += [
            {"name": "focus", "valueReference": {"reference": focus}},
            {"name": CHANGE, "valueCode": change},
        ]
    return orjson.dumps(parts)[1:] + b"}"


def url_of(subscription: Subscription) -> str:
    """URL of the Subscription at its tenant's base."""
    return f"{subscription.base}/Subscription/{subscription.id}"


def notification(  # noqa: PLR0913 -- all that is in one, by name
    subscription: Subscription,
    kind: str,
    *,
    id: str,
    now: datetime,
    content: Content | None = None,
    events: Sequence[Event] = (),
    resources: Mapping[str, bytes] | None = None,
    next_url: str = "",
) -> bytes:
    """The Bundle of a notification. `resources` are those that the subscriber may read now, by `Type/id`.

    `next_url` leads to the events behind these, where they were asked for and did not fit.

    An event whose resource is not among them, and that does not tell that it went, is its number alone.
    """
    shown = subscription.channel.content if content is None else content
    readable = resources or {}
    told = [one if one.change in GOING or one.key in readable else one._replace(key="") for one in events]
    told_of = status(subscription, kind, content=shown, events=told)
    status_id = str(uuid5(NAMESPACE_URL, f"{url_of(subscription)} {id}"))
    first = {
        "fullUrl": f"urn:uuid:{status_id}",
        "resource": {"id": status_id, **told_of},
        "request": {"method": "GET", "url": f"{url_of(subscription)}/$status"},
        "response": {"status": "200"},
    }
    entries = [first]
    if shown is Content.FULL_RESOURCE:
        # The newest event of each resource has its content: all of them would have the same.
        entries += [_entry(one, subscription.base, readable) for one in _newest(told)]
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "id": id,
            "meta": {"profile": [BUNDLE]},
            "type": "history",
            "timestamp": utc(now),
            **({"link": [{"relation": "next", "url": next_url}]} if next_url else {}),
            "entry": entries,
        }
    )


def _newest(events: Iterable[Event]) -> Iterable[Event]:
    return {one.key: one for one in events if one.key}.values()


def _entry(event: Event, base: str, resources: Mapping[str, bytes]) -> dict[str, Any]:
    url = f"{base}/{event.key}"
    if event.change in GOING:
        request = {"method": "DELETE", "url": event.key}
        return {"fullUrl": url, "request": request, "response": {"status": "204"}}
    created = event.change == Kind.CREATED.value
    request = (
        {"method": "POST", "url": event.key.partition("/")[0]}
        if created
        else {"method": "PUT", "url": event.key}
    )
    return {
        "fullUrl": url,
        "resource": orjson.Fragment(resources[event.key]),
        "request": request,
        "response": {"status": "201" if created else "200"},
    }


def status_searchset(subscriptions: Iterable[Subscription], *, id: str, url: str) -> bytes:
    """The answer to `$status`, asked for at this URL: a searchset with a Parameters for each subscription."""
    entries = []
    for one in subscriptions:
        status_id = str(uuid5(NAMESPACE_URL, f"{url_of(one)} {id}"))
        entries.append(
            {
                "fullUrl": f"urn:uuid:{status_id}",
                "resource": {"id": status_id, **status(one, QUERY_STATUS, content=Content.ID_ONLY)},
                "search": {"mode": "match"},
            }
        )
    link = [{"relation": "self", "url": url}]
    bundle = {"resourceType": "Bundle", "id": id, "type": "searchset", "total": len(entries), "link": link}
    return orjson.dumps({**bundle, "entry": entries} if entries else bundle)
