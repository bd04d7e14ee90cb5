"""`ResourceStore` on MongoDB: one object with all verbs, each kept by the module that it is about."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from typing_extensions import override

from store.mongo.driver.guard import guarded
from store.mongo.driver.look_ups import LookUps
from store.mongo.driver.transaction import Interfered, OpenTransaction, run
from store.mongo.resources.announcements import Announcements
from store.mongo.resources.answers import Answers
from store.mongo.resources.companions import MongoCompanions
from store.mongo.resources.histories import Histories
from store.mongo.resources.identities import MongoIdentities
from store.mongo.resources.reading import Reading
from store.mongo.resources.reindexing import MongoReindexing
from store.mongo.resources.write_decision import write_of
from store.mongo.resources.writing import Writing
from store.mongo.rules.erased_names import ErasedNames
from store.mongo.search.searches import Searches
from store.resources.resources import StoreInTransaction
from store.resources.versions import Deletion, Gone, PutResult
from store.search.criteria import Moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.errors import ServiceError
    from store.metrics import StoreMetrics
    from store.mongo.driver.circuit_breaker import Pulse
    from store.mongo.driver.client import Database
    from store.mongo.rules.policies import Policies
    from store.resources.answers import Remembered, Slot
    from store.resources.pages import HistoryPage, HistoryQuery, Outdated, OutdatedBatch, Page, Reindexed
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import (
        Known,
        Preceding,
        Prepared,
        Provided,
        Released,
        SourceTime,
        Stored,
    )
    from store.search.criteria import SearchQuery
    from store.search.index import Indexed
    from store.search.planning.plan import Explanation
    from store.settings import StoreSettings
    from store.tenancy import Tenant

T = TypeVar("T")
_FORGOTTEN: Final = Moment(1, 1)
"""Moment that no database remembers: pages that ask for it go on through what is there now."""


class MongoResources(StoreInTransaction):
    """The port's verbs on one database; in `atomically`, on one transaction."""

    def __init__(  # noqa: PLR0913 (all but the first keyword-only)
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies,
        pulse: Pulse | None = None,
    ) -> None:
        self._client = database.client
        self._settings = settings
        self._metrics = metrics
        self._policies = policies
        self._erased_names = ErasedNames(
            database, settings=settings, clock=clock, metrics=metrics, policies=policies
        )
        self._writing = Writing(
            database,
            settings=settings,
            clock=clock,
            metrics=metrics,
            policies=policies,
            erased_names=self._erased_names,
            pulse=pulse,
        )
        self._reading = Reading(database, settings=settings, clock=clock, metrics=metrics)
        self._searches = Searches(
            database, settings=settings, clock=clock, metrics=metrics, policies=policies, pulse=pulse
        )
        self._histories = Histories(
            database, settings=settings, clock=clock, metrics=metrics, policies=policies
        )
        self._look_ups = LookUps(database, settings=settings)
        self._companions = MongoCompanions(
            database, settings=settings, clock=clock, metrics=metrics, look_ups=self._look_ups
        )
        self._identities = MongoIdentities(
            database, settings=settings, clock=clock, metrics=metrics, look_ups=self._look_ups
        )
        self._answers = Answers(
            database,
            settings=settings,
            clock=clock,
            metrics=metrics,
            policies=policies,
            erasures=self._erased_names,
            look_ups=self._look_ups,
        )
        self._announcements = Announcements(
            database,
            settings=settings,
            clock=clock,
            metrics=metrics,
            policies=policies,
            erasures=self._erased_names,
            pulse=pulse,
        )
        self._reindexing = MongoReindexing(database, settings=settings, metrics=metrics)

    async def drain(self) -> None:
        """Wait for the group commits under way, and begin no more searches."""
        await self._announcements.drain()
        await self._writing.drain()
        await self._answers.drain()
        self._look_ups.close()
        self._searches.close()

    # --- writing

    @override
    async def put_many(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult]:
        self._writing.check_sizes(resources)
        done = await self._writing.submit([write_of(tenant, one) for one in resources])
        return [result for result in done if isinstance(result, PutResult)]

    @override
    def check_sizes(self, resources: Sequence[Prepared]) -> None:
        self._writing.check_sizes(resources)

    @override
    async def put_each(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult | ServiceError]:
        return await self._writing.put_each(tenant, resources)

    @override
    async def write_many(
        self, tenant: Tenant, writes: Sequence[Prepared | Deletion]
    ) -> list[PutResult | Gone | None]:
        return await self._writing.write_many(tenant, writes)

    @override
    async def admit(self, tenant: Tenant, resources: Sequence[Prepared]) -> None:
        await self._erased_names.admit(tenant, resources)

    @override
    async def delete(
        self,
        tenant: Tenant,
        key: ResourceKey,
        *,
        only_version: int | None = None,
        sourced: SourceTime = "",
        provided: tuple[Provided, ...] = (),
    ) -> Gone | None:
        deletion = Deletion(key, only_version, sourced, provided)
        [done] = await self._writing.submit([write_of(tenant, deletion)])
        return done if isinstance(done, Gone) else None

    @override
    async def retire(
        self,
        tenant: Tenant,
        versions: Mapping[ResourceKey, int],
        *,
        sourced: SourceTime,
        alone: bool = False,
    ) -> frozenset[ResourceKey]:
        writes = [
            write_of(tenant, Deletion(key, version))._replace(retiring=sourced, alone=alone)
            for key, version in sorted(versions.items())
        ]
        done = await self._writing.submit(writes)
        return frozenset(one.key for one in done if isinstance(one, Gone))

    # --- several writes as one

    @override
    async def atomically(self, work: Callable[[StoreInTransaction], Awaitable[T]]) -> T:
        async def attempt(transaction: OpenTransaction) -> T:
            return await work(self._within(transaction))

        return await run(
            self._client, attempt, metrics=self._metrics, seconds=self._settings.store_timeout_seconds
        )

    def _within(self, transaction: OpenTransaction) -> MongoResources:
        """The store with its writes, reads of resources, clean-up and answers in a transaction."""
        within = copy.copy(self)
        within._writing = self._writing.within(transaction)  # noqa: SLF001 -- of our own kind
        within._reading = self._reading.within(transaction)  # noqa: SLF001
        within._companions = self._companions.within(transaction)  # noqa: SLF001
        within._identities = self._identities.within(transaction)  # noqa: SLF001
        within._answers = self._answers.within(transaction)  # noqa: SLF001
        return within

    @override
    async def begin(self) -> None:
        await self._reading.begin()

    @override
    async def pin(self, tenant: Tenant, keys: Sequence[ResourceKey], *, behind: Sequence[str] = ()) -> None:
        await self._reading.pin(tenant, keys, behind=behind)

    @override
    def overtaken(self) -> Exception:
        return Interfered()

    # --- reading

    @override
    async def get(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        return await self._reading.get(tenant, key)

    @override
    async def latest(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        return await self._reading.latest(tenant, key)

    @override
    async def newest(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Stored]:
        return await self._reading.newest(tenant, keys)

    @override
    async def get_version(self, tenant: Tenant, key: ResourceKey, version: int) -> Stored | Gone | None:
        return await self._reading.get_version(tenant, key, version)

    @override
    async def versions(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        return await self._reading.versions(tenant, keys)

    @override
    async def search(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Page:
        if query.as_of is not None:
            with guarded(self._metrics, "policy", seconds=self._settings.search_timeout_seconds):
                retention = (await self._policies.of([str(tenant)]))[str(tenant)]
            if retention.erased_at is not None and query.as_of.seconds <= retention.erased_at.timestamp() + 1:
                query = replace(query, as_of=_FORGOTTEN)
        return await self._searches.search(tenant, query, client=client)

    @override
    async def explain(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Explanation:
        return await self._searches.explain(tenant, query, client=client)

    @override
    async def history(self, tenant: Tenant, query: HistoryQuery) -> HistoryPage:
        return await self._histories.page(tenant, query)

    # --- companions and identities

    @override
    async def preceding(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int]
    ) -> dict[ResourceKey, Preceding]:
        return await self._companions.preceding(tenant, versions)

    @override
    async def unreferenced(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        return await self._companions.unreferenced(tenant, keys)

    @override
    async def referring(
        self, tenant: Tenant, keys: Sequence[ResourceKey]
    ) -> dict[ResourceKey, set[ResourceKey]]:
        return await self._companions.referring(tenant, keys)

    @override
    async def released(
        self, tenant: Tenant, keys: Sequence[ResourceKey], *, alone: bool = False
    ) -> list[Released]:
        return await self._companions.released(tenant, keys, alone=alone)

    @override
    async def candidates(
        self, tenant: Tenant, wanted: Mapping[str, AbstractSet[str]], *, limit: int
    ) -> list[Known]:
        return await self._identities.candidates(tenant, wanted, limit=limit)

    @override
    async def known(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> list[Known]:
        return await self._identities.known(tenant, keys)

    @override
    async def relate(
        self, tenant: Tenant, group: Mapping[str, AbstractSet[tuple[str, str]]]
    ) -> frozenset[str]:
        return await self._identities.relate(tenant, group)

    # --- answers to requests

    @override
    async def recall(self, tenant: Tenant, slot: Slot) -> Remembered | None:
        return await self._answers.recall(tenant, slot)

    @override
    async def claim(self, tenant: Tenant, slot: Slot, until: datetime) -> None:
        await self._answers.claim(tenant, slot, until)

    @override
    async def remember(self, tenant: Tenant, slot: Slot, answered: Remembered, *, anew: bool = False) -> None:
        await self._answers.remember(tenant, slot, answered, anew=anew)

    @override
    async def announce(
        self, tenant: Tenant, slot: Slot, answered: Remembered, prepared: Prepared
    ) -> Remembered:
        self._writing.check_sizes([prepared])
        return await self._announcements.announce(tenant, slot, answered, prepared)

    @override
    def fulfil(self, tenant: Tenant, slot: Slot) -> None:
        self._announcements.fulfil(tenant, slot)

    @override
    async def withdraw(self, tenant: Tenant, slot: Slot) -> None:
        await self._announcements.withdraw(tenant, slot)

    # --- reindexing

    @override
    async def outdated(self, tenant: Tenant, *, after: str | None, limit: int) -> OutdatedBatch:
        return await self._reindexing.outdated(tenant, after=after, limit=limit)

    @override
    async def reindex(self, tenant: Tenant, indexed: Sequence[tuple[Outdated, Indexed]]) -> Reindexed:
        return await self._reindexing.reindex(tenant, indexed)
