"""The port between what a resource is and where it is kept.

ingest  ─ Prepared ─▶ put_many ─▶ PutResult      api ─ SearchQuery ─▶ search ─▶ Page of raw bytes
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.criteria import PAGE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from store.answers import Remembered, Slot
    from store.fhir.instants import Interval
    from store.resource_keys import ResourceKey
    from store.search.criteria import Moment, Position, SearchQuery
    from store.search.index import Indexed
    from store.search.planning.plan import Explanation
    from store.tenancy import Tenant


T = TypeVar("T")


class Known(NamedTuple):
    """A stored resource as far as it tells who it is."""

    key: ResourceKey
    identity: Mapping[str, Any]
    """What was kept with it: `Prepared.identity`."""
    sourced: SourceTime
    retired: bool = False
    """A companion that left the current data, and may come back."""


ANY_VERSION: Final = -1
"""As `only_version`: whichever is current, but there must be one (`If-Match: *`)."""

SourceTime: TypeAlias = str
"""When a source says that a content is from: UTC instants of one width, the best evidence first, joined by
spaces, so that text compares as time does; what tells contents of one time apart may follow. Empty: it does
not say."""


def version_matches(wanted: int | None, current: int | None) -> bool:
    """Whether an `only_version` holds for the version that is current; None: there is none."""
    return wanted is None or (current is not None and wanted in (ANY_VERSION, current))


class Unstamped(NamedTuple):
    """A resource's JSON, serialised once, open at the two places only the store can fill.

    head + versionId + `","lastUpdated":"` + instant + tail are the bytes every later read returns.
    """

    head: bytes
    tail: bytes

    def stamp(self, version: int, last_updated: datetime) -> bytes:
        """The finished bytes. https://hl7.org/fhir/R4/resource.html#Meta"""
        return b'%b%d","lastUpdated":"%b%b' % (self.head, version, instant(last_updated), self.tail)


def instant(moment: datetime) -> bytes:
    """A UTC datetime as a FHIR instant with milliseconds."""
    return moment.isoformat(timespec="milliseconds")[:23].encode() + b"Z"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the pure line of `ingest` makes of one pushed resource."""

    key: ResourceKey
    body: Unstamped
    digest: bytes
    """Of the content without versionId and lastUpdated: equal digests make no new version."""
    indexed: Indexed
    fresh: bool = False
    """The id is new as far as anybody knows: it is looked up only when it turns out to be there."""
    only_absent: bool = False
    """Create, but never replace: what is there already answers with `Outcome.EXISTS`."""
    only_once: bool = False
    """The same, and what was there counts, too: deleted or expired, it was created once."""
    only_version: int | None = None
    """Replace this version, or `ANY_VERSION`, or fail with `precondition` (`If-Match`)."""
    keeps_labels: bool = False
    """Refused with `LABELS_LEFT_OUT` in place of a resource that has labels of a kind that this has not."""
    posted: bool = False
    """Made by a POST: the history says so."""
    sourced: SourceTime = ""
    """When the source says that it is from; an older one than what is stored answers `Outcome.STALE`."""
    companion: bool = False
    """It came along with a report, and may leave the current data when no report refers to it any more."""
    revives: int | None = None
    """It comes back from the history as this version, or, when that number is taken, not at all."""
    identity: Mapping[str, Any] | None = None
    """Evidence of who it is, kept as it is and given back by `candidates`."""
    identity_keys: tuple[str, ...] = ()
    """Entries of the index by which `candidates` finds it, besides those of its search parameters."""


LABELS: Final = ("tag", "security", "profile")
"""Elements of `meta` that an update keeps when it leaves them out. https://hl7.org/fhir/R4/resource.html#Meta"""
LABELS_LEFT_OUT: Final = Issue("conflict", "the update leaves out labels of the resource; try again")
"""For whoever prepares updates: take over what is there, and put that in the place of this version."""


class Outcome(StrEnum):
    """What a push did."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    """Identical content: no new version."""
    EXISTS = "exists"
    """It was to be created only if absent, and is there. `Stored.raw` is empty."""
    STALE = "stale"
    """A newer one, by the source's time, is current: kept in the history, `Stored` is that version."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A version of a resource as it is read back."""

    key: ResourceKey
    version: int
    last_updated: datetime
    raw: bytes


@dataclass(frozen=True, slots=True)
class PutResult:
    """The answer to one Prepared: what happened, and the version that is current now."""

    outcome: Outcome
    stored: Stored


@dataclass(frozen=True, slots=True)
class Gone:
    """A deletion: the id was used, the resource is no longer there."""

    key: ResourceKey
    version: int
    last_updated: datetime


