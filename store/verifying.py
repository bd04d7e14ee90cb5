"""Port for `dod verify-data`: everything that is stored, to be compared with what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.resources.resource_keys import ResourceKey
    from store.search.index import Indexed
    from store.tenancy import Tenant


class StoredVersion(NamedTuple):
    """A version of a resource as it is stored."""

    place: str
    """Document's `_id`: the next batch begins behind it."""
    key: ResourceKey
    version: int
    raw: bytes
    digest: bytes | None
    """Digest of the content; None: an older release stored none."""
    has_present_index: bool
    """Whether the present rules made its index. A past version has none."""
    agrees: Callable[[Indexed], bool]
    """Whether its stored index is this one."""


class StoredFile(NamedTuple):
    """A file as it is stored, and what its pieces come to."""

    place: str
    sha1: bytes
    length: int
    found_sha1: bytes
    found_length: int


class Verifying(Protocol):
    """Walks through what is stored of a tenant, in the order of `_id`, from behind `after`."""

    async def current(self, tenant: Tenant, *, after: str, limit: int) -> list[StoredVersion]:
        """The next current resources; tombstones, which have no content, are left out. Empty: no more."""

    async def past(self, tenant: Tenant, *, after: str, limit: int) -> list[StoredVersion]:
        """The next versions of the history. Empty: no more."""

    async def files(self, tenant: Tenant, *, after: str, limit: int) -> list[StoredFile]:
        """The next files, read whole. Empty: no more."""
