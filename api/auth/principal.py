"""Callers: what a checked bearer token amounts to. Handlers find it under `PRINCIPAL`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from api.auth.scopes import ADMIN, EVERY_TYPE, Part, rights_of
from store.search.reach import all_of, any_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from api.auth.access_tokens import AccessToken
    from ingest.caller import Caller
    from store.access import Grant
    from store.clients import Client
    from store.search.criteria import Clause
    from store.tenancy import Tenant

NOTHING: Final[frozenset[str]] = frozenset()
TOKEN_ID_LENGTH: Final = 12
"""Characters of a digest that name a token."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A client, the tenants it may reach and what it may do there."""

    client: str
    tenants: frozenset[Tenant]
    scopes: Mapping[str, frozenset[str]]
    """Resource type (or `*`) → letters of `cruds` granted for all of it."""
    expires_at: datetime
    token_id: str = ""
    """Name of the credential: the start of a token's digest, as `dod token list` shows it, or a client's key.
    """
    own: frozenset[str] = NOTHING
    """The service's own scopes."""
    parts: tuple[Part, ...] = ()
    """Parts of types, and what may be done with them."""

    @property
    def is_admin(self) -> bool:
        """Whether the token carries `dod/admin`."""
        return ADMIN in self.own

    @property
    def is_narrow(self) -> bool:
        """Whether some type is reached in part only."""
        return bool(self.parts)

    @property
    def narrowness(self) -> str:
        """A digest of the parts that are reached, for page links; empty when nothing is narrow."""
        if not self.parts:
            return ""
        told = sorted(f"{part.type}.{part.letters}?{part.query}" for part in self.parts)
        return blake2b("\n".join(told).encode(), digest_size=16).hexdigest()

    def may(self, type: str, letters: str) -> bool:
        """Whether all these letters of `cruds` are granted for the whole resource type."""
        everywhere, here = self.scopes.get(EVERY_TYPE, NOTHING), self.scopes.get(type, NOTHING)
        return all(letter in everywhere or letter in here for letter in letters)

    def within(self, type: str, letters: str) -> Clause | None:
        """Filter for resources where the letters are granted for a part of a type; None: not granted so."""
        found: list[Clause] = []
        for letter in letters:
            if self.may(type, letter):
                continue
            parts = [part.clause for part in self.parts if part.type == type and letter in part.letters]
            if not parts:
                return None
            found.append(any_of(parts))
        return all_of(found) if found else None


REGISTERED: Final = ("key ", "external")
"""Beginnings of the `token_id` of registered clients: their tokens are many, and count together."""


UNNAMED: Final = "client"
"""Name of the client of a token that was issued without one; many have it, who need not know each other."""


def owner_of(client: str, token_id: str) -> tuple[str, ...]:
    """The owner of what a credential made: a registered client, tokens of one name, or one unnamed token.

    DECISIONS.md#unnamed-tokens
    """
    if token_id.startswith(REGISTERED):
        return ("registered", client)
    return ("token", token_id) if client == UNNAMED else ("named", client)


def holder_of(caller: Caller) -> str:
    """The name under which requests are counted: a registered client's, else that of one credential."""
    registered = caller.token_id.startswith(REGISTERED)
    return caller.client if registered else f"{caller.client} {caller.token_id}"


def principal_of(grant: Grant) -> Principal:
    """The principal a grant stands for. Its scopes were checked when it was issued."""
    rights = rights_of(grant.scopes)
    return Principal(
        client=grant.client,
        tenants=frozenset(grant.tenants),
        scopes=rights.whole,
        expires_at=grant.expires_at,
        token_id=grant.digest[:TOKEN_ID_LENGTH],
        own=rights.own,
        parts=rights.parts,
    )


def principal_of_client(
    client: Client, token: AccessToken, scopes: Iterable[str], expires_at: datetime
) -> Principal:
    """The principal of an access token: its client as it is registered now, and the token's scopes."""
    rights = rights_of(scopes)
    return Principal(
        client=client.id,
        tenants=frozenset(client.tenants),
        scopes=rights.whole,
        expires_at=expires_at,
        token_id=f"key {token.kid}" if token.kid else "external",
        own=rights.own,
        parts=rights.parts,
    )
