"""The port between what a resource is and where it is kept: a protocol for each concern, and all as one.

ingest  ─ Prepared ─▶ put_many ─▶ PutResult      api ─ SearchQuery ─▶ search ─▶ Page of raw bytes

Every verb takes the tenant first and adds it to the filter itself; it cannot be left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from store.errors import ServiceError
    from store.resources.answers import Remembered, Slot
    from store.resources.pages import HistoryPage, HistoryQuery, Outdated, OutdatedBatch, Page, Reindexed
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import (
        Deletion,
        Gone,
        Known,
        Preceding,
        Prepared,
        Provided,
        PutResult,
        Released,
        SourceTime,
        Stored,
    )
    from store.search.criteria import SearchQuery
    from store.search.index import Indexed
    from store.search.planning.plan import Explanation
    from store.tenancy import Tenant

T = TypeVar("T")


class ResourceReading(Protocol):
    """Single resources and their versions."""

    async def get(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        """The current version, the deletion in its place, or None."""

    async def latest(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        """The newest version, durable yet or not, for who writes while it still is that; None: there is none.

        A writer must see whoever was faster, as `known` and `candidates` do; nobody else may be told of it.
        """

    async def newest(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, Stored]:
        """`latest` of several, in one command; what is not there, or deleted, is left out."""

    async def get_version(self, tenant: Tenant, key: ResourceKey, version: int) -> Stored | Gone | None:
        """A version, current or past; None when the resource or this version is not there."""

    async def versions(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """Numbers of the current versions; deleted and expired resources are left out."""


class ResourceSearching(Protocol):
    """Pages of resources that match a query."""

    async def search(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Page:
        """A page of matches. Each client has its share of the searches under way.

        Raises ServiceError `throttled` when too many searches of the client wait, `unavailable` when too many
        of all clients do.
        """

    async def explain(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Explanation:
        """Plan by which `search` would be answered: shape, index, documents examined."""


class ResourceHistory(Protocol):
    """Pages of versions."""

    async def history(self, tenant: Tenant, query: HistoryQuery) -> HistoryPage:
        """Versions, newest first, deletions among them."""


class ResourceWriting(Protocol):
    """Writes, each durable when its verb returns."""

    async def put_many(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult]:
        """Store each resource; returns when all are journaled on a majority. Results in the order given.

        A resource that `revives` and comes too late for that is not stored and has no result.
        Raises ServiceError `unavailable` or `timeout` when that is not certain: sending the same
        again is then safe, for identical content makes no new version.
        """

    def check_sizes(self, resources: Sequence[Prepared]) -> None:
        """Raise ServiceError `too-large` when a resource is longer than one may be."""

    async def put_each(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult | ServiceError]:
        """Result of each resource by itself, or the error that `put_many` would raise for it."""

    async def admit(self, tenant: Tenant, resources: Sequence[Prepared]) -> None:
        """Raise ServiceError `gone` when one of these would bring back what was erased on purpose.

        Each write asks by itself; this is for what must happen to all of them or to none.
        """

    async def delete(
        self,
        tenant: Tenant,
        key: ResourceKey,
        *,
        only_version: int | None = None,
        sourced: SourceTime = "",
        provided: tuple[Provided, ...] = (),
    ) -> Gone | None:
        """Delete; safe to repeat. None when there never was such a resource, or a newer one by its source, or
        a condition does not hold.

        Raises ServiceError `precondition` when `only_version` is given and not the current one.
        """

    async def retire(
        self,
        tenant: Tenant,
        versions: Mapping[ResourceKey, int],
        *,
        sourced: SourceTime,
        alone: bool = False,
    ) -> frozenset[ResourceKey]:
        """Delete companions that are still at these versions, for what a source said at this time.

        Returns the keys of those that went. The caller asks afterwards which of them are `released`. `alone`:
        they came by themselves, and are companions from now on.
        """

    async def atomically(self, work: Callable[[StoreInTransaction], Awaitable[T]]) -> T:
        """Result of `work`, whose writes are made all or none.

        The work runs again from its beginning when others change what it read, so it must have no effect but
        by the store it is given. Raises what the work raises, with nothing written; ServiceError `conflict`
        when others interfere until the deadline.
        """


class Companions(Protocol):
    """Resources that came along with a report, and leave with a version of it."""

    async def preceding(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int]
    ) -> dict[ResourceKey, Preceding]:
        """Versions that were current before these; a key is left out where nothing was, or a deletion."""

    async def unreferenced(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """Companions that no current resource of their patient refers to, with their current versions.

        The version is the one from before anybody was asked.
        """

    async def referring(
        self, tenant: Tenant, keys: Sequence[ResourceKey]
    ) -> dict[ResourceKey, set[ResourceKey]]:
        """Current resources of their patient that refer to these; a key is left out where there are none."""

    async def released(
        self, tenant: Tenant, keys: Sequence[ResourceKey], *, alone: bool = False
    ) -> list[Released]:
        """Companions that were retired though something current of their patient refers to them by now.

        With `alone` all that were retired: they have been pushed by themselves.
        """


class Identities(Protocol):
    """Evidence of who a resource is."""

    async def candidates(
        self, tenant: Tenant, wanted: Mapping[str, AbstractSet[str]], *, limit: int
    ) -> list[Known]:
        """Current resources that have one of these index entries, which are given by resource type.

        More than `limit` of them say that there are more.
        """

    async def known(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> list[Known]:
        """Current resources among these, as far as they tell who they are."""

    async def relate(
        self, tenant: Tenant, group: Mapping[str, AbstractSet[tuple[str, str]]]
    ) -> frozenset[str]:
        """Note on each of these Patients the ids of the others: a search by the number of one finds all.

        Each comes with numbers (system, value), of which it must still have one; none: with whatever it has.
        Returns the ids of those that do.
        """


class RequestAnswers(Protocol):
    """Answers to requests that must take effect once."""

    async def recall(self, tenant: Tenant, slot: Slot) -> Remembered | None:
        """The answer that was given to this request; None: none is remembered."""

    async def remember(self, tenant: Tenant, slot: Slot, answered: Remembered, *, anew: bool = False) -> None:
        """Keep the answer to a request; the first one stays, unless the request was done `anew`."""


class AnnouncedCreates(Protocol):
    """Answers to creates that are kept before the create is done."""

    async def announce(
        self, tenant: Tenant, slot: Slot, answered: Remembered, prepared: Prepared
    ) -> Remembered:
        """Keep the answer to a create before it is done. Returns what is kept: this one, or an earlier one.

        Durable when it returns. A caller whose answer is not `done` puts what it `creates`, with `only_once`,
        and then calls `fulfil`. Raises what the put would be refused with.
        """

    def fulfil(self, tenant: Tenant, slot: Slot) -> None:
        """Note that the announced resource is durable; it is marked so shortly."""

    async def withdraw(self, tenant: Tenant, slot: Slot) -> None:
        """Take an announcement back that nobody can do: the request may be another one the next time."""


class Reindexing(Protocol):
    """Search sides of stored resources, made anew."""

    async def outdated(self, tenant: Tenant, *, after: str | None, limit: int) -> OutdatedBatch:
        """Resources among the next `limit` that an older `INDEX_VERSION` indexed.

        Gives back fewer when their bytes are many.
        """

    async def reindex(self, tenant: Tenant, indexed: Sequence[tuple[Outdated, Indexed]]) -> Reindexed:
        """Replace the search side and nothing else, of resources that are still as they were given out."""


class ResourceStore(
    ResourceReading,
    ResourceSearching,
    ResourceHistory,
    ResourceWriting,
    Companions,
    Identities,
    RequestAnswers,
    AnnouncedCreates,
    Reindexing,
    Protocol,
):
    """The store of resources: all concerns as one."""


class StoreInTransaction(ResourceStore, Protocol):
    """The store within `atomically`: writes, `get` and `recall` are in the transaction, searches are not.

    A search sees what was acknowledged before, and nothing that this transaction writes.
    """

    async def write_many(
        self, tenant: Tenant, writes: Sequence[Prepared | Deletion]
    ) -> list[PutResult | Gone | None]:
        """Put and delete together, no resource twice. Raises ServiceError when one is refused."""

    async def claim(self, tenant: Tenant, slot: Slot, until: datetime) -> None:
        """Be the one who answers this request; whoever else claims it waits for the end of this."""

    async def begin(self) -> None:
        """Fix the moment that the transaction sees: what is changed behind it is a conflict."""

    async def pin(self, tenant: Tenant, keys: Sequence[ResourceKey], *, behind: Sequence[str] = ()) -> None:
        """Let nobody change these until the transaction has ended; who has meanwhile makes it run again.

        `behind`: ids of what was decided upon these, noted on each until its next version (`Known.identity`).
        """

    def overtaken(self) -> Exception:
        """Exception to raise when what the work decided upon turns out to be overtaken: it runs again."""
