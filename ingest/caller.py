"""The caller of a push or a search, as far as ingest wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from store.search.reach import Reach

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


class Caller(Reach, Protocol):
    """Client that pushes or asks, as far as handlers want to know."""

    @property
    def client(self) -> str:
        """A name for logs and for what has no other source."""

    @property
    def token_id(self) -> str:
        """Name of the credential: the start of its digest, never a secret."""

    @property
    def scopes(self) -> Mapping[str, frozenset[str]]:
        """Resource type (or `*`) → letters of `cruds`."""

    @property
    def is_admin(self) -> bool:
        """Whether the token carries `dod/admin`."""

    @property
    def own(self) -> AbstractSet[str]:
        """The service's own scopes."""
