"""Pages of searches and of histories, and batches of resources to index anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from store.resources.versions import Gone, Stored
from store.search.criteria import PAGE_BYTES_MAX

if TYPE_CHECKING:
    from store.fhir.instants import Interval
    from store.resources.resource_keys import ResourceKey
    from store.search.criteria import Moment, Position


class Entry(NamedTuple):
    """Match of a search, or a resource that it brought along: its key, and its stored bytes."""

    key: ResourceKey
    raw: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """Page of matches, in order."""

    entries: tuple[Entry, ...]
    total: int | None
    """All matches of the query, when known exactly."""
    next: Position | None = None
    previous: Position | None = None
    included: tuple[Entry, ...] = ()
    """Resources that the matches bring along; none of them is a match on this page."""
    incomplete: bool = False
    """Whether its only match brings along more than a page may hold: the rest is not among `included`."""
    unfound: bool = False
    """Whether what refers to some resource on it was not looked for, since it names no patient."""
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
    """Earliest moment of a version; microseconds since 1970."""
    at: Interval | None = None
    """Time at some point of which a version was current; a deletion must have taken place in it."""
    position: Position | None = None
    """The page starts after this one."""
    total: bool = True
    """Count them, as far as the store's bound."""
    bytes_max: int = PAGE_BYTES_MAX
    """Bytes of the versions on a page; one is shown however large."""


class HistoryEntry(NamedTuple):
    """Version, or a deletion."""

    version: Stored | Gone
    created_by: str | None = None
    """`POST` or `PUT` where it was the creation, also of what had been deleted; None: an update."""
    stale: bool = False
    """Whether it came when something newer by the source's own time was there, and never was current."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Page of versions."""

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
    """Number of resources looked at, tombstones too."""
    outdated: tuple[Outdated, ...]
    next: str | None
    """Position of the next batch; None: that was the last."""


class Reindexed(NamedTuple):
    """Result of writing new search sides."""

    done: int
    too_large: tuple[ResourceKey, ...] = ()
    """Resources that would no longer fit into a stored document; left as they were."""
