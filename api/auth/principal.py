"""Who asks: what a checked bearer token amounts to. Handlers find it under `PRINCIPAL`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from api.auth.scopes import ADMIN, EVERY_TYPE, merge_scopes

if TYPE_CHECKING:
    from store.access import Grant
    from store.tenancy import Tenant

NOTHING: Final[frozenset[str]] = frozenset()
TOKEN_ID_LENGTH: Final = 12
"""How much of a digest names a token."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A client, the tenants it may reach and what it may do there."""

    client: str
    tenants: frozenset[Tenant]
    scopes: Mapping[str, frozenset[str]]
    """Resource type (or `*`) → letters of `cruds`."""
    expires_at: datetime
    is_admin: bool = False
    token_id: str = ""
    """Start of the credential's digest, as `dod token list` shows it."""

    def may(self, type: str, letters: str) -> bool:
        """Whether all these letters of `cruds` are granted for this resource type."""
        everywhere, here = self.scopes.get(EVERY_TYPE, NOTHING), self.scopes.get(type, NOTHING)
        return all(letter in everywhere or letter in here for letter in letters)


def principal_of(grant: Grant) -> Principal:
    """The principal a grant stands for. Its scopes were checked when it was issued."""
    return Principal(
        client=grant.client,
        tenants=frozenset(grant.tenants),
        scopes=merge_scopes(grant.scopes),
        expires_at=grant.expires_at,
        is_admin=ADMIN in grant.scopes,
        token_id=grant.digest[:TOKEN_ID_LENGTH],
    )
