"""A subscription that the worker tends: its newest events, the state of its last step, and what wakes it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from store.subscriptions.events import Run
    from store.subscriptions.records import Status, Subscription

RECENT_MAX: Final = 1_000
"""Most events of one subscription that are remembered until they are sent: those of a page, which all who are
told the same share.
"""
RECENT_ALL: Final = 200_000
"""Most events that are remembered in all, as far as each subscription has some."""
RECENT_LEAST: Final = 100


class State(NamedTuple):
    """All of a subscription that makes a step due."""

    created: datetime
    version: int
    status: Status
    paused: bool
    last: int
    delivered: int
    next_at: datetime | None


@dataclass(slots=True)
class Tended:
    """A subscription that has a task of its own."""

    subscription: Subscription
    task: asyncio.Task[None] | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    recent: deque[Run] = field(default_factory=deque)
    """Newest events, so that they need not be read to be sent."""
    seen: State | None = None
    """State behind the last step: any other makes one due."""

    def forget_delivered(self, number: int) -> None:
        """Remember no event up to this number."""
        while self.recent and self.recent[0].last <= number:
            self.recent.popleft()

    def remember(self, run: Run, most: int) -> None:
        """Remember new events; the oldest are forgotten where there are more than so many."""
        self.recent.append(run)
        while sum(len(one.occurrences) for one in self.recent) > most:
            self.recent.popleft()


def remembered_max(tended: int) -> int:
    """Most events that are remembered of each of so many subscriptions."""
    return min(RECENT_MAX, max(RECENT_ALL // max(tended, 1), RECENT_LEAST))


def state_of(one: Subscription) -> State:
    """The state of a subscription."""
    progress = one.progress
    state = one.created, one.version, one.status, one.paused
    return State(*state, progress.last, progress.delivered, progress.next_at)


async def until(wake: asyncio.Event, seconds: float | None, *, least: float) -> None:
    """Wait until woken, or until it is due; at least for so long."""
    if least > 0:
        await asyncio.sleep(least)
        seconds = None if seconds is None else seconds - least
    if wake.is_set():
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(wake.wait(), None if seconds is None else max(seconds, 0.0))
