"""Pages of searches and of histories, and batches of resources to index anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from store.search.criteria import PAGE_BYTES_MAX
from store.versions import Gone, Stored

if TYPE_CHECKING:
    from store.fhir.instants import Interval
    from store.resource_keys import ResourceKey
    from store.search.criteria import Moment, Position


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
