"""Events of subscriptions: what was told to whom, by number, without content; and the port that keeps them.

An event is the name of a resource and what became of it. Its content is read when it is sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from store.changes.kinds import GOING as FEED_GOING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.changes.changes import Position
    from store.subscriptions.records import Progress, Subscription
    from store.tenancy import Tenant


UNMATCHED: Final = "unmatched"
"""Change that is none of the feed's: a resource that was told of before no longer fits the filters."""
GOING: Final = frozenset({*(kind.value for kind in FEED_GOING), UNMATCHED})
"""Changes after which the subscriber has nothing to read; told to those alone who knew of the resource."""


class Occurrence(NamedTuple):
    """A change that a subscriber is to be told of."""

    key: str
    """`Type/id`; empty: the resource was erased since."""
    change: str
    """Kind of the change, of `store.changes`, or `UNMATCHED`."""
    version: int
    at: datetime


class Event(NamedTuple):
    """An occurrence with its number."""

    number: int
    key: str
    change: str
    version: int
    at: datetime


class Run(NamedTuple):
    """Occurrences that follow each other as events of one subscription. Others may share them."""

    first: int
    """Number of the first."""
    occurrences: tuple[Occurrence, ...]

    @property
    def last(self) -> int:
        """Number of the last."""
        return self.first + len(self.occurrences) - 1

    def events(self, number: int, limit: int) -> tuple[Event, ...]:
        """At most so many of its events, from this number on."""
        start = number - self.first
        return tuple(Event(n, *one) for n, one in enumerate(self.occurrences[start : start + limit], number))


class Addition(NamedTuple):
    """Occurrences to be counted for a subscription, in order.

    Subscriptions that are told the same have the very same tuple: it is kept once.
    """

    subscription: Subscription
    occurrences: tuple[Occurrence, ...]

    @property
    def run(self) -> Run:
        """The occurrences with the numbers that they get."""
        return Run(self.subscription.progress.last + 1, self.occurrences)


def next_of(recent: Iterable[Run], progress: Progress, limit: int) -> tuple[Event, ...]:
    """Events that are next, as far as they follow each other: between those that are known some may have
    been counted that are not. None where what is known begins behind them.
    """
    found: list[Event] = []
    limit = max(min(limit, progress.waiting), 0)
    for run in recent:
        number = progress.delivered + 1 + len(found)
        if run.last < number:
            continue
        if run.first > number or len(found) == limit:
            break
        found += run.events(number, limit - len(found))
    return tuple(found)


class Overtaken(Exception):  # noqa: N818 -- the reason to look again, no error
    """A subscription was changed or deleted while events were added to it, or they have been added."""


class Delivering(Protocol):
    """Right of this process to count and deliver, until another one takes over."""

    async def renew(self) -> None:
        """Keep the right. Raises LeaseLost."""

    async def release(self) -> None:
        """Give it back, for anybody to go on at once."""

    async def add(
        self,
        tenant: Tenant,
        additions: Sequence[Addition],
        *,
        position: Position,
        forget: AbstractSet[str],
        after: Position | None = None,
    ) -> None:
        """Number and keep all of these together with the place in the feed behind them, or nothing.

        The names of resources that are to be forgotten are taken out of all events before; the numbers stay.
        Raises LeaseLost; Overtaken when a subscription is not as it was given, or the changes behind `after`
        were counted already, by a commit that was not answered.
        """

    async def join(self, addition: Addition) -> None:
        """Number and keep what a new subscription missed so far; from then on it is counted with the others.

        Raises LeaseLost; Overtaken when it is not as it was given, or has joined.
        """


class Outbox(Protocol):
    """Events by subscription and number."""

    async def take(self) -> Delivering | None:
        """The right to count and deliver; None: another process has it."""

    async def tidy(self) -> None:
        """Forget what is left of subscriptions that went: a receiver may answer behind the end of its own."""

    async def positions(self) -> Mapping[Tenant, Position]:
        """Places in the feed behind what was counted, of the tenants that have one."""

    async def events(self, subscription: Subscription, *, after: int, limit: int) -> tuple[Event, ...]:
        """Events of a subscription with higher numbers, in order; none of one that had its id before."""

    async def knowing(
        self, tenant: Tenant, some: Iterable[Subscription], keys: Iterable[str]
    ) -> Mapping[str, Mapping[str, str]]:
        """For each resource the ids of those of some subscriptions that were told of it, with the last change
        told.
        """