class Deletion(NamedTuple):
    """A resource to delete, among the writes of a transaction."""

    key: ResourceKey
    only_version: int | None = None
    sourced: SourceTime = ""
    """When the source says that it was deleted: what is newer by the source's own time stays."""


class Released(NamedTuple):
    """A companion that left the current data with a version of a report, and should not have."""

    key: ResourceKey
    number: int
    """The version that it will be when it comes back."""
    raw: bytes
    """Of its newest content, by the source's time."""
    sourced: SourceTime


def present(found: Stored | Gone | None) -> Stored:
    """What was found, if it is there. Raises ServiceError `gone` or `not-found`."""
    match found:
        case Stored():
            return found
        case Gone():
            raise ServiceError(Category.GONE, Issue("deleted", "the resource was deleted"))
        case None:
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", "there is no such resource"))


class Entry(NamedTuple):
    """One match of a search, or what it brought along: which resource, and its stored bytes."""

    key: ResourceKey
    raw: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """One page of matches, in order."""

    entries: tuple[Entry, ...]
    total: int | None
    """All matches of the query, when known exactly."""
    next: Position | None = None
    previous: Position | None = None
    included: tuple[Entry, ...] = ()
    """What the matches bring along; none of them is a match on this page."""
    incomplete: bool = False
    """Its only match brings along more than a page may hold: the rest is not among `included`."""
    as_of: Moment | None = None
    """The moment that the other pages show as well; None when the store no longer remembers it."""

    @property
    def size(self) -> int:
        """Bytes of all resources on it."""
        return sum([len(raw) for _, raw in self.entries]) + sum([len(raw) for _, raw in self.included])


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Versions of one resource, or of all of a type, newest first."""

    type: str
    id: str | None = None
    """None: of the type."""
    count: int = 50
    since: int | None = None
    """Those made at or after it; microseconds since 1970."""
    at: Interval | None = None
    """Those that were current at some time of it; of deletions those that took place in it."""
    position: Position | None = None
    """The page starts after this one."""
    total: bool = True
    """Count them, as far as the store's bound."""
    bytes_max: int = PAGE_BYTES_MAX
    """Bytes of the versions on a page; one is shown however large."""


class HistoryEntry(NamedTuple):
    """One version, or a deletion."""

    version: Stored | Gone
    created_by: str | None = None
    """`POST` or `PUT` where it was the creation, also of what had been deleted; None: an update."""
    stale: bool = False
    """It came when something newer by the source's own time was there, and never was current."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """One page of versions."""

    entries: tuple[HistoryEntry, ...]
    total: int | None = None
    """All that match, when known exactly."""
    next: Position | None = None


@dataclass(frozen=True, slots=True)
class Outdated:
    """A current resource whose search side an older release made."""

    key: ResourceKey
    version: int
    raw: bytes
    digest: bytes
    index_version: int | None
    """None: the document says none."""


class OutdatedBatch(NamedTuple):
    """Some of a tenant's resources, in the order of the store."""

    examined: int
    """How many were looked at, tombstones too."""
    outdated: tuple[Outdated, ...]
    next: str | None
    """Where the next batch starts; None: that was the last."""


class Reindexed(NamedTuple):
    """What became of new search sides."""

    done: int
    too_large: tuple[ResourceKey, ...] = ()
    """What would no longer fit into a stored document; left as it was."""


