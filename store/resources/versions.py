"""Resources on their way into the store and out of it: writes as prepared, versions as they are read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.resources.resource_keys import ResourceKey
    from store.search.index import Indexed


class Known(NamedTuple):
    """A stored resource as far as it tells who it is."""

    key: ResourceKey
    identity: Mapping[str, Any]
    """Evidence that was kept with it: `Prepared.identity`."""
    sourced: SourceTime
    retired: bool = False
    """A companion that left the current data, and may come back."""
    arrived: int = 0
    """Moment of its current version, in microseconds since 1970."""


ANY_VERSION: Final = -1
"""Value of `only_version` for any version, but there must be one (`If-Match: *`)."""
NO_VERSION: Final = -2
"""Value of `only_version` where there must be none."""


SourceTime: TypeAlias = str
"""Time that a source gives for a content: UTC instants of one width, the best evidence first, joined by
spaces, so that text compares as time does; what tells contents of one time apart may follow. Empty: it does
not say."""


def version_matches(wanted: int | None, current: int | None) -> bool:
    """Whether an `only_version` holds for the version that is current; None: there is none."""
    if wanted == NO_VERSION:
        return current is None
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


@lru_cache(maxsize=64)
def instant(moment: datetime) -> bytes:
    """A UTC datetime as a FHIR instant with milliseconds. Remembered: a group of writes is of one moment."""
    return moment.isoformat(timespec="milliseconds")[:23].encode() + b"Z"


class Provided(NamedTuple):
    """Condition of a write: a stored resource still is who it was taken for."""

    key: ResourceKey
    is_still: Callable[[Mapping[str, Any] | None], bool]
    """Whether the evidence that is stored now (`Prepared.identity`) says so; None: nothing is there. Pure."""


ANOTHER_BY_NOW: Final = Issue("conflict", "a stored record became another's meanwhile; try again")
"""Refusal for whoever decided by what was stored: look again who is who, and decide anew."""


class Prepared(NamedTuple):
    """Resource as the pure line of `ingest` prepares it for the store."""

    key: ResourceKey
    body: Unstamped
    digest: bytes
    """Digest of the content without versionId and lastUpdated: equal digests make no new version."""
    indexed: Indexed
    fresh: bool = False
    """The id is new as far as anybody knows: it is looked up only when it turns out to be there."""
    only_absent: bool = False
    """Create, but never replace: what is there already answers with `Outcome.EXISTS`."""
    only_once: bool = False
    """Create only once: what was there counts, too, deleted or expired."""
    only_version: int | None = None
    """Replace this version, or `ANY_VERSION`, or fail with `precondition` (`If-Match`)."""
    keeps_labels: bool = False
    """Refused with `LABELS_LEFT_OUT` in place of a resource that has labels of a kind that this has not."""
    posted: bool = False
    """Made by a POST: the history says so."""
    sourced: SourceTime = ""
    """Time that the source gives; an older one than what is stored answers `Outcome.STALE`."""
    companion: bool = False
    """Whether it came along with a report, and may leave the current data when no report refers to it any
    more.
    """
    revives: int | None = None
    """Number of the version as which it comes back from the history, or not at all when that number is taken.
    """
    restores: bool = False
    """Whether it takes a version back: it is as old as it was, whatever the time of that."""
    identity: Mapping[str, Any] | None = None
    """Evidence of who it is, kept as it is and given back by `candidates`."""
    said: Mapping[str, Any] | None = None
    """Evidence of what came otherwise than in a message: what messages told of who it is stays, as far as it
    agrees with this.
    """
    identity_keys: tuple[str, ...] = ()
    """Entries of the index by which `candidates` finds it, besides those of its search parameters."""
    derived_from: tuple[str, ...] = ()
    """`Type/id` of the records of the message that it was made of: they stay as long as it does."""
    provided: tuple[Provided, ...] = ()
    """Refused with `ANOTHER_BY_NOW` unless all of these hold when it is written."""
    unless_since: datetime | None = None
    """Refused with `NEWER_BY_NOW` when what is there has come, or gone, behind this moment."""


NEWER_BY_NOW: Final = Issue(
    "conflict",
    "the resource was changed after this was refused, and nothing says which of them is newer: discard the"
    " letter, or let a message say its time (`Bundle.timestamp`)",
)
"""Refusal for what is pushed again long after it was sent."""


LABELS: Final = ("tag", "security", "profile")
"""Elements of `meta` that an update keeps when it leaves them out. https://hl7.org/fhir/R4/resource.html#Meta"""


LABELS_LEFT_OUT: Final = Issue("conflict", "the update leaves out labels of the resource; try again")
"""Refusal for whoever prepares updates: take over what is there, and put that in the place of this version.
"""


class Outcome(StrEnum):
    """Outcome of a push."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    """Identical content: no new version."""
    EXISTS = "exists"
    """The resource was to be created only if absent, and is there. `Stored.raw` is empty."""
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


class Preceding(NamedTuple):
    """A version that was current before another one."""

    stored: Stored
    sourced: SourceTime
    """Time that its source gave."""


class Deletion(NamedTuple):
    """A resource to delete, among the writes of a transaction."""

    key: ResourceKey
    only_version: int | None = None
    sourced: SourceTime = ""
    """Time at which the source deleted it: what is newer by the source's own time stays."""
    provided: tuple[Provided, ...] = ()
    """Nothing is deleted unless all of these hold."""


class Released(NamedTuple):
    """A companion that left the current data with a version of a report, and should not have."""

    key: ResourceKey
    number: int
    """The version that it will be when it comes back."""
    raw: bytes
    """Bytes of its newest content, by the source's time."""
    sourced: SourceTime


def present(found: Stored | Gone | None) -> Stored:
    """Version that was found, if it is there. Raises ServiceError `gone` or `not-found`."""
    match found:
        case Stored():
            return found
        case Gone():
            raise ServiceError(Category.GONE, Issue("deleted", "the resource was deleted"))
        case None:
            raise ServiceError(Category.NOT_FOUND, Issue("not-found", "there is no such resource"))
