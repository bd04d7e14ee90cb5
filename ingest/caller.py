"""The caller of a push or a search, as far as ingest wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Caller(Protocol):
    """Who pushes or asks, as far as handlers want to know."""

    @property
    def client(self) -> str:
        """A name for logs and for what has no other source."""

    @property
    def token_id(self) -> str:
        """Which credential: the start of its digest, never a secret."""

    @property
    def scopes(self) -> Mapping[str, frozenset[str]]:
        """Resource type (or `*`) → letters of `cruds`."""

    @property
    def is_admin(self) -> bool:
        """Whether the token carries `dod/admin`."""

    def may(self, type: str, letters: str) -> bool:
        """Whether all these letters of `cruds` are granted for this resource type."""
