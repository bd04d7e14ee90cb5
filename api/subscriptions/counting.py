"""Counting: changes of a tenant → events of its subscriptions, numbered and kept before anything is sent.

A change is matched on the index side of what is current: by the clauses of the search that the filters are,
decided here where spellings alone decide, by that search where they do not.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from api.subscriptions.sending.reading import fitting
from api.subscriptions.standing import AWAY, TOO_MUCH, Ended
from api.subscriptions.telling import (
    FORGOTTEN,
    Asking,
    Row,
    concerned,
    is_new,
    is_told_as_others,
    may_be_new,
    told,
)
from store.changes.changes import PositionLost
from store.changes.kinds import GOING as FEED_GOING
from store.errors import Category, ServiceError
from store.search.index_side import fields_of
from store.subscriptions.events import Addition, Occurrence, Overtaken
from store.subscriptions.records import Status
from store.subscriptions.topics import topic_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from api.subscriptions.holders import Known
    from api.subscriptions.metrics import SubscriptionMetrics
    from api.subscriptions.sending.reading import Sources
    from api.subscriptions.standing import Standings
    from store.changes.changes import Change, Position
    from store.search.index_side import IndexSide
    from store.subscriptions.events import Delivering, Outbox, Run
    from store.subscriptions.matching import IndexSides
    from store.subscriptions.records import Subscription, SubscriptionStore
    from store.tenancy import Tenant

LOG: Final = logging.getLogger("api.subscriptions")
BATCH: Final = 1_000
"""Changes that are matched at once."""
FAR: Final = 5_000
"""Changes in a row that concern nobody, after which their place is noted all the same."""
LONG: Final = timedelta(hours=1)
"""Time after which it is noted, however few they were: `DECISIONS.md#passed-places`."""
LATE_MAX: Final = 3
"""Searches of one subscription in a row that take too long before it ends: others wait for each."""
FULL: Final = "its queue is full: too many events wait; read what changed by `_lastUpdated`, then ask anew"
GAP: Final = "changes were lost before they were matched; read what changed by `_lastUpdated`, then ask anew"


class Counted(NamedTuple):
    """Page of changes that was counted."""

    position: Position
    """Place behind it."""
    events: Mapping[str, Run]
    """New events, by the name of their subscription."""
    forgotten: bool = False
    """Whether names of resources were taken out of earlier events."""


class _Passed(NamedTuple):
    """Place behind changes that concerned nobody, while it is not noted."""

    position: Position
    since: datetime


class Counting:
    """Matches the changes of tenants, a page at a time."""

    def __init__(  # noqa: PLR0913 -- all keyword-only
        self,
        *,
        store: SubscriptionStore,
        outbox: Outbox,
        sides: IndexSides,
        sources: Sources,
        standings: Standings,
        metrics: SubscriptionMetrics,
        clock: Callable[[], datetime],
        queue_max: int,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._sides = sides
        self._sources = sources
        self._standings = standings
        self._metrics = metrics
        self._clock = clock
        self._queue_max = queue_max
        self._noted: dict[Tenant, Position] = {}
        """Places in the feed that were noted last."""
        self._passed: dict[Tenant, _Passed] = {}
        self._late: dict[str, int] = {}
        """Searches in a row that took too long, by the name of their subscription."""

    async def page(
        self,
        delivering: Delivering,
        tenant: Tenant,
        subscriptions: Callable[[], Awaitable[Sequence[Subscription]]],
        after: Position,
    ) -> Counted:
        """Count one page of changes. Raises LeaseLost, Overtaken, ServiceError: then nothing was counted.

        Subscriptions are read behind the changes: `DECISIONS.md#matched-by-what-is-now`.
        """
        try:
            page = await self._sources.changes.read(tenant, after, limit=BATCH)
        except PositionLost:
            return Counted(await self._lost(delivering, tenant, await subscriptions()), {})
        if not page.changes:
            return Counted(page.position, {})
        additions = await self._additions(tenant, await subscriptions(), page.changes)
        gone = frozenset(str(one.key) for one in page.changes if one.kind in FORGOTTEN)
        if additions or gone or self._is_far(tenant, page.position):
            await delivering.add(tenant, additions, position=page.position, forget=gone, after=after)
            self._note(tenant, page.position)
        else:
            before = self._passed.get(tenant)
            self._passed[tenant] = _Passed(page.position, self._clock() if before is None else before.since)
        newest = max(one.at for one in page.changes)
        lag = (self._clock() - newest).total_seconds()
        self._metrics.counted(sum(len(one.occurrences) for one in additions), lag_seconds=lag)
        events = {one.subscription.name: one.run for one in additions}
        return Counted(page.position, events, forgotten=bool(gone))

    async def note(self, delivering: Delivering, tenants: Collection[Tenant]) -> None:
        """Note the places of these tenants that were passed long ago. Raises LeaseLost, ServiceError."""
        for tenant, (position, since) in list(self._passed.items()):
            if tenant not in tenants:  # Without subscriptions; it may have left.
                del self._passed[tenant]
            elif not timedelta(0) <= self._clock() - since < LONG:
                with suppress(Overtaken):  # Of an earlier lease: another process is ahead.
                    await delivering.add(tenant, (), position=position, forget=frozenset(), after=position)
                self._note(tenant, position)

    def _note(self, tenant: Tenant, position: Position) -> None:
        self._noted[tenant] = position
        self._passed.pop(tenant, None)

    def _is_far(self, tenant: Tenant, position: Position) -> bool:
        """Whether a place in the feed is far behind the one that was noted last.

        Changes that concern nobody are matched again by who takes over; more than a few are not left to it.
        """
        noted = self._noted.get(tenant)
        return noted is None or not 0 <= position.number - noted.number < FAR

    async def join(self, delivering: Delivering, one: Subscription, place: Position) -> None:
        """Count for a new subscription what came since its beginning, up to the place of the others.

        Raises LeaseLost, Overtaken, ServiceError: then nothing was counted.
        """
        if self._noted.get(one.tenant) != place:  # Else who takes over would count it twice.
            await delivering.add(one.tenant, (), position=place, forget=frozenset(), after=place)
            self._note(one.tenant, place)
        changes: list[Change] = []
        after = one.start
        while after.number < place.number:
            most = min(BATCH, place.number - after.number)
            try:
                page = await self._sources.changes.read(one.tenant, after, limit=most)
            except PositionLost:
                await self._store.settle(one, Status.ERROR, reason=GAP)
                break
            if not page.changes:
                break
            changes += page.changes
            after = page.position
        missed = [
            row for made in await self._additions(one.tenant, [one], changes) for row in made.occurrences
        ]
        await delivering.join(Addition(one, tuple(missed)))

    async def _lost(
        self, delivering: Delivering, tenant: Tenant, subscriptions: Sequence[Subscription]
    ) -> Position:
        """Go on from the present, and say so to all whose changes may be missing."""
        head = await self._sources.changes.head(tenant)
        missing = [one for one in subscriptions if one.counts and one.reason != GAP]
        if missing:
            LOG.error("changes were lost before they were matched", extra={"tenant": str(tenant)})
        for one in missing:
            await self._store.settle(one, Status.ERROR, reason=GAP)
        await delivering.add(tenant, (), position=head, forget=frozenset())
        self._note(tenant, head)
        return head

    async def _additions(
        self, tenant: Tenant, subscriptions: Sequence[Subscription], changes: Sequence[Change]
    ) -> list[Addition]:
        memory: dict[str, Known] = {}
        asked = [await self._asking(one, memory) for one in subscriptions if one.counts]
        asking = [one for one in asked if one is not None]
        types = {one.query.type for one in asking}
        rows = [Row(one, str(one.key)) for one in changes if one.key.type in types]
        if not rows:
            return []
        there = {row.change.key for row in rows if row.change.kind not in FEED_GOING}
        fields = fields_of(clause for one in asking for clause in one.query.clauses)
        sides = await self._sides.sides(tenant, there, fields) if there else {}
        earlier = {row.key for row in rows if not is_new(row.change)}
        asked_for = [one.subscription for one in asking]
        known = await self._outbox.knowing(tenant, asked_for, earlier) if earlier else {}
        made: list[Addition] = []
        alike: dict[tuple[int, bool], tuple[list[Row], tuple[Occurrence, ...]]] = {}
        for one, own in concerned(asking, rows, sides, known):
            # Those that ask for the same, and knew of none of it, are told the same.
            same = (id(one.query), one.new_only) if is_told_as_others(one, own, known) else None
            before = None if same is None else alike.get(same)
            try:
                if before is not None and before[0] == own:
                    some = before[1]
                else:
                    some = tuple(await self._occurrences(one, own, sides, known))
                if same is not None:
                    alike[same] = (own, some)
            except ServiceError as error:
                if self._may_pass(one.subscription.name, error.category):
                    raise
                await self._end(one.subscription, TOO_MUCH)  # It holds up nobody else.
                continue
            self._late.pop(one.subscription.name, None)
            if some and not await self._is_full(one.subscription, len(some)):
                made.append(Addition(one.subscription, some))
        return made

    async def _asking(self, one: Subscription, memory: dict[str, Known]) -> Asking | None:
        """The subscription with its search; None: its holder hears nothing, and it ends.

        Raises ServiceError when the database is away.
        """
        try:
            query = (await self._standings.of(one, memory)).query
        except Ended as ended:  # Nothing else wakes a subscription that has nothing to deliver.
            await self._end(one, ended.reason)
            return None
        topic = topic_of(one.topic)
        return Asking(one, query, new_only=topic is not None and topic.new_only)

    def _may_pass(self, name: str, category: Category) -> bool:
        """Whether a search that failed may do another time: one that takes too long, not again and again."""
        if category is Category.TIMEOUT:
            self._late[name] = self._late.get(name, 0) + 1
            return self._late[name] < LATE_MAX
        return category in AWAY

    async def _end(self, one: Subscription, reason: str) -> None:
        if one.status is not Status.ERROR or one.reason != reason:
            await self._store.settle(one, Status.ERROR, reason=reason)

    async def _is_full(self, one: Subscription, some: int) -> bool:
        if one.progress.waiting + some <= self._queue_max:
            return False
        if not await self._store.settle(one, Status.OFF, reason=FULL):
            raise Overtaken  # It was changed at the same moment: the page is counted anew.
        # Left there, what waits would end whoever asks anew: `DECISIONS.md#full-queue`.
        await self._store.rewind(one.tenant, one.id, one.progress.last)
        LOG.error("the queue of a subscription is full", extra={"tenant": str(one.tenant)})
        return True

    async def _occurrences(
        self,
        asking: Asking,
        rows: Sequence[Row],
        sides: Mapping[str, IndexSide],
        known: Mapping[str, Mapping[str, str]],
    ) -> list[Occurrence]:
        one, query, new_only = asking
        # What came before the subscription is none of its events, however late it is matched.
        own = [
            row
            for row in rows
            if row.change.number > one.start.number
            and (not new_only or may_be_new(row.change, knows=one.id in known.get(row.key, ())))
        ]
        there = {row.key: side for row in own if (side := sides.get(row.key)) is not None}
        fits = await fitting(self._sources, one.tenant, query, there) if query.clauses else None
        last = {row.key: known[row.key][one.id] for row in own if one.id in known.get(row.key, ())}
        found: list[Occurrence] = []
        for change, key in own:
            kind = told(change, fits is None or key in fits, last.get(key), everything=not query.clauses)
            if kind is not None:
                found.append(Occurrence(key, kind, change.version, change.at))
                last[key] = kind
        return found
