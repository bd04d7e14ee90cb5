"""Runs: pieces of work that delete in batches, under a lease, and leave one receipt each. Values only.

`store.mongo.retention.runs` keeps them. A crash leaves a run open; whoever has the lease next goes on with
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SWEEP_LEASE: Final = "sweep"
"""Lease of the sweep. An erasure takes one named `erasure:` and what it erases: it waits for no sweep."""


class LeaseLost(Exception):  # noqa: N818 -- no error: another has taken over, and goes on
    """Somebody else holds the lease by now; nothing of the batch was done."""


class RunKind(StrEnum):
    """Purpose of a run."""

    SWEEP = "sweep"
    ERASURE = "erasure"
    OFF_BOARDING = "off-boarding"


class Reason(StrEnum):
    """Reason why something was deleted, or (the last two) was not."""

    RETENTION = "retention"
    """A current version whose time was over."""
    DELETED = "deleted"
    """The tombstone of a resource that a client had deleted."""
    SUPERSEDED = "superseded"
    """A past version, by its own age."""
    WITH_RESOURCE = "with-resource"
    """A past version that went with its resource."""
    DEAD_LETTER = "dead-letter"
    AUDIT = "audit"
    FILE = "file"
    """A file that nothing refers to any more."""
    ERASURE = "erasure"
    OFF_BOARDING = "off-boarding"
    HELD = "held"
    """A hold covers it, or something that needs it: kept."""
    NEEDED = "needed"
    """Something that has not expired needs it: kept."""


class Row(NamedTuple):
    """Key under which deletions are counted together."""

    tenant: str
    policy: int
    """Version of the policy by which it ended; 0: none."""
    type: str
    """Resource type; empty where there is none."""
    reason: str


Counts: TypeAlias = "Mapping[Row, int]"


class Batch(NamedTuple):
    """Result of a batch."""

    deleted: Counts
    skipped: Counts = {}  # noqa: RUF012 -- of a NamedTuple, never changed
    position: Mapping[str, Any] | None = None
    """Position of the next batch; None: as it was."""


@dataclass(frozen=True, slots=True)
class Run:
    """Run, as it was when it was begun or taken over."""

    id: str
    kind: RunKind
    lease: str
    started_at: datetime
    as_of: datetime
    """Moment by which things must have expired to be the run's business, however long it takes."""
    tenant: str = ""
    """Tenant that it is about; empty: all."""
    subject: str = ""
    """Keyed digest of whom an erasure is about."""
    reason: str = ""
    """Reason that the officer gave; free of identifiers."""
    position: Mapping[str, Any] | None = None
    takeovers: int = 0
    """Number of times that somebody went on with it after a crash."""