class ResourceStore(Protocol):
    """Every verb takes the tenant first and adds it to the filter itself; it cannot be left out."""

    async def put_many(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult]:
        """Store each one; returns when all are journaled on a majority. Same order as given.

        One that `revives` and comes too late for that is not stored and has no result.
        Raises ServiceError `unavailable` or `timeout` when that is not certain: sending the same
        again is then safe, for identical content makes no new version.
        """

    async def admit(self, tenant: Tenant, resources: Sequence[Prepared]) -> None:
        """Raise ServiceError `gone` when one of these would bring back what was erased on purpose.

        Each write asks by itself; this is for what must happen to all of them or to none.
        """

    async def put_each(self, tenant: Tenant, resources: Sequence[Prepared]) -> list[PutResult | ServiceError]:
        """The same for each on its own: what `put_many` would raise for one of them is its answer."""

    async def get(self, tenant: Tenant, key: ResourceKey) -> Stored | Gone | None:
        """The current version, what is left of a deleted one, or None."""

    async def get_version(self, tenant: Tenant, key: ResourceKey, version: int) -> Stored | Gone | None:
        """One version, current or past."""

    async def delete(
        self,
        tenant: Tenant,
        key: ResourceKey,
        *,
        only_version: int | None = None,
        sourced: SourceTime = "",
    ) -> Gone | None:
        """Delete; safe to repeat. None when there never was such a resource, or a newer one by its source.

        Raises ServiceError `precondition` when `only_version` is given and not the current one.
        """

    async def preceding(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int]
    ) -> dict[ResourceKey, Stored]:
        """What was current before these versions; where nothing was, or it was a deletion, it is left out."""

    async def unreferenced(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """Those that came along with a report and that no current resource of their patient refers to.

        With the version that was current before anybody was asked.
        """

    async def retire(
        self, tenant: Tenant, versions: Mapping[ResourceKey, int], *, sourced: SourceTime
    ) -> frozenset[ResourceKey]:
        """Delete companions that are still at these versions, for what a source said at this time.

        Those that went. Whoever retires asks afterwards which of them are `released`.
        """

    async def released(
        self, tenant: Tenant, keys: Sequence[ResourceKey], *, alone: bool = False
    ) -> list[Released]:
        """Those that were retired though something current of their patient refers to them by now.

        With `alone` all that were retired: they have been pushed by themselves.
        """

    async def candidates(
        self, tenant: Tenant, wanted: Mapping[str, AbstractSet[str]], *, limit: int
    ) -> list[Known]:
        """The current resources that have one of these entries in the index, by resource type.

        More than `limit` of them say that there are more.
        """

    async def relate(self, tenant: Tenant, group: AbstractSet[str]) -> None:
        """Note on each of these Patients the ids of the others: a search by the number of one finds all."""

    async def search(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Page:
        """One page of what matches. Each client has its share of the searches under way.

        Raises ServiceError `throttled` when too many of its searches wait, `unavailable` when of all do.
        """

    async def history(self, tenant: Tenant, query: HistoryQuery) -> HistoryPage:
        """Versions, newest first; deletions among them."""

    async def explain(self, tenant: Tenant, query: SearchQuery, *, client: str = "") -> Explanation:
        """How `search` would be answered: shape, index, documents examined."""

    async def outdated(self, tenant: Tenant, *, after: str | None, limit: int) -> OutdatedBatch:
        """Look at the next `limit` resources for those that an older `INDEX_VERSION` indexed.

        Gives back fewer when their bytes are many.
        """

    async def reindex(self, tenant: Tenant, indexed: Sequence[tuple[Outdated, Indexed]]) -> Reindexed:
        """Replace the search side and nothing else, of those that are still as they were given out."""

    async def atomically(self, work: Callable[[Unit], Awaitable[T]]) -> T:
        """What `work` gives back, its writes made all or none.

        It runs again from its beginning when others change what it read, so it must have no effect but
        by the store it is given. Raises what it raises, with nothing written; ServiceError `conflict` when
        others interfere until the deadline.
        """

    async def recall(self, tenant: Tenant, slot: Slot) -> Remembered | None:
        """The answer that was given to this request."""

    async def remember(self, tenant: Tenant, slot: Slot, answered: Remembered, *, anew: bool = False) -> None:
        """Keep the answer to a request; the first one stays, unless the request was done `anew`."""

    async def versions(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> dict[ResourceKey, int]:
        """The versions that are current; deleted and expired resources are left out."""

    async def announce(
        self, tenant: Tenant, slot: Slot, answered: Remembered, prepared: Prepared
    ) -> Remembered:
        """Keep the answer to a create before it is done. What is kept: this one, or an earlier one.

        Durable when it returns. Who is given one that is not `done` puts what it `creates`, with `only_once`,
        and then says so. Raises what the put would be refused with.
        """

    def fulfil(self, tenant: Tenant, slot: Slot) -> None:
        """What was announced is durable; it is marked so shortly."""

    async def withdraw(self, tenant: Tenant, slot: Slot) -> None:
        """What was announced cannot be done, by nobody: the request may be another one the next time."""


class Unit(ResourceStore, Protocol):
    """The store within `atomically`: writes, `get` and `recall` are in the transaction, searches are not.

    A search sees what was acknowledged before, and nothing that this transaction writes.
    """

    async def write_many(
        self, tenant: Tenant, writes: Sequence[Prepared | Deletion]
    ) -> list[PutResult | Gone | None]:
        """Put and delete together, no resource twice. Raises ServiceError when one is refused."""

    async def claim(self, tenant: Tenant, slot: Slot, until: datetime) -> None:
        """Be the one who answers this request; whoever else claims it waits for the end of this."""

    def overtaken(self) -> Exception:
        """To be raised when what the work decided upon turns out to be overtaken: it runs again."""
