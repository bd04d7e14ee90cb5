"""Standings of subscriptions: the search for all that one may hear of now, or why it hears nothing.

A subscriber hears of what its credential may read, while it may: what holds for its searches, holds for it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from api.subscriptions.filters import standing_query
from api.subscriptions.holders import LOST
from api.ttl_cache import TtlCache
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.search.looks import refusals
from store.search.parsing.context import SearchContext
from store.search.parsing.patient_scope import bounded
from store.search.reach import narrowed, reaches
from store.subscriptions.topics import topic_of
from store.tenancy import SearchScope

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from api.subscriptions.holders import Holders, Known
    from store.access import AccessStore
    from store.search.criteria import Clause, SearchQuery
    from store.search.parsing.context import SearchLimits
    from store.search.reach import Reach
    from store.subscriptions.records import Subscription
    from store.tenancy import Tenant, TenantSettings

READS: Final = "rs"
"""Letters of `cruds` that a subscriber needs on the topic's type."""
UNREADABLE: Final = "its secrets or filters can no longer be read: `PUT` it anew"
UNBOUNDED: Final = (
    "its filters name no patient, as searches of this tenant must by now: `PUT` it with filters that do, and"
    " read what changed meanwhile by `_lastUpdated`"
)
TOO_MUCH: Final = (
    "its filters lead to more resources than a search may, or take too long: narrow them down, read what"
    " changed by `_lastUpdated`, and `PUT` it anew"
)
AWAY: Final = frozenset({Category.UNAVAILABLE, Category.TIMEOUT, Category.THROTTLED})
"""Failures of a search that say nothing of what was asked."""
REMEMBERED_MAX: Final = 10_000
MINUTE: Final = 60_000_000
"""Microseconds for which a search is as good as read anew: `ap` of a date depends on the present."""


class Ended(Exception):  # noqa: N818 -- no error of ours: the subscription ends
    """Raised for a subscription that hears nothing more, with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Standing(NamedTuple):
    """Search of a subscriber, with the part of the type that it is within."""

    query: SearchQuery
    """Search for all of it."""
    part: Clause | None
    """Part of the topic's type that the subscriber reaches; None: all of it."""


class _Remembered(NamedTuple):
    asked: tuple[object, ...]
    """All that the standing depends on, but the reach."""
    reach: Reach
    standing: Standing


class Standings:
    """Standings of all subscriptions. What is parsed once serves until something changes."""

    def __init__(
        self,
        holders: Holders,
        access: AccessStore,
        limits: SearchLimits,
        *,
        clock: Callable[[], datetime],
        seconds: float,
    ) -> None:
        self._holders = holders
        self._limits = limits
        self._clock = clock
        self._tenants: TtlCache[Tenant, TenantSettings] = TtlCache(access.tenant, seconds=seconds)
        self._remembered: dict[str, _Remembered] = {}
        self._queries: dict[SearchQuery, SearchQuery] = {}

    async def of(self, one: Subscription, memory: dict[str, Known] | None = None) -> Standing:
        """The standing of a subscription. Raises Ended; ServiceError when the database is away.

        `memory` has what was asked for others at the same moment.
        """
        settings = await self._tenants.get(one.tenant)
        reach = await self._holders.reach(one, memory)
        if settings is None or reach is None:  # A tenant that was closed hears nothing, its operator neither.
            raise Ended(LOST)
        now = from_datetime(self._clock()).start
        within = one.holder is not None and settings.search_scope is SearchScope.PATIENT
        asked = (one.created, one.topic, one.filters, one.base, within, now // MINUTE)
        known = self._remembered.get(one.name)
        if known is not None and known.reach is reach and known.asked == asked:
            return known.standing
        standing = _standing(one, reach, SearchContext(self._limits, one.base, now, strict=True), within)
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.clear()
        if len(self._queries) >= REMEMBERED_MAX:
            self._queries.clear()
        # Equal ones are one: what is told of one search is worked out once.
        standing = standing._replace(query=self._queries.setdefault(standing.query, standing.query))
        self._remembered[one.name] = _Remembered(asked, reach, standing)
        return standing


def _standing(one: Subscription, reach: Reach, context: SearchContext, within: bool) -> Standing:  # noqa: FBT001
    topic = topic_of(one.topic)
    if topic is None or not reaches(reach, topic.type, READS):
        raise Ended(LOST)
    try:
        query = standing_query(topic, one.filters, context)
    except ServiceError:  # Of filters that were understood once: no search would take them now.
        raise Ended(UNREADABLE) from None
    if refusals(query, partial(reaches, reach)):
        raise Ended(LOST)
    named = bounded(query) if within else query
    if named is None:
        raise Ended(UNBOUNDED)
    return Standing(narrowed(named, reach), reach.within(query.type, READS))
