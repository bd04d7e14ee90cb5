"""Delivery of one subscription, step by step: the handshake, its events in order, a heartbeat in silence.

A step makes at most one request. Its outcome is on record before the next step, so that whoever takes over
goes on there: an event is sent again when nobody noted that it arrived, and none is left out.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from api.subscriptions.receivers import Outcome, Reply
from api.subscriptions.secrets import keys_of, signed, unseal
from api.subscriptions.sending import light
from api.subscriptions.sending.notification import EVENTS, HANDSHAKE, HEARTBEAT, notification
from api.subscriptions.sending.reading import message_of, of_topic, readable
from api.subscriptions.sending.retries import RETRY_AFTER_MAX, is_due, pause_after
from api.subscriptions.standing import AWAY, TOO_MUCH, UNREADABLE, Ended
from ingest.unique import unique_id
from store.errors import ServiceError
from store.fhir.instants import from_datetime
from store.subscriptions.events import next_of
from store.subscriptions.records import Form, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from api.subscriptions.metrics import SubscriptionMetrics
    from api.subscriptions.receivers import Receivers
    from api.subscriptions.secrets import OAuthClient, Sealed
    from api.subscriptions.sending.disclosures import Disclosures
    from api.subscriptions.sending.reading import Sources
    from api.subscriptions.sending.receiver_tokens import ReceiverTokens
    from api.subscriptions.sending.retries import Circuits
    from api.subscriptions.standing import Standing, Standings
    from store.subscriptions.events import Event, Outbox, Run
    from store.subscriptions.records import Subscription, SubscriptionStore

LOG: Final = logging.getLogger("api.subscriptions")
ATTEMPTS_LEAST: Final = 8
"""Attempts before a receiver is given up: some five minutes. For a handshake there are no more."""
FRESH_SECONDS: Final = 15.0
"""Longest time from reading content to the beginning of its sending: the process may have stood still."""
JSON: Final = "application/fhir+json"
GONE: Final = "the receiver answered 410 Gone: it wants to hear nothing more"
OVER: Final = "its `end` is over"
AGAIN: Final = timedelta(seconds=1)
NO_CHALLENGE: Final = "its answer to the handshake does not hold the challenge"
NO_HANDSHAKE: Final = "the receiver did not answer the handshake with 2xx"
GIVEN_UP: Final = (
    "the receiver has acknowledged nothing for too long; delivery goes on when it is asked for anew"
)


class Ports(NamedTuple):
    """All that a delivery asks and tells."""

    store: SubscriptionStore
    outbox: Outbox
    sources: Sources
    standings: Standings
    receivers: Receivers
    tokens: ReceiverTokens
    circuits: Circuits
    metrics: SubscriptionMetrics
    disclosures: Disclosures


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds of deliveries, from the settings."""

    batch_max: int
    timeout_seconds: float
    give_up: timedelta


class Access(NamedTuple):
    """Headers for a receiver beside the signature."""

    headers: Mapping[str, str]
    oauth: OAuthClient | None
    """Client whose access token is among the headers."""


class Step(NamedTuple):
    """Next step of a subscription."""

    at: datetime | None
    """Moment at which it is due; None: when there is something new."""
    sent: bool = False
    """Whether what comes in the next moment is waited for, to share the next notification."""
    delivered: int | None = None
    """Number of the last event that the receiver acknowledged in this step."""


IDLE: Final = Step(None)


def _milliseconds(moment: datetime) -> int:
    """A moment as MongoDB keeps it: the same in each attempt."""
    return from_datetime(moment).start // 1_000


def _webhook_id(one: Subscription, *parts: str | int) -> str:
    """The id of a notification, without a `.`, which a client's own id may have: Standard Webhooks."""
    return "_".join((one.id.replace(".", "_"), *map(str, parts)))


