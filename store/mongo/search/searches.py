"""Searches on MongoDB: chains resolved, one find for the page, a count when it takes one.

All of one search runs in one turn of a driver thread (`turns`), so it is written as plain calls of the
synchronous driver that Motor is made of. Quick searches of one turn share a connection, and one look-up of
where their chains by identifier lead, at a moment that they then read as well.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from store.errors import Category, ServiceError
from store.fair import Asker, Shares
from store.mongo.driver.guard import guarded
from store.mongo.driver.pinned_connection import Lane
from store.mongo.driver.read_batches import ReadBatches
from store.mongo.search import includes
from store.mongo.search.chains import look_up, resolve
from store.mongo.search.find_commands import examined, projection
from store.mongo.search.pace import Restraint
from store.mongo.search.pages import fitting, page_of
from store.mongo.search.snapshot import Batch, MomentForgottenError, View
from store.resources.pages import Page
from store.resources.resources import ResourceSearching
from store.search.criteria import Chain, Total, flat, steps
from store.search.planning.joins import joinable, shareable
from store.search.planning.leading_clause import drives
from store.search.planning.plan import Explanation, joined, plan
from store.spans import is_traced, spent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.mongo.driver.client import Database
    from store.mongo.rules.policies import Policies
    from store.mongo.search.includes import Included
    from store.search.criteria import Moment, Resolved, SearchQuery
    from store.search.planning.plan import FindPlan
    from store.settings import StoreSettings
    from store.tenancy import Tenant

QUICK_THREADS: Final = 4
"""Threads for searches that an index entry drives. More threads only fight for the interpreter."""
_OF_POOL: Final = 8
"""Share of the threads for quick searches: one thread is always there for others. Fewer for one client would
as many searches in a turn as one that has all."""
QUICK_TOGETHER: Final = 8
"""Quick searches that share a turn: each takes well under a millisecond."""


def quick_shares(pool_size: int) -> Shares:
    """Threads for quick searches: one is always there for others, fewer would leave MongoDB idle."""
    threads = max(2, min(QUICK_THREADS, pool_size // _OF_POOL))
    return Shares(threads - 1, threads - 1, threads)


@dataclass(slots=True)
class _Search:
    """Search that waits for its turn, and what the turn shares with it."""

    searches: Searches
    tenant: Tenant
    query: SearchQuery
    asker: Asker
    lane: Lane | None = None
    moment: Moment | None = None
    """Moment of the look-up."""
    targets: Resolved = field(default_factory=dict)
    nothing_ends: bool = False
    """Whether the tenant keeps everything, and has since its first day."""
    find: FindPlan | None = None
    """Plan of its page, once it is made."""
    seconds: float = 0.0
    """Time it took in its turn."""

    def __call__(self, left: float) -> Page:
        return self.searches.take(self, left)

    @property
    def chain(self) -> Chain | None:
        """Chain whose targets can be looked up with those of other searches; None: there is no such chain.

        A page link has a moment of its own, so its chains are looked up alone.
        """
        chain = joinable(flat(self.query.clauses)) if self.query.as_of is None else None
        return chain if chain is not None and shareable(chain) else None


class Searches(ResourceSearching):
    """The searching verbs of the port."""

    def __init__(  # noqa: PLR0913 -- all but the first keyword-only
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
        pulse: Pulse | None = None,
    ) -> None:
        self._pulse = pulse
        self._policies = policies
        self._database = database.delegate
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        waiting = settings.shares(settings.search_queue_max)
        self._quick = ReadBatches(
            threads=quick_shares(settings.pool_size),
            waiting=waiting,
            jobs_max=QUICK_TOGETHER,
            name="search",
            around=self._together,
            waited=metrics.read_waited,
        )
        slow = settings.shares(settings.pool_size // 4 or 1)
        self._restraint = Restraint(settings, alone=slow.client)
        # A search without a driving entry may run to its deadline, and one that has an index and is slow
        # nevertheless would hold up others in the same turn: they hold up only their like.
        self._slow = ReadBatches(
            threads=slow,
            waiting=waiting,
            jobs_max=1,
            name="search-slow",
            waited=metrics.read_waited,
            most=self._restraint.most,
            rest=self._restraint.rest,
        )
        metrics.reads(lambda: len(self._quick) + len(self._slow))

    def close(self) -> None:
        """Begin no more searches."""
        for turns in (self._quick, self._slow):
            turns.close()

    @override
    async def search(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Page:
        self._check()
        # Each round of includes is more finds: those that go on hold up only their like too.
        quick = drives(query) and not any(one.iterate for one in query.includes)
        asker, seconds = Asker(str(tenant), client), self._settings.search_timeout_seconds
        is_quick = quick and not self._restraint.is_slow(asker)
        if is_quick:
            self._restraint.came(asker)
        else:
            self._restraint.admit(asker, self._slow.waiting_of(asker))
        turns = self._quick if is_quick else self._slow
        search = _Search(self, tenant, query, asker, nothing_ends=self._nothing_ends(tenant))
        page = await turns.run(asker, search, seconds=seconds)
        if search.find is not None and is_traced():
            spent("find", search.seconds, shape=search.find.shape, index=str(search.find.hint))
        return page

    def _nothing_ends(self, tenant: Tenant) -> bool:
        """Whether no policy was ever set here, as far as writes and the audit remember.

        Nothing is asked for it: a total can be counted the long way as well.
        """
        known = self._policies.known(str(tenant))
        return known is not None and not known.policy.version

    @override
    async def explain(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Explanation:
        self._check()
        seconds = self._settings.search_timeout_seconds
        asker = Asker(str(tenant), client)
        return await self._slow.run(asker, lambda left: self._explain(tenant, query, left), seconds=seconds)

    def _check(self) -> None:
        """Raise ServiceError `unavailable` at once while MongoDB is away."""
        if self._pulse is not None:
            self._pulse.check_read()

    # --- in a thread

    @contextmanager
    def _together(self, turn: Sequence[_Search], left: float) -> Iterator[None]:
        """Look up what the searches of one turn share."""
        lane = Lane(self._database)
        asking: dict[Tenant, list[tuple[_Search, Chain]]] = defaultdict(list)
        for search in turn:
            search.lane = lane
            if (chain := search.chain) is not None:
                asking[search.tenant].append((search, chain))
        try:
            for tenant, asked in asking.items():
                self._look_up(lane, tenant, asked, left)
            yield
        finally:
            lane.give_back()

    def _look_up(
        self, lane: Lane, tenant: Tenant, asked: Sequence[tuple[_Search, Chain]], left: float
    ) -> None:
        """Look up chains together; without an answer, each search follows its own chain."""
        if left <= 0:
            return
        view = View(self._database, None, lane=lane)
        chains = [chain for _, chain in asked]
        with suppress(ServiceError, MomentForgottenError), guarded(self._metrics, "look_up", seconds=left):
            led = look_up(view, tenant, chains, now=self._clock())
            for search, _ in asked:
                search.moment, search.targets = view.moment, led

    def take(self, search: _Search, seconds: float) -> Page:
        """Page of a search, in its turn."""
        query, begun = search.query, monotonic()
        try:
            with guarded(self._metrics, "search", seconds=seconds):
                try:
                    view = View(self._database, query.as_of or search.moment, lane=search.lane)
                    return self._at(search, view, seconds, search.targets)
                except MomentForgottenError:
                    # Pages go on from where they were, through what is there now.
                    return self._at(search, View(self._database, None, latest=True), seconds, {})
        finally:
            search.seconds = monotonic() - begun
            self._restraint.took(search.asker, search.seconds)

    def _at(self, search: _Search, view: View, seconds: float, targets: Resolved) -> Page:
        tenant, query = search.tenant, search.query
        search.find = find = self._plan(view, tenant, query, targets)
        fields = {**projection(find), **includes.projection(query.includes)}
        matches = fitting(query, view.first(find, fields)) if query.count else Batch([], more=False)
        included: Included | None = None
        if query.includes and matches.documents:
            bound = self._settings.includes_max
            included = includes.follow(
                view, tenant, query, matches.documents, includes_max=bound, now=self._clock()
            )
            kept = matches.documents[: included.matches]
            matches = Batch(kept, more=matches.more or len(kept) < len(matches.documents))
        page = page_of(query, find, matches, view.moment)
        if included is not None:
            page = replace(
                page,
                included=included.entries,
                incomplete=not included.complete,
                unfound=included.unfound,
            )
        if page.total is None and query.total is not Total.NONE:
            total = self._count(view, find, search, seconds)
            page = replace(page, total=total, as_of=view.moment)
        return page

    def _explain(self, tenant: Tenant, query: SearchQuery, seconds: float) -> Explanation:
        with guarded(self._metrics, "explain", seconds=seconds):
            view = View(self._database, None, latest=True)
            chain = _Search(self, tenant, query, Asker(str(tenant), "")).chain
            led = {} if chain is None else look_up(view, tenant, [chain], now=self._clock())
            find = self._plan(view, tenant, query, led)
            explained = view.explain(find, projection(find))
        documents, keys, returned, stages = examined(explained)
        return Explanation(find.shape, find.hint, documents, keys, returned, tuple(stages))

    def _plan(self, view: View, tenant: Tenant, query: SearchQuery, targets: Resolved) -> FindPlan:
        now = self._clock()
        if all(step in targets for step in steps(query.clauses)):  # As it is without any.
            return plan(str(tenant), query, resolved=targets, now=now)
        at_once = joined(str(tenant), query, now=now)
        if at_once is not None:
            return at_once
        bound = self._settings.chain_matches_max
        resolved = resolve(view, tenant, query.type, query.clauses, matches_max=bound, now=now)
        return plan(str(tenant), query, resolved=resolved, now=now)

    def _count(self, view: View, find: FindPlan, search: _Search, seconds: float) -> int | None:
        """All matches; None when there are more than may be counted, or counting takes too long.

        A page can do without its total; an answer that is nothing else cannot.
        """
        query = search.query
        bound = self._settings.count_max if query.total is Total.BOUNDED else None
        at_most = None if bound is None else bound + 1
        try:
            with guarded(self._metrics, "count", seconds=seconds):
                count = view.count(find, at_most=at_most, nothing_ends=search.nothing_ends)
        except ServiceError as error:
            if bound is not None and query.count and error.category is Category.TIMEOUT:
                return None
            raise
        return None if bound is not None and count > bound else count
