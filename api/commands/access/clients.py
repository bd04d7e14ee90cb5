"""`dod client`, without the command line around it: registered clients and their keys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import orjson

from api.auth.key_sets import refuse_jwks_url
from api.auth.scopes import checked
from api.commands.access.tenants import existing_tenant
from store.clients import CLIENT_ID, Client, PublicKey
from store.errors import StartupError
from store.near import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta

    from ingest.http.forwarded import Networks
    from store.clients import ClientStore
    from store.stores import Stores
    from store.tenancy import Tenant

NEVER_BEFORE: Final = datetime(1970, 1, 1, tzinfo=UTC)
NAME_MAX: Final = 100
TRIES_MAX: Final = 10
"""Attempts at a change that others make at the same time."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Credential by which a client proves who it is: exactly one of these."""

    keys: Mapping[str, str] | None = None
    """kid → canonical JWK."""
    jwks_url: str | None = None
    external: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """Registration of a client."""

    tenants: tuple[Tenant, ...]
    scopes: tuple[str, ...]
    credential: Credential
    id: str | None = None
    """An id that the client has already, at upstream; None: a new one."""
    name: str = ""


def refuse_broken(told: Registration, *, allowed: Networks) -> None:
    """Raise ValueError with the rule that a registration breaks."""
    if told.id is not None and not CLIENT_ID.fullmatch(told.id):
        raise ValueError(
            "a client's id has 1 to 128 letters, digits or `._:/@-`, and begins with one of the first"
        )
    if not told.tenants:
        raise ValueError("a client is registered for one tenant or more")
    if len(told.name) > NAME_MAX or not told.name.isprintable():
        raise ValueError(f"a client's name has at most {NAME_MAX} characters, on one line")
    if not told.scopes:
        raise ValueError("a client is registered with one scope or more")
    checked(told.scopes)
    given = (told.credential.keys is not None, told.credential.jwks_url is not None, told.credential.external)
    if sum(given) != 1:
        raise ValueError("a client has its public keys, or a JWKS URL, or the external issuer: one of these")
    if told.credential.jwks_url is not None:
        refuse_jwks_url(told.credential.jwks_url, allowed)


def registered(told: Registration, *, now: datetime) -> Client:
    """The client that a registration makes."""
    client_id = told.id or str(uuid4())
    return Client(
        id=client_id,
        name=told.name or client_id,
        tenants=tuple(dict.fromkeys(told.tenants)),
        scopes=checked(told.scopes),
        created_at=now,
        tokens_since=NEVER_BEFORE,
        keys=_new_keys(told.credential.keys or {}, now),
        jwks_url=told.credential.jwks_url,
        external=told.credential.external,
    )


async def create_client(stores: Stores, told: Registration, *, now: datetime) -> Client:
    """Register a client. Raises StartupError for tenants that do not exist, and ids that do."""
    for tenant in told.tenants:
        await existing_tenant(stores.access, tenant)
    client = registered(told, now=now)
    if not await stores.clients.put(client):
        raise StartupError(f"There is a client {client.id} already; `dod client show {client.id}` shows it.")
    return client


async def existing_client(clients: ClientStore, client_id: str) -> Client:
    """A registered client. Raises StartupError when there is none."""
    client = await clients.client(client_id)
    if client is None:
        hint = near(client_id, [one.id for one in await clients.clients()])
        raise StartupError(f"There is no client {client_id}{hint}; `dod client list` shows all.")
    return client


async def change(clients: ClientStore, client_id: str, changed: Callable[[Client], Client]) -> Client:
    """Change a client, whatever others do to it meanwhile. Raises StartupError."""
    for _ in range(TRIES_MAX):
        before = await existing_client(clients, client_id)
        after = changed(before)
        if after == before or await clients.put(after):
            return after
    raise StartupError(f"The client {client_id} is changed by somebody else at the same time; try again.")


def disabled(client: Client, now: datetime) -> Client:
    """The client, stopped: it gets no token, and those it has are refused, also after it is enabled again."""
    return client if client.disabled_at else replace(client, disabled_at=now, tokens_since=now)


def enabled(client: Client) -> Client:
    """The client, let in again."""
    return replace(client, disabled_at=None)


def rotated(client: Client, credential: Credential, *, now: datetime, overlap: timedelta) -> Client:
    """The client with other keys; those before work on for the overlap, without one they end at once.

    Raises ValueError when a new key has the kid of another one that is still in use.
    """
    if client.external:
        raise ValueError("the keys of this client are those of the external issuer")
    ends = now + overlap
    new = credential.keys or {}
    for key in client.keys:
        if key.kid in new and new[key.kid] != key.jwk:
            raise ValueError("a new key has the `kid` of another key of the client: give it one of its own")
    staying = [key for key in client.keys if key.kid in new]
    leaving = [
        replace(key, ends_at=ends if key.ends_at is None else min(key.ends_at, ends))
        for key in client.usable_keys(now)
        if key.kid not in new and overlap
    ]
    kept = {key.kid for key in staying}
    added = _new_keys({kid: jwk for kid, jwk in new.items() if kid not in kept}, now)
    return replace(
        client,
        keys=(*leaving, *(replace(key, ends_at=None) for key in staying), *added),
        jwks_url=credential.jwks_url,
        tokens_since=client.tokens_since if overlap else now,
    )


def _new_keys(keys: Mapping[str, str], now: datetime) -> tuple[PublicKey, ...]:
    return tuple(PublicKey(kid, jwk, now) for kid, jwk in keys.items())


# --- shown


def client_rows(clients: Iterable[Client]) -> list[tuple[str, ...]]:
    """The table of `dod client list`, with its head."""
    rows: list[tuple[str, ...]] = [("ID", "NAME", "STATE", "TENANTS", "SCOPES", "CREDENTIAL")]
    for client in clients:
        tenants = ", ".join(map(str, client.tenants))
        rows.append(
            (client.id, client.name, _state(client), tenants, " ".join(client.scopes), _proof(client))
        )
    return rows


def _state(client: Client) -> str:
    return "enabled" if client.disabled_at is None else "disabled"


def _proof(client: Client) -> str:
    if client.external:
        return "external issuer"
    return client.jwks_url or f"{len(client.keys)} keys"


def shown(client: Client, *, now: datetime) -> str:
    """All that is known of a client, as lines; there is nothing secret in it."""
    lines = [
        f"id        {client.id}",
        f"name      {client.name}",
        f"state     {_state(client)}"
        + (f" since {_moment(client.disabled_at)}" if client.disabled_at else ""),
        f"created   {_moment(client.created_at)}",
        *_listed("tenants", map(str, client.tenants)),
        *_listed("scopes", client.scopes),
    ]
    if client.external or client.jwks_url:
        return "\n".join([*lines, f"keys      {_proof(client)}"])
    return "\n".join([*lines, *_listed("keys", [_key(key, now) for key in client.keys])])


def _key(key: PublicKey, now: datetime) -> str:
    kind = "RS384" if orjson.loads(key.jwk)["kty"] == "RSA" else "ES384"
    if key.ends_at is None:
        return f"{key.kid}  {kind}  since {_moment(key.added_at)}"
    word = "ended" if key.ends_at <= now else "ends"
    return f"{key.kid}  {kind}  since {_moment(key.added_at)}, {word} {_moment(key.ends_at)}"


def _listed(name: str, values: Iterable[str]) -> Sequence[str]:
    first, *others = list(values) or ["none"]
    return [f"{name:<10}{first}", *(f"{'':<10}{one}" for one in others)]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}Z"
