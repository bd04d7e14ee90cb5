"""The desk at which messages of all MLLP ports are taken in: one attempt after another, then the answer.

While the database is away or slow a message is tried again, and its sender waits for the acknowledgment.
Where that takes too long, nothing is acknowledged: the sender sends again. A message that comes again while
it is still under way shares its outcome, so that a sender who reconnects keeps its order.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Final

from ingest.feeds import kept
from ingest.feeds.intake import count, messages_in, take_in
from ingest.feeds.receive import BROKEN, STATUS, Received, header_of, receive, refused
from ingest.hl7v2 import ack
from ingest.hl7v2.ack import Answer, Verdict
from ingest.hl7v2.faults import APPLICATION, Fault
from ingest.mllp.framing import Frame
from ingest.mllp.listener import Unanswered, Unframed
from ingest.unique import unique_id
from store.detached import detached
from store.errors import Category, ServiceError
from store.retrying import pause_behind
from store.tenancy import Tenant

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.feeds.metrics import FeedMetrics
    from ingest.feeds.receive import Keeper
    from ingest.feeds.sources import ListeningPort, Source
    from ingest.mllp.listener import Answering, Heard, Peer
    from ingest.settings import IngestSettings
    from ingest.writes.push_context import PushContext

LOG: Final = logging.getLogger("ingest.feeds")
AGAIN: Final = frozenset({Category.UNAVAILABLE, Category.THROTTLED, Category.TIMEOUT})
"""Failures that say nothing of the message: it is tried again for as long as there is patience."""
UNLUCKY: Final = frozenset({Category.CONFLICT, Category.FAULT})
"""Failures that another attempt may not meet; past some attempts the message becomes a dead letter."""
ATTEMPTS_MAX: Final = 8
"""Attempts after such failures; and those behind which the pauses are of the longest."""
_FAILED: Final = 503
PAUSE_MAX: Final = 1.0
"""Longest pause between two attempts, in seconds."""
UNFRAMED: Final = Fault(
    "MSH",
    1,
    0,
    0,
    "100",
    "the message came without a frame: MLLP begins it with 0x0B and ends it with 0x1C 0x0D",
)
TOO_LONG: Final = Fault(
    "MSH", 1, 0, 0, APPLICATION, "the message is longer than `DOD_MLLP_MESSAGE_BYTES_MAX` allows"
)


class Desk:
    """Takes in messages until it is closed."""

    def __init__(  # noqa: PLR0913 -- keyword-only
        self,
        context_for: Callable[[Source, str], Awaitable[PushContext]],
        keep: Keeper,
        *,
        metrics: FeedMetrics,
        clock: Callable[[], datetime],
        patience_seconds: float,
        settings: IngestSettings,
    ) -> None:
        self._context_for = context_for
        self._keep = keep
        self._metrics = metrics
        self._clock = clock
        self._patience = patience_seconds
        self._settings = settings
        self._under_way: dict[tuple[Tenant, str], asyncio.Task[Received]] = {}
        self._is_ending = False

    def answering(self, port: ListeningPort) -> Answering:
        """Function that answers each message of a port."""

        async def answer(heard: Heard, peer: Peer) -> list[bytes]:
            if isinstance(heard, Frame):
                return await self._frame(port, heard.body, peer)
            fault = UNFRAMED if isinstance(heard, Unframed) else TOO_LONG
            rejected = Received(Answer(Verdict.REJECT, (fault,)), header_of(heard.head))
            return self._acknowledgments(port, rejected)

        return answer

    async def _frame(self, port: ListeningPort, body: bytes, peer: Peer) -> list[bytes]:
        """Answer to a frame: of several messages in it, a batch of acknowledgments."""
        try:
            messages = messages_in(body, self._settings)
        except ServiceError as error:
            fault = Fault("MSH", 1, 0, 0, APPLICATION, error.issues[0].text)
            rejected = Received(Answer(Verdict.REJECT, (fault,)), header_of(body))
            return self._acknowledgments(port, rejected)
        answers = [one for message in messages for one in await self._message(port, message, peer)]
        if answers and (len(messages) > 1 or body.startswith((b"FHS", b"BHS"))):
            return [ack.batched(answers, body)]
        return answers

    async def _message(self, port: ListeningPort, message: bytes, peer: Peer) -> list[bytes]:
        begun = monotonic()
        taken = await take_in(message, port.sources, partial(self._once, address=peer.address))
        if taken is None:
            return []
        answers = self._acknowledgments(port, taken.received)
        count(self._metrics, taken, seconds=monotonic() - begun, at=self._clock().timestamp())
        return answers

    async def _once(self, source: Source, message: bytes, *, address: str) -> Received:
        """The outcome of a message, shared by all who wait for the same one; it goes on when they leave."""
        name = source.tenant, kept.name_of(message)
        task = self._under_way.get(name)
        if task is None:
            task = detached(self._patiently(source, message, address))
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        return await asyncio.shield(task)

    async def _patiently(self, source: Source, message: bytes, address: str) -> Received:
        until, attempt = monotonic() + self._patience, 0
        while True:
            try:
                return await self._attempt(source, message, address, is_last=attempt >= ATTEMPTS_MAX)
            except ServiceError as error:
                unlucky = error.category in UNLUCKY and attempt <= ATTEMPTS_MAX
                patient = error.category in AGAIN and monotonic() < until and not self._is_ending
                if not unlucky and not patient:
                    extra = {"source": source.name, "category": error.category.value}
                    LOG.warning("a message could not be stored", extra=extra)
                    raise Unanswered from error
            await asyncio.sleep(PAUSE_MAX if attempt >= ATTEMPTS_MAX else pause_behind(attempt))
            attempt += 1

    async def _attempt(self, source: Source, message: bytes, address: str, *, is_last: bool) -> Received:
        """The outcome of one attempt, with the access on record."""
        ctx = await self._context_for(source, address)
        status = _FAILED
        try:
            done = (
                await self._at_last(ctx, message, source)
                if is_last
                else await receive(ctx, message, source, keep=self._keep)
            )
            status = STATUS[done.answer.verdict]
        finally:
            if ctx.access is not None:
                await ctx.access.finish(status)
        return done

    async def _at_last(self, ctx: PushContext, message: bytes, source: Source) -> Received:
        """Try once more; a message that fails for no reason of its own must not hold up those behind."""
        try:
            return await receive(ctx, message, source, keep=self._keep)
        except ServiceError as error:
            if error.category not in UNLUCKY:
                raise
            return await refused(message, source, header_of(message), (BROKEN,), self._keep)

    def _acknowledgments(self, port: ListeningPort, received: Received) -> list[bytes]:
        answer, at = received.answer, self._clock()
        return [
            ack.build(received.header, code, answer.faults, at=at, number=unique_id())
            for code in ack.codes(received.header, answer.verdict, both=port.both, always=port.always)
        ]

    def end(self) -> None:
        """Try nothing again from now on: messages under way are acknowledged if this attempt stores them."""
        self._is_ending = True

    async def close(self, seconds: float) -> None:
        """Let messages under way end; those that take longer are not acknowledged."""
        tasks = list(self._under_way.values())
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
