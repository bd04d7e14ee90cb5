"""Holders of subscriptions: the reach that a subscriber had when it asked, and what is left of it now.

A revoked or expired token, and a client that was disabled, lost the tenant or had its credentials ended, hear
nothing more. A client whose scopes were cut hears of what is left.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from api.auth.principal import REGISTERED, TOKEN_ID_LENGTH, Principal, owner_of
from api.auth.scopes import LETTERS, granted, rights_of
from api.ttl_cache import TtlCache
from store.search.reach import Everything
from store.subscriptions.records import Holder

if TYPE_CHECKING:
    from collections.abc import Callable

    from store.access import AccessStore, Grant
    from store.clients import Client, ClientStore
    from store.search.reach import Reach
    from store.subscriptions.records import Subscription
    from store.tenancy import Tenant

FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
LOST: Final = (
    "the credential that asked for it was revoked, has expired, or no longer reaches the tenant: `PUT` it"
    " with a good one, and read what changed meanwhile by `_lastUpdated`"
)
OPERATOR: Final = Everything()


class Known(NamedTuple):
    """A registered client, or the grants of bearer tokens under its name, as they are now."""

    client: Client | None
    grants: tuple[Grant, ...]


def holder_of(principal: Principal, *, now: datetime) -> Holder:
    """The holder that a caller becomes."""
    return Holder(principal.client, principal.token_id, scopes_of(principal), now)


def app_of(one: Subscription) -> tuple[str, ...]:
    """Tenant and app of a subscription: what one app's receivers do holds up no other app's."""
    holder = one.holder
    owner = () if holder is None else owner_of(holder.client, holder.token_id)
    return str(one.tenant), " ".join(owner)


def scopes_of(principal: Principal) -> tuple[str, ...]:
    """The scopes of a caller as they are written, without the service's own."""
    whole = (
        f"system/{name}.{''.join(letter for letter in LETTERS if letter in letters)}"
        for name, letters in sorted(principal.scopes.items())
        if letters
    )
    parts = (f"system/{part.type}.{part.letters}?{part.query}" for part in principal.parts)
    return (*whole, *parts)


def reach_of(holder: Holder | None, known: Known, tenant: Tenant, now: datetime) -> Reach | None:
    """The reach of a holder now; None: it hears nothing more."""
    if holder is None:
        return OPERATOR
    if holder.token_id.startswith(REGISTERED):
        client = known.client
        if client is None or client.disabled_at is not None or tenant not in client.tenants:
            return None
        if holder.since <= client.tokens_since:
            return None
        return _principal(holder.client, holder.token_id, tenant, _left(holder.scopes, client.scopes))
    for grant in known.grants:
        is_it = grant.client == holder.client and grant.digest[:TOKEN_ID_LENGTH] == holder.token_id
        if is_it and tenant in grant.tenants and now < grant.expires_at:
            return _principal(holder.client, holder.token_id, tenant, holder.scopes)
    return None


@lru_cache(maxsize=1_000)
def _left(scopes: tuple[str, ...], allowed: tuple[str, ...]) -> tuple[str, ...]:
    left: list[str] = []
    for one in scopes:
        left += granted((one,), allowed)
    return tuple(left)


@lru_cache(maxsize=1_000)
def _principal(client: str, token_id: str, tenant: Tenant, scopes: tuple[str, ...]) -> Principal:
    rights = rights_of(scopes)
    return Principal(
        client=client,
        tenants=frozenset({tenant}),
        scopes=rights.whole,
        expires_at=FOREVER,
        token_id=token_id,
        own=rights.own,
        parts=rights.parts,
    )


class Holders:
    """Reaches of holders, remembered for a moment."""

    def __init__(
        self,
        access: AccessStore,
        clients: ClientStore,
        *,
        clock: Callable[[], datetime],
        seconds: float,
    ) -> None:
        self._access = access
        self._clock = clock
        self._ask_client = clients.client
        self._clients: TtlCache[str, Client] = TtlCache(clients.client, seconds=seconds)
        self._grants: TtlCache[str, tuple[Grant, ...]] = TtlCache(self._all_grants, seconds=seconds)

    async def reach(self, subscription: Subscription, memory: dict[str, Known] | None = None) -> Reach | None:
        """The reach of a subscription's holder now; None: it hears nothing more.

        `memory` has what was asked for others at the same moment.
        """
        holder = subscription.holder
        if holder is None:
            return OPERATOR
        name = holder.client if holder.token_id.startswith(REGISTERED) else ""
        known = None if memory is None else memory.get(name)
        if known is None:
            known = await self._known(name)
            if memory is not None:
                memory[name] = known
        reach = reach_of(holder, known, subscription.tenant, self._clock())
        if reach is None:  # What is remembered may be older than a token that was issued a moment ago.
            reach = reach_of(holder, await self._fresh(name), subscription.tenant, self._clock())
        return reach

    async def _fresh(self, client: str) -> Known:
        if client:
            return Known(await self._ask_client(client), ())
        return Known(None, await self._access.grants())

    async def _known(self, client: str) -> Known:
        """A registered client; without a name all grants."""
        if client:
            return Known(await self._clients.get(client), ())
        return Known(None, await self._grants.get("") or ())

    async def _all_grants(self, _: str) -> tuple[Grant, ...]:
        return await self._access.grants()
