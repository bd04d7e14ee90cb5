"""The port for registered clients: their keys, tenants and scopes. `store.mongo.clients` implements it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Protocol

from store.tenancy import Tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}")
"""The shape of a client's id: a UUID as upstream gives them, or a name."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A registered public key."""

    kid: str
    jwk: str
    """The public half as a JSON Web Key: canonical JSON."""
    added_at: datetime
    ends_at: datetime | None = None
    """The end of a key that another one replaced; None: it is in use."""


@dataclass(frozen=True, slots=True)
class Client:
    """A registered client: who it is, how it proves that, and what it may do."""

    id: str
    """The `client_id`: issuer and subject of its assertions."""
    name: str
    """A label for people; not a secret."""
    tenants: tuple[Tenant, ...]
    scopes: tuple[str, ...]
    """Scopes that its tokens may carry at most."""
    created_at: datetime
    tokens_since: datetime
    """Tokens issued until this moment are refused."""
    keys: tuple[PublicKey, ...] = ()
    jwks_url: str | None = None
    """URL at which the client publishes its keys, in place of registered ones."""
    external: bool = False
    """Whether its tokens come from the external issuer; it has no keys here."""
    disabled_at: datetime | None = None
    revision: int = 0
    """Counts the changes; 0: not stored yet."""

    def usable_keys(self, now: datetime) -> Iterator[PublicKey]:
        """The registered keys that have not ended."""
        return (key for key in self.keys if key.ends_at is None or now < key.ends_at)


class ClientStore(Protocol):
    """Registered clients, and the assertions that were used once; shared by all replicas."""

    async def client(self, client_id: str) -> Client | None:
        """The registered client, disabled or not; None when there is none."""

    async def clients(self) -> tuple[Client, ...]:
        """All registered clients, by id."""

    async def put(self, client: Client) -> bool:
        """Store a client in place of the revision it was read at; False when somebody changed it meanwhile.

        Revision 0 creates. What is stored has the next revision.
        """

    async def use_once(self, name: str, *, until: datetime) -> bool:
        """Note that an assertion was used; False when it was used before, at whichever replica.

        `name` is remembered until the moment given, and forgotten some time after.
        """