class Delivery:
    """Steps of all subscriptions of this process."""

    def __init__(
        self,
        ports: Ports,
        pace: Pace,
        *,
        root: bytes,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ports = ports
        self._monotonic = monotonic
        self._pace = pace
        self._root = root
        self._clock = clock

    async def step(self, one: Subscription, recent: Sequence[Run] = ()) -> Step:
        """Do what is due for a subscription. Raises ServiceError when the database is away.

        `recent` are its newest events, in order, as far as they are known.
        """
        now = self._clock()
        if one.status in (Status.OFF, Status.ERROR):
            return IDLE
        if one.ends is not None and now >= one.ends:
            await self._ports.store.settle(one, Status.OFF, reason=OVER)
            return IDLE
        if one.paused:
            return Step(one.ends)
        try:
            standing = await self._ports.standings.of(one)
            shown = unseal(self._root, one.name, one.sealed)
        except (Ended, ValueError) as error:
            reason = error.reason if isinstance(error, Ended) else UNREADABLE
            await self._end(one, Status.ERROR, reason)
            return IDLE
        due = self._due(one, now)
        if due is not None and due <= now:
            due = self._ports.circuits.waits(one, now)
            if due is None:
                return await self._notify(one, standing, shown, now, recent)
        return Step(due)

    async def _notify(
        self, one: Subscription, standing: Standing, shown: Sealed, now: datetime, recent: Sequence[Run]
    ) -> Step:
        # Before anything is read: a server of tokens may be slow, and what is sent is read when it is sent.
        access = await self._access(one, shown)
        if isinstance(access, Reply):
            self._ports.metrics.attempted(access.outcome)
            for oldest in await self._next(one, recent, 1):
                self._ports.metrics.waiting(one.name, oldest.at)
            return await self._failed(one, access, now)
        if one.status is Status.REQUESTED:
            return await self._handshake(one, access, now)
        if one.progress.waiting > 0:
            return await self._events(one, standing, access, now, recent)
        return await self._heartbeat(one, access, now)

    async def _access(self, one: Subscription, shown: Sealed) -> Access | Reply:
        """Headers that the receiver wants to be shown; or how the attempt to have them ended."""
        headers = dict(shown.headers)
        if shown.oauth is not None:
            token = await self._ports.tokens.token(shown.oauth, seconds=self._seconds(one))
            if isinstance(token, Reply):
                return token
            headers["authorization"] = f"Bearer {token}"
        return Access(headers, shown.oauth)

    def _seconds(self, one: Subscription) -> float:
        """Deadline of a request."""
        return min(one.channel.timeout_seconds or self._pace.timeout_seconds, self._pace.timeout_seconds)

    def _due(self, one: Subscription, now: datetime) -> datetime | None:
        """Moment of the next notification, as far as is known; None: with the next event."""
        if one.progress.next_at is not None and not is_due(one.progress, one.progress.next_at, now):
            return one.progress.next_at
        if one.status is Status.REQUESTED or one.progress.waiting > 0:
            return now
        self._ports.metrics.waiting(one.name, None)
        return self._end_of_silence(one, one.progress.heard_at or one.updated, now)

    @staticmethod
    def _end_of_silence(one: Subscription, heard: datetime, now: datetime) -> datetime | None:
        """Moment of the next heartbeat, or of the end."""
        seconds = one.channel.heartbeat_seconds
        if seconds is None:
            return one.ends
        # Heard in the future: the clock was set back, and nobody knows how long the silence is.
        due = now if heard > now else heard + timedelta(seconds=seconds)
        return due if one.ends is None else min(due, one.ends)

    async def _handshake(self, one: Subscription, access: Access, now: datetime) -> Step:
        id = _webhook_id(one, HANDSHAKE, _milliseconds(one.updated))
        if one.channel.form is Form.TOPIC:
            body = notification(one, HANDSHAKE, id=unique_id(), now=now)
            reply = await self._send(one, access, body, id)
            done = reply.outcome is Outcome.DELIVERED
        else:
            challenge = light.new_challenge()
            body = light.handshake(access.headers.get(light.TOKEN_HEADER, ""), challenge)
            reply = await self._send(one, access, body, id, media_type="application/json")
            done = reply.outcome is Outcome.DELIVERED and challenge.encode() in reply.body
        if done:
            if await self._ports.store.settle(one, Status.ACTIVE):
                await self._ports.store.acknowledged(one, one.progress.delivered, at=now)
            return Step(now, sent=True)
        if reply.outcome is Outcome.DELIVERED:
            reply = Reply(Outcome.REFUSED, detail=NO_CHALLENGE)
        return await self._failed(one, reply, now)

    async def _events(
        self, one: Subscription, standing: Standing, access: Access, now: datetime, recent: Sequence[Run]
    ) -> Step:
        most = min(one.channel.max_count or self._pace.batch_max, self._pace.batch_max)
        limit = most if one.channel.form is Form.TOPIC else 1
        if one.progress.failures and one.progress.tried > one.progress.delivered:
            # A receiver that has them, and whose answer was lost: `DECISIONS.md#tried-again-the-same`.
            limit = min(limit, one.progress.tried - one.progress.delivered)
        found = await self._next(one, recent, limit)
        if not found:  # No longer kept: what is behind them goes on.
            await self._ports.store.acknowledged(one, one.progress.last, at=one.progress.heard_at or now)
            return Step(now)
        found = of_topic(found, standing.query)
        self._ports.metrics.waiting(one.name, found[0].at)
        read = self._monotonic()
        try:
            body, some = await self._body(one, found, standing, now)
        except ServiceError as error:
            if error.category in AWAY:
                raise
            await self._end(one, Status.ERROR, TOO_MUCH)
            return IDLE
        if self._monotonic() - read > FRESH_SECONDS:  # Somebody may have been erased since: it is read again.
            return Step(self._clock() + AGAIN)
        # Numbers come again in a Subscription of the same id, and behind a restore: receivers go by the id.
        id = _webhook_id(one, some[0].number, some[-1].number, _milliseconds(some[0].at))
        reply = await self._send(one, access, body, id)
        if reply.outcome is not Outcome.DELIVERED:
            return await self._failed(one, reply, now, tried=some[-1].number)
        heard = self._clock()
        await self._ports.store.acknowledged(one, some[-1].number, at=heard)
        self._ports.metrics.delivered(one.name, [(heard - event.at).total_seconds() for event in some])
        number = some[-1].number
        waiting = one.progress.last - number
        due = heard if waiting else self._end_of_silence(one, heard, heard)
        # As many as one notification holds wait already: there is nothing to wait for.
        return Step(due, sent=waiting < limit, delivered=number)

    async def _next(self, one: Subscription, recent: Sequence[Run], limit: int) -> tuple[Event, ...]:
        """Events that are next; none where none waits, or none of them is kept any more."""
        if one.progress.waiting <= 0:
            return ()
        found = next_of(recent, one.progress, limit)
        return found or await self._ports.outbox.events(one, after=one.progress.delivered, limit=limit)

    async def _body(
        self, one: Subscription, found: Sequence[Event], standing: Standing, now: datetime
    ) -> tuple[bytes, Sequence[Event]]:
        """The notification of these events, and those that fit into it."""
        sources = self._ports.sources
        if one.channel.form is not Form.TOPIC:
            [event] = found
            detailed = one.channel.form is Form.DETAILED
            told = await message_of(sources, one, event, query=standing.query, detailed=detailed)
            await self._ports.disclosures.note(one, told.named(event.key))
            return light.message(one, event, told, detailed=detailed), found
        content = one.channel.content
        shown = await readable(sources, one, found, standing=standing, content=content)
        await self._ports.disclosures.note(one, shown.resources.items())
        some = found[: shown.events]
        body = notification(one, EVENTS, id=unique_id(), now=now, events=some, resources=shown.resources)
        return body, some

    async def _heartbeat(self, one: Subscription, access: Access, now: datetime) -> Step:
        body = notification(one, HEARTBEAT, id=unique_id(), now=now)
        reply = await self._send(one, access, body, _webhook_id(one, HEARTBEAT, int(now.timestamp())))
        if reply.outcome is not Outcome.DELIVERED:
            return await self._failed(one, reply, now)
        await self._ports.store.acknowledged(one, one.progress.delivered, at=now)
        return Step(now + timedelta(seconds=one.channel.heartbeat_seconds or 0), sent=True)

    async def _send(
        self, one: Subscription, access: Access, body: bytes, id: str, *, media_type: str = JSON
    ) -> Reply:
        """Post a notification, signed, with what the receiver wants to be shown."""
        now = self._clock()
        signature = signed(id, int(now.timestamp()), body, keys_of(self._root, one, now))
        headers = {**access.headers, **signature, "content-type": media_type}
        reply = await self._ports.receivers.post(
            one.channel.endpoint, body, headers, seconds=self._seconds(one)
        )
        if reply.status == 401 and access.oauth is not None:  # noqa: PLR2004 -- HTTP's Unauthorized
            self._ports.tokens.forget(access.oauth)
        self._ports.metrics.attempted(reply.outcome)
        if reply.outcome is Outcome.DELIVERED:
            self._ports.circuits.succeeded(one)
        return reply

    async def _failed(
        self, one: Subscription, reply: Reply, began: datetime, *, tried: int | None = None
    ) -> Step:
        """Note a failure, and when the next attempt is due; or that there is none."""
        now, store = self._clock(), self._ports.store
        if reply.outcome.is_the_endpoints:
            self._ports.circuits.failed(one, now)
        if reply.outcome is Outcome.GONE:
            await self._end(one, Status.OFF, GONE)
            return IDLE
        failures = one.progress.failures + 1
        since = one.progress.failing_since or began
        if one.status is Status.REQUESTED and failures >= ATTEMPTS_LEAST:
            await self._end(one, Status.ERROR, f"{NO_HANDSHAKE} ({reply.text})")
            return IDLE
        # A clock that is set forward gives up nobody who was not asked often.
        if now - since >= self._pace.give_up and failures >= ATTEMPTS_LEAST:
            await self._end(one, Status.ERROR, f"{GIVEN_UP} ({reply.text})")
            return IDLE
        asked = timedelta(seconds=min(reply.retry_after or 0.0, RETRY_AFTER_MAX))
        next_at = now + max(pause_after(failures), asked)
        last = one.progress.tried if tried is None else tried
        await store.failed(one, reply.text, at=began, next_at=next_at, tried=last)
        return Step(next_at, sent=True)

    async def _end(self, one: Subscription, status: Status, reason: str) -> None:
        if await self._ports.store.settle(one, status, reason=reason):
            where = urlsplit(one.channel.endpoint).hostname
            extra = {"tenant": str(one.tenant), "host": where, "reason": reason}
            LOG.warning("a subscription ended", extra=extra)
