"""`dod subscription`, without the command line around it: subscriptions as an operator mends them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

from api.commands.access.tenants import existing_tenant
from api.commands.terminal import user
from api.subscriptions.receivers import refuse_receiver
from api.subscriptions.secrets import SECRET, Sealed, first_generation, rotated, seal, signing_secret
from api.subscriptions.sending.light import TOKEN_HEADER
from store.audit.records import AuditRecord, Deed
from store.errors import StartupError
from store.subscriptions.records import Channel, Content, Form, Status, Subscription
from store.subscriptions.topics import TOPICS, topic_of

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.http.forwarded import Networks
    from store.stores import Stores
    from store.tenancy import Tenant

SHOWN_EVENTS: Final = 10
"""Events that wait, as `show` lists them."""


class Destination(NamedTuple):
    """Upstream's receiver of messages, as an operator sets it up."""

    tenant: Tenant
    url: str
    token: str
    """The verification token that the receiver knows."""
    base: str
    """The tenant's base URL, for references."""
    detailed: bool = False
    topic: str = "urn:data-on-demand:topic:DiagnosticReport"


async def note(  # noqa: PLR0913 -- the parts of a record
    stores: Stores, tenant: Tenant, deed: Deed, id: str, *, reason: str, now: datetime
) -> None:
    """Put on record what an operator did to a subscription."""
    await stores.privacy.audit.note(AuditRecord(tenant, now, user(), deed, reason, id))


async def listed(stores: Stores, tenant: Tenant | None, now: datetime) -> list[tuple[str, ...]]:
    """The table of `dod subscription list`, with its head."""
    store = stores.subscribing.subscriptions
    found = await (store.every() if tenant is None else store.of_tenant(tenant))
    return [
        ("TENANT", "ID", "STATUS", "RECEIVER", "EVENTS", "WAITING", "FAILURES", "NEXT", "REASON"),
        *(_row(one, now) for one in found),
    ]


def _row(one: Subscription, now: datetime) -> tuple[str, ...]:
    progress = one.progress
    due = "" if progress.next_at is None or progress.next_at <= now else _moment(progress.next_at)
    host = urlsplit(one.channel.endpoint).hostname or ""
    numbers = (str(progress.last), str(progress.waiting), str(progress.failures))
    return (str(one.tenant), one.id, _status(one), host, *numbers, due, one.problem)


def _status(one: Subscription) -> str:
    return "paused" if one.paused and one.counts else one.status.value


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


async def existing(stores: Stores, tenant: Tenant, id: str) -> Subscription:
    """The subscription of this id. Raises StartupError."""
    found = await stores.subscribing.subscriptions.get(tenant, id)
    if found is None:
        raise StartupError(f"There is no subscription {id} in {tenant}; `dod subscription list` shows all.")
    return found


async def shown(stores: Stores, tenant: Tenant, id: str) -> str:
    """All that is known of a subscription, as lines; no secret, and no value of its filters."""
    one = await existing(stores, tenant, id)
    progress, channel = one.progress, one.channel
    waiting = await stores.subscribing.outbox.events(one, after=progress.delivered, limit=SHOWN_EVENTS)
    topic = topic_of(one.topic)
    lines = [
        f"id         {one.id}",
        f"tenant     {one.tenant}",
        f"status     {_status(one)}" + (f": {one.reason}" if one.reason else ""),
        f"by         {one.holder.client if one.holder else 'the operator'}",
        f"topic      {topic.name if topic else one.topic}, {len(one.filters)} filters",
        f"receiver   {channel.endpoint}",
        f"form       {channel.form.value}, {channel.content.value}",
        f"created    {_moment(one.created)}",
        f"events     {progress.last}, of which {progress.waiting} wait",
        f"heard      {_moment(progress.heard_at) if progress.heard_at else 'never'}",
    ]
    if progress.failing_since is not None:
        since = _moment(progress.failing_since)
        lines.append(f"failing    {progress.failures} times since {since}: {progress.failure}")
    lines += [f"waits      {_waiting(event.number, event.change, event.at)}" for event in waiting]
    return "\n".join(lines)


