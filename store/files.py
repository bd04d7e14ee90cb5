"""The port of files: documents that are too large to stay inside the resource that brings them.

A file is named by what is in it, so the same bytes are kept once per tenant. It is there before the resource
that refers to it, and goes when nothing does any more: `collect` is the only way out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from datetime import datetime, timedelta

    from store.search.criteria import Clause
    from store.tenancy import Tenant

FILE_ID: Final = re.compile(r"file-[0-9a-f]{40}")
"""The ids of files among those of Binary; no client may take one for a resource of its own."""
CHUNK_BYTES: Final = 1_020 * 1_024
"""A file is written and read in pieces of this. Divisible by three, so that base64 needs no remainder."""
GRACE_SECONDS: Final = 3_600
"""Time that a file may wait for the resource that refers to it before it counts as an orphan."""
_REFERENCE: Final = re.compile(rb'"(?:[^"]*/)?Binary/(file-[0-9a-f]{40})(?:/_history/[0-9]+)?"')


class NewFile(NamedTuple):
    """A file to keep; `pieces` yields it, `CHUNK_BYTES` at a time, the last one shorter."""

    id: str
    size: int
    sha1: bytes
    content_type: str | None
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class File:
    """A file that is kept whole."""

    id: str
    size: int
    sha1: bytes
    content_type: str | None
    stored_at: datetime
    upload: object
    """The store's own name for this copy."""
    held: bool = False
    """Whether its client uploaded it for a message to come."""


@dataclass(frozen=True, slots=True)
class Collected:
    """Result of a step of the collector."""

    examined: int
    deleted: int
    freed: int
    """Bytes."""
    next: object | None
    """Position of the next step; None: that was the last."""


def references_to_files(raw: bytes) -> list[str]:
    """The ids of all files that a resource's bytes refer to, by whatever element."""
    if b"Binary/file-" not in raw:  # Nearly all have none.
        return []
    return sorted({found.decode() for found in _REFERENCE.findall(raw)})


class AttachmentStore(Protocol):
    """Every verb takes the tenant first, as those of `ResourceStore` do."""

    async def put(self, tenant: Tenant, files: Sequence[NewFile]) -> None:
        """Keep these; returns when all are journaled on a majority. What is there already is not sent.

        Each is safe from `collect` for `GRACE_SECONDS` from now on.
        """

    async def keep(self, tenant: Tenant, ids: Sequence[str]) -> None:
        """Make files that somebody is about to refer to safe from `collect`, as far as they are there."""

    async def hold(self, tenant: Tenant, ids: Sequence[str], *, until: datetime) -> None:
        """Make files that nobody refers to safe from `collect` until then."""

    async def release(self, tenant: Tenant, ids: Sequence[str]) -> None:
        """Have files that were held be safe for `GRACE_SECONDS` from now on, as all others are."""

    async def find(self, tenant: Tenant, file_id: str) -> File | None:
        """The file with this id; None: there is none."""

    async def is_referred_to(
        self,
        tenant: Tenant,
        file_id: str,
        *,
        types: Sequence[str],
        within: Sequence[tuple[str, Clause]] = (),
        names: Sequence[str] = (),
    ) -> bool:
        """Whether a current resource of one of these types, or one of these names, refers to a file.

        `within` are types of which only resources count that fulfil a clause; `names` are `Type/id`.
        """

    async def is_shown(self, tenant: Tenant, file_id: str) -> bool:
        """Whether any version that can still be read refers to a file, current or past."""

    async def patients_of(self, tenant: Tenant, file_id: str) -> tuple[str, ...]:
        """The patients whom the resources are about that refer to a file, current or past."""

    def read(self, tenant: Tenant, file: File, *, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`, piece by piece."""

    async def collect(
        self, tenant: Tenant, *, now: datetime, grace: timedelta, after: object | None, limit: int
    ) -> Collected:
        """Look at the next `limit` files and delete those that no version refers to, current or past.

        What is younger than `grace` stays. Safe to repeat, to stop anywhere, and while pushes go on.
        """
