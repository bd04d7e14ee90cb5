"""The stored shape of subscriptions and of their events.

subscriptions  _id "org/env/id", tenant, version, status, progress {failures, joined …}, channel, holder …
outbox         _id "org/env/id/1764331200000/000000000017": a piece of a subscription's events, by the moment
               when the subscription was made and its first number: what is left of one that was deleted
               is none of the next one's under the same id;
               tenant, subscription, made (missing in older ones), first, last,
               keys [Type/id…], events [[key, change, version, at]…], expires_at; where several were told
               the same, in the place of both shared, the `_id` of the document that has them
               _id "org/env/shared/…", tenant, keys, events, expires_at
               _id "position org/env", tenant: place in the feed behind what was counted for the tenant; with
               the numbers that were given, and beside those that receivers acknowledged: `counters`
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from bson import ObjectId

from store.changes.changes import Position
from store.fhir.instants import from_datetime
from store.mongo.subscriptions.counters import POSITION, Counters
from store.mongo.subscriptions.seats import seat, seat_of
from store.subscriptions.events import Event
from store.subscriptions.records import (
    Channel,
    Content,
    EarlierSecret,
    Form,
    Holder,
    Progress,
    Status,
    Subscription,
)
from store.tenancy import parse_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from store.subscriptions.events import Addition, Occurrence
    from store.tenancy import Tenant

DIGITS: Final = 12
PIECE_MAX: Final = 500
"""Most events of one document."""
MOVING: Final = ("version", "created", "status", "reason", "paused", "progress")
"""Fields that change within a version, and those that tell which one it is."""


def to_document(subscription: Subscription) -> dict[str, Any]:
    """The document of a subscription, without its progress."""
    channel, holder = subscription.channel, subscription.holder
    return {
        "tenant": str(subscription.tenant),
        "id": subscription.id,
        "version": subscription.version,
        "created": subscription.created,
        "updated": subscription.updated,
        "status": subscription.status.value,
        "topic": subscription.topic,
        "filters": list(subscription.filters),
        "channel": {
            "endpoint": channel.endpoint,
            "content": channel.content.value,
            "form": channel.form.value,
            "max_count": channel.max_count,
            "timeout_seconds": channel.timeout_seconds,
            "heartbeat_seconds": channel.heartbeat_seconds,
        },
        "start": {"number": subscription.start.number, "mark": subscription.start.mark},
        "base": subscription.base,
        "resource": subscription.resource,
        "holder": None
        if holder is None
        else {
            "client": holder.client,
            "token_id": holder.token_id,
            "scopes": list(holder.scopes),
            "since": holder.since,
        },
        "sealed": subscription.sealed,
        "generation": subscription.generation,
        "earlier": [list(one) for one in subscription.earlier],
        "previous_until": None,
        "ends": subscription.ends,
        "reason": subscription.reason,
        "paused": subscription.paused,
    }


def progress_document(progress: Progress) -> dict[str, Any]:
    """The progress of a subscription, without its counters."""
    return {
        "failures": progress.failures,
        "failing_since": progress.failing_since,
        "failure": progress.failure,
        "next_at": progress.next_at,
        "tried": progress.tried,
        "joined": progress.joined,
    }


def from_document(document: Mapping[str, Any], counters: Counters) -> Subscription:
    """The subscription of a document, with the counters of its tenant."""
    channel, holder = document["channel"], document["holder"]
    return Subscription(
        tenant=parse_tenant(document["tenant"]),
        id=document["id"],
        version=document["version"],
        created=document["created"],
        updated=document["updated"],
        status=Status(document["status"]),
        topic=document["topic"],
        filters=tuple(document["filters"]),
        channel=Channel(
            channel["endpoint"],
            Content(channel["content"]),
            Form(channel["form"]),
            channel["max_count"],
            channel["timeout_seconds"],
            channel["heartbeat_seconds"],
        ),
        start=position_of(document["start"]),
        base=document["base"],
        resource=bytes(document["resource"]),
        holder=None
        if holder is None
        else Holder(holder["client"], holder["token_id"], tuple(holder["scopes"]), holder["since"]),
        sealed=bytes(document["sealed"]),
        generation=document["generation"],
        earlier=_earlier(document),
        ends=document["ends"],
        reason=document["reason"],
        paused=document["paused"],
        progress=_progress(document, counters, seat_of(document["id"], document["created"])),
    )


def moved(known: Subscription, document: Mapping[str, Any], counters: Counters) -> Subscription:
    """The same version of a subscription, with the fields that change within one."""
    return replace(
        known,
        status=Status(document["status"]),
        reason=document["reason"],
        paused=document["paused"],
        progress=_progress(document, counters, seat(known)),
    )


def _progress(document: Mapping[str, Any], counters: Counters, seat: str) -> Progress:
    told: Mapping[str, Any] = document["progress"]
    return Progress(
        counters.last.get(seat, told.get("last", 0)),
        counters.delivered.get(seat, told.get("delivered", 0)),
        told["failures"],
        told["failing_since"],
        told["next_at"],
        told.get("failure", ""),
        told.get("tried", 0),
        counters.heard.get(seat, told.get("heard_at")),
        told.get("joined", True),  # Those from before the field have joined long ago.
    )


def _earlier(document: Mapping[str, Any]) -> tuple[EarlierSecret, ...]:
    until = document.get("previous_until")  # Of a document from before there could be several.
    if until is not None:
        return (EarlierSecret(document["generation"] - 1, until),)
    return tuple(EarlierSecret(*one) for one in document.get("earlier", ()))


def told(some: Sequence[Occurrence]) -> dict[str, Any]:
    """Events as they are stored."""
    return {"keys": list(dict.fromkeys(one.key for one in some)), "events": [list(one) for one in some]}


def shared(tenant: str, content: Mapping[str, Any], expires_at: datetime) -> dict[str, Any]:
    """The document of events that several subscriptions have."""
    return {
        "_id": f"{tenant}/shared/{ObjectId()}",
        "tenant": tenant,
        **content,
        "expires_at": expires_at,
    }


def piece(
    subscription: Subscription, first: int, size: int, content: Mapping[str, Any], expires_at: datetime
) -> dict[str, Any]:
    """The document of so many events that follow each other; the first has this number."""
    return {
        "_id": f"{subscription.name}/{_milliseconds(subscription.created)}/{first:0{DIGITS}}",
        "tenant": str(subscription.tenant),
        "subscription": subscription.name,
        "made": subscription.created,
        "first": first,
        "last": first + size - 1,
        **content,
        "expires_at": expires_at,
    }


def documents_of(additions: Sequence[Addition], expires_at: datetime) -> Iterator[dict[str, Any]]:
    """Documents of these events; what several subscriptions are told is kept once for all of them."""
    alike: dict[int, list[Addition]] = {}
    for one in additions:
        alike.setdefault(id(one.occurrences), []).append(one)
    for some in alike.values():
        occurrences, tenant = some[0].occurrences, str(some[0].subscription.tenant)
        for start in range(0, len(occurrences), PIECE_MAX):
            part = occurrences[start : start + PIECE_MAX]
            content = told(part)
            if len(some) > 1:
                whole = shared(tenant, content, expires_at)
                yield whole
                content = {"shared": whole["_id"]}
            for one in some:
                yield piece(one.subscription, one.run.first + start, len(part), content, expires_at)


def pieces_of(tenant: str, name: str, created: datetime) -> dict[str, Any]:
    """Filter of the pieces of the subscription that was made at this moment."""
    return {"tenant": tenant, "subscription": name, "made": {"$in": [created, None]}}


def is_of(document: Mapping[str, Any], created: datetime) -> bool:
    """Whether a piece is of the subscription that was made at this moment."""
    made = document.get("made")
    return made is None or _milliseconds(made) == _milliseconds(created)


def _milliseconds(moment: datetime) -> int:
    """A moment as MongoDB keeps it."""
    return from_datetime(moment).start // 1_000


def events_of(documents: Iterable[Mapping[str, Any]], after: int) -> list[Event]:
    """The events of pieces that have a higher number, in order."""
    return [
        Event(number, *event)
        for document in documents
        for number, event in enumerate(document["events"], document["first"])
        if number > after
    ]


def position_id(tenant: Tenant) -> str:
    """The `_id` of a tenant's place in the feed."""
    return f"{POSITION}{tenant}"


def position_of(document: Mapping[str, Any]) -> Position:
    """The place in the feed that a document says."""
    return Position(document["number"], document["mark"])
