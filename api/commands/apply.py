"""Command `dod apply`, without the command line around it: a file of tenants, policies and clients.

The file is compared with what is there; each difference is a step. A second time there is none.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from api.auth.public_keys import keys_of_jwks
from api.commands.access.clients import (
    Credential,
    Registration,
    change,
    disabled,
    enabled,
    refuse_broken,
    registered,
    rotated,
)
from api.commands.retention.policies import put_policy
from store.errors import StartupError
from store.retention.declared import PolicyError
from store.retention.declared import declared as declared_policy
from store.tenancy import Handling, SearchScope, TenantSettings, parse_origins, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from ingest.http.forwarded import Networks
    from store.clients import Client
    from store.retention.policy import Policy
    from store.stores import Stores

OVERLAP_HOURS: Final = 24.0
_Names = Annotated[list[StrictStr], Field(max_length=1_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Tenant(_Strict):
    name: StrictStr
    search_scope: SearchScope = SearchScope.PATIENT
    handling: Handling | None = None
    stable_sources: _Names = []
    cors_origins: _Names = []
    policy: dict[str, Any] | None = None


class _Client(_Strict):
    id: StrictStr
    name: StrictStr = ""
    tenants: _Names
    scopes: _Names
    jwks: StrictStr | None = None
    jwks_url: StrictStr | None = None
    external: StrictBool = False
    disabled: StrictBool = False
    overlap_hours: Annotated[float, Field(ge=0, le=8_760)] = OVERLAP_HOURS


class _File(_Strict):
    tenant: list[_Tenant] = []
    client: list[_Client] = []


class DeclaredTenant(NamedTuple):
    """A tenant as the file has it."""

    settings: TenantSettings
    policy: Policy | None


class DeclaredClient(NamedTuple):
    """A client as the file has it."""

    told: Registration
    disabled: bool
    overlap: timedelta


class Declared(NamedTuple):
    """All that a file declares."""

    tenants: tuple[DeclaredTenant, ...]
    clients: tuple[DeclaredClient, ...]


class Step(NamedTuple):
    """A difference between the file and what is there, and how it is made good."""

    text: str
    do: Callable[[], Awaitable[object]]


def read(text: str, folder: Path, *, allowed: Networks) -> Declared:
    """Tenants and clients of a TOML text; its JWKS documents are in the folder. Raises StartupError."""
    try:
        file = _File.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise StartupError(f"The file is no TOML: {error}.") from None
    except ValidationError as error:
        told = error.errors(include_url=False, include_context=False, include_input=False)
        listed = "; ".join(f"`{'.'.join(map(str, one['loc']))}`: {one['msg']}" for one in told)
        raise StartupError(f"The file is refused: {listed}.") from None
    faults: list[str] = []
    tenants = list(_each("tenant", file.tenant, faults, _tenant))
    clients = list(_each("client", file.client, faults, lambda one: _client(one, folder, allowed)))
    faults += _repeated("tenant", [str(one.settings.tenant) for one in tenants])
    faults += _repeated("client", [one.told.id or "" for one in clients])
    if faults:
        raise StartupError(f"The file is refused: {'; '.join(faults)}.")
    return Declared(tuple(tenants), tuple(clients))


def _each(kind: str, listed: Iterable[Any], faults: list[str], make: Callable[[Any], Any]) -> Iterator[Any]:
    for number, one in enumerate(listed):
        try:
            yield make(one)
        except (ValueError, StartupError) as error:
            faults.append(f"`{kind}.{number}`: {error}")


def _repeated(kind: str, names: Sequence[str]) -> list[str]:
    return [f"`{kind}` {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]


def _tenant(one: _Tenant) -> DeclaredTenant:
    settings = TenantSettings(
        parse_tenant(one.name),
        one.search_scope,
        one.handling,
        stable_sources=frozenset(one.stable_sources),
        cors_origins=parse_origins(one.cors_origins),
    )
    try:
        policy = None if one.policy is None else declared_policy(one.policy)
    except PolicyError as error:
        raise ValueError(f"its policy is refused: {error}") from None
    return DeclaredTenant(settings, policy)


def _client(one: _Client, folder: Path, allowed: Networks) -> DeclaredClient:
    keys = None if one.jwks is None else keys_of_jwks(_bytes_of(folder / one.jwks))
    credential = Credential(keys, one.jwks_url, one.external)
    tenants = tuple(map(parse_tenant, one.tenants))
    told = Registration(tenants, tuple(one.scopes), credential, one.id, one.name)
    refuse_broken(told, allowed=allowed)
    return DeclaredClient(told, one.disabled, timedelta(hours=one.overlap_hours))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


# --- the plan


async def plan(stores: Stores, wanted: Declared, *, now: datetime, prune: bool) -> list[Step]:
    """The steps that lead to what the file declares, tenants first. Raises StartupError."""
    steps: list[Step] = []
    for tenant in wanted.tenants:
        steps += await _tenant_steps(stores, tenant, now)
    known = {one.settings.tenant for one in wanted.tenants}
    known |= {one.tenant for one in await stores.access.tenants()}
    there = {one.id: one for one in await stores.clients.clients()}
    for client in wanted.clients:
        missing = [str(tenant) for tenant in client.told.tenants if tenant not in known]
        if missing:
            raise StartupError(f"The client {client.told.id} names no tenant: {', '.join(missing)}.")
        steps += _client_steps(stores, client, there.get(client.told.id or ""), now)
    if prune:
        named = {one.told.id for one in wanted.clients}
        steps += [
            Step(
                f"- client {one.id}: disabled, the file does not name it",
                partial(_disable, stores, one.id, now),
            )
            for one in there.values()
            if one.id not in named and one.disabled_at is None
        ]
    return steps


async def _tenant_steps(stores: Stores, wanted: DeclaredTenant, now: datetime) -> list[Step]:
    settings, name = wanted.settings, wanted.settings.tenant
    before, steps = await stores.access.tenant(name), []
    if before != settings:
        said = "created" if before is None else ", ".join(_changes(before, settings))
        steps.append(
            Step(
                f"{'+' if before is None else '~'} tenant {name}: {said}",
                lambda: stores.access.put_tenant(settings),
            )
        )
    policy = wanted.policy
    if policy is not None and not (await stores.policies.retention(name)).policy.says(policy):
        text = f"~ tenant {name}: another retention policy"
        steps.append(Step(text, lambda: put_policy(stores, name, policy, now=now)))
    return steps


def _changes(before: TenantSettings, after: TenantSettings) -> Iterator[str]:
    for field in ("search_scope", "handling", "stable_sources", "cors_origins"):
        old, new = getattr(before, field), getattr(after, field)
        if old != new:
            yield f"{field} {_said(old)} → {_said(new)}"


def _said(value: object) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "none"
    return "-" if value is None else str(value)


def _client_steps(
    stores: Stores, wanted: DeclaredClient, before: Client | None, now: datetime
) -> Iterator[Step]:
    if before is None:
        made = _after(registered(wanted.told, now=now), wanted, now)
        tenants = ", ".join(map(str, made.tenants))
        text = f"+ client {made.id}: {tenants}; {' '.join(made.scopes)}; {_proof(made)}"
        yield Step(text, lambda: _create(stores, made))
        return
    after = _after(before, wanted, now)
    if after != before:
        changed = ", ".join(_differences(before, after))
        yield Step(f"~ client {after.id}: {changed}", lambda: _change(stores, wanted, now))


def _after(before: Client, wanted: DeclaredClient, now: datetime) -> Client:
    """The client as the file would have it. Raises StartupError."""
    told, credential = wanted.told, wanted.told.credential
    if before.external is not credential.external:
        raise StartupError(
            f"The client {before.id} has {'no ' if before.external else ''}keys of its own: another kind of"
            " client takes another id."
        )
    after = replace(
        before, name=told.name or before.id, tenants=tuple(dict.fromkeys(told.tenants)), scopes=told.scopes
    )
    used = {key.kid: key.jwk for key in before.keys if key.ends_at is None}
    if used != dict(credential.keys or {}) or before.jwks_url != credential.jwks_url:
        try:
            after = rotated(after, credential, now=now, overlap=wanted.overlap)
        except ValueError as error:
            raise StartupError(f"The client {before.id}: {error}.") from None
    return disabled(after, now) if wanted.disabled else enabled(after)


def _differences(before: Client, after: Client) -> Iterator[str]:
    if before.name != after.name:
        yield f"name {after.name}"
    yield from _listed("tenants", map(str, before.tenants), map(str, after.tenants))
    yield from _listed("scopes", before.scopes, after.scopes)
    old, new = ({key.kid for key in one.keys if key.ends_at is None} for one in (before, after))
    yield from _listed("keys", old, new)
    if before.jwks_url != after.jwks_url:
        yield f"JWKS URL {after.jwks_url or 'none'}"
    if (before.disabled_at is None) is not (after.disabled_at is None):
        yield "enabled" if after.disabled_at is None else "disabled"
    if before.keys != after.keys and old == new:
        yield "a key"


def _listed(name: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    before, after = set(old), set(new)
    signs = [*(f"+{one}" for one in sorted(after - before)), *(f"-{one}" for one in sorted(before - after))]
    if signs:
        yield f"{name} {' '.join(signs)}"


def _proof(client: Client) -> str:
    if client.external:
        return "tokens of the external issuer"
    return client.jwks_url or f"keys {' '.join(key.kid for key in client.keys)}"


# --- the steps


async def _create(stores: Stores, made: Client) -> None:
    if not await stores.clients.put(made):
        raise StartupError(f"The client {made.id} was made by somebody else meanwhile; apply again.")


async def _change(stores: Stores, wanted: DeclaredClient, now: datetime) -> None:
    await change(stores.clients, wanted.told.id or "", lambda one: _after(one, wanted, now))


async def _disable(stores: Stores, client_id: str, now: datetime) -> None:
    await change(stores.clients, client_id, lambda one: disabled(one, now))


async def carry_out(steps: Sequence[Step], say: Callable[[str], None], *, dry_run: bool) -> None:
    """Do the steps, in order, each told of before it is done; in a dry run told of only."""
    for step in steps:
        say(step.text)
        if not dry_run:
            await step.do()
    number = f"{len(steps)} change{'' if len(steps) == 1 else 's'}"
    say("Nothing to change." if not steps else f"{number} to make." if dry_run else f"{number} made.")