def _waiting(number: int, change: str, at: datetime) -> str:
    return f"{number} {change} {_moment(at)}"


async def paused(stores: Stores, tenant: Tenant, id: str) -> str:
    """Hold back the notifications of a subscription; events are counted all the same."""
    await existing(stores, tenant, id)
    await stores.subscribing.subscriptions.pause(tenant, id, paused=True)
    return f"{id} is paused"


async def resumed(stores: Stores, tenant: Tenant, id: str, *, now: datetime) -> str:
    """Let go of a subscription that is paused, was given up or is off: its receiver is asked at once."""
    one = await existing(stores, tenant, id)
    store = stores.subscribing.subscriptions
    await store.pause(tenant, id, paused=False)
    if one.status in (Status.ERROR, Status.OFF):
        off = one.status is Status.OFF
        start = await stores.changes.head(tenant) if off else one.start
        again = replace(
            one,
            version=one.version + 1,
            updated=now,
            status=Status.REQUESTED,
            start=start,
            reason="",
            paused=False,
        )
        if not await store.replace(again, instead_of=one.version, anew=off):
            raise StartupError("Somebody else changed the subscription at the same time; try again.")
    return f"{id} goes on"


async def replayed(stores: Stores, tenant: Tenant, id: str, *, after: int) -> str:
    """Deliver again all events behind a number."""
    one = await existing(stores, tenant, id)
    if not 0 <= after <= one.progress.last:
        raise StartupError(f"The last event has the number {one.progress.last}: give one before it.")
    await stores.subscribing.subscriptions.rewind(tenant, id, after)
    done = f"{id}: {one.progress.last - after} events are delivered again"
    return done if one.sends else f"{done} once it goes on: `dod subscription resume`"


async def deleted(stores: Stores, tenant: Tenant, id: str) -> str:
    """Forget a subscription with its events."""
    await existing(stores, tenant, id)
    await stores.subscribing.subscriptions.delete(tenant, id)
    return f"{id} is deleted"


async def secret(stores: Stores, tenant: Tenant, id: str, *, now: datetime, overlap: timedelta | None) -> str:
    """The secret that signs; with an overlap, the new one that takes its place."""
    one = await existing(stores, tenant, id)
    if overlap is not None:
        after = rotated(one, now=now, overlap=overlap)
        if not await stores.subscribing.subscriptions.replace(after, instead_of=one.version):
            raise StartupError("Somebody else changed the subscription at the same time; try again.")
        one = after
    return signing_secret(await stores.access.secret(SECRET), one.name, one.generation)


async def notified(stores: Stores, told: Destination, *, now: datetime, allowed: Networks) -> str:
    """Set up upstream's notifications to a destination, which is verified first. Returns the id."""
    await existing_tenant(stores.access, told.tenant)
    if told.topic not in TOPICS:
        raise StartupError("The topic is none of this service: `{base}/Subscription/$topic-list` has all.")
    try:
        refuse_receiver(told.url, allowed)
    except ValueError as error:
        raise StartupError(f"The URL of the destination {error}.") from None
    id = str(uuid4())
    shown_there = (
        (TOKEN_HEADER, told.token),
        ("authorization", f"Bearer {told.token}"),
        ("application-name", "data-on-demand"),
    )
    root = await stores.access.secret(SECRET)
    one = Subscription(
        tenant=told.tenant,
        id=id,
        version=1,
        created=now,
        updated=now,
        status=Status.REQUESTED,
        topic=told.topic,
        filters=(),
        channel=Channel(
            told.url,
            Content.FULL_RESOURCE if told.detailed else Content.ID_ONLY,
            Form.DETAILED if told.detailed else Form.LIGHT,
        ),
        start=await stores.changes.head(told.tenant),
        base=told.base,
        resource=b"",
        sealed=seal(root, f"{told.tenant}/{id}", Sealed(shown_there)),
        generation=first_generation(),
    )
    await stores.subscribing.subscriptions.create(one)
    return id
