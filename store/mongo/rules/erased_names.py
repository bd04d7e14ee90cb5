"""Tombstones of what was erased on purpose: pushes that name it are refused, as long as the policy says.

erasures   _id "org/env/<HMAC of a name>", tenant, at, until, groups [HMAC of each subject erased]
A tenant's `forgets` in `retention` says that there are some: of others nothing is asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from pymongo import UpdateOne

from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.driver.secrets import shared_secret
from store.mongo.indexes import ERASURES, SECRETS
from store.mongo.rules.policies import Policies
from store.retention.bodies.mentions import names_asked, names_in
from store.retention.erased_names import (
    SECRET,
    closed_tenant,
    digest,
    names_of,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.errors import ServiceError
    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Prepared
    from store.retention.erased_names import Name, Names
    from store.settings import StoreSettings
    from store.tenancy import Tenant

_AT_ONCE: Final = 10_000
"""Erased names placed, or asked for, in one command."""
_THREAD_BYTES: Final = 64_000
"""Size above which bodies are read beside the event loop."""


class NamedWrite(Protocol):
    """Write that is checked for erased names: a resource to be put, or to be deleted."""

    @property
    def tenant(self) -> Tenant:
        """Tenant that owns it."""

    @property
    def key(self) -> ResourceKey:
        """Type and id."""

    @property
    def prepared(self) -> Prepared | None:
        """Content to put; None: the resource is to be deleted."""

    @property
    def id(self) -> str:
        """Tells it from the others of its group."""


class ErasedNames:
    """The erased names of all tenants: places them, and knows what bears one."""

    def __init__(
        self,
        database: Database,
        *,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
        policies: Policies | None = None,
    ) -> None:
        self._erasures: Collection = durable(database, ERASURES)
        self._secrets: Collection = durable(database, SECRETS)
        self._seconds = settings.store_timeout_seconds
        self._policies = policies or Policies(database, settings=settings, metrics=metrics)
        self._clock = clock
        self._metrics = metrics
        self._secret: bytes | None = None

    # --- pushes

    async def refuse(self, writes: Sequence[NamedWrite]) -> dict[str, ServiceError]:
        """Refusals by `id` of writes for a tenant that has left, and of those that would bring back what was
        erased: one find, none where nothing was.

        Raises the driver's errors.
        """
        retention = await self._policies.of({str(write.tenant) for write in writes})
        closed = {write.id: closed_tenant() for write in writes if retention[str(write.tenant)].closed}
        putting = [(write, write.prepared) for write in writes if write.prepared is not None]
        forgetting = {one for one, told in retention.items() if told.forgets}
        if not forgetting:
            return closed
        asked = {
            write.id: (str(write.tenant), _names(write.key, prepared))
            for write, prepared in putting
            if str(write.tenant) in forgetting
        }
        found = await self._found(asked)
        return {name: refusal() for name in found} | closed

    async def admit(self, tenant: Tenant, resources: Sequence[Prepared]) -> None:
        """Raise ServiceError `gone` when one of these would bring back what was erased."""
        with guarded(self._metrics, "admit", seconds=self._seconds):
            if not await self._forgetting({str(tenant)}):
                return
            asked = {str(one.key): (str(tenant), _names(one.key, one)) for one in resources}
            found = await self._found(asked)
        if found:
            raise refusal()

    async def admit_letter(
        self, tenant: Tenant, body: bytes, path: str = "", conditions: Iterable[str] = ()
    ) -> None:
        """Raise ServiceError `gone` when a refused body must not be kept either: it names something that was
        erased, as may its path and conditions, or is of a tenant that has left.
        """

        async def names() -> frozenset[Name]:
            beside = len(body) > _THREAD_BYTES
            found = await asyncio.to_thread(names_in, body, path) if beside else names_in(body, path)
            return found.union(*map(names_asked, conditions))

        await self._admit(tenant, names)

    async def admit_named(self, tenant: Tenant, names: Iterable[Name]) -> None:
        """Raise ServiceError `gone` when one of these was erased, or the tenant has left."""

        async def told() -> Iterable[Name]:
            return names

        await self._admit(tenant, told)

    async def _admit(self, tenant: Tenant, names: Callable[[], Awaitable[Iterable[Name]]]) -> None:
        with guarded(self._metrics, "mentions", seconds=self._seconds):
            retention = (await self._policies.of((str(tenant),)))[str(tenant)]
            if retention.closed:
                raise closed_tenant()
            if retention.forgets and await self.known(tenant, await names()):
                raise refusal()

    async def _forgetting(self, tenants: set[str]) -> set[str]:
        """Tenants where something was erased, as was known at most `policy_cache_seconds` ago."""
        return {one for one, retention in (await self._policies.of(tenants)).items() if retention.forgets}

    async def _found(self, asked: Mapping[str, tuple[str, Names]]) -> set[str]:
        """Names of the asked resources that bear an erased name."""
        secret = await self._key()
        digests: dict[str, set[str]] = {}
        for name, (tenant, names) in asked.items():
            for one in (*names.strong, *names.weak):
                digests.setdefault(f"{tenant}/{digest(secret, tenant, one)}", set()).add(name)
        there = await self._there(digests)
        return {name for one in there for name in digests[one]}

    async def _there(self, ids: Iterable[str]) -> set[str]:
        wanted, found = sorted(ids), set()
        for start in range(0, len(wanted), _AT_ONCE):
            some = {"_id": {"$in": wanted[start : start + _AT_ONCE]}, "until": {"$gt": self._clock()}}
            cursor = self._erasures.find(some, {"_id": 1}, hint="_id_")
            found |= {one["_id"] for one in await cursor.to_list(None)}
        return found

    async def _key(self) -> bytes:
        if self._secret is None:
            self._secret = await shared_secret(self._secrets, SECRET)
        return self._secret

    # --- erasing

    async def digest_of(self, tenant: Tenant, name: Name) -> str:
        """Digest of a name: all that receipts and audit records say of whom."""
        with guarded(self._metrics, "erasure_secret", seconds=self._seconds):
            return digest(await self._key(), str(tenant), name)

    async def known(self, tenant: Tenant, names: Iterable[Name]) -> frozenset[Name]:
        """Erased names among these. Raises the driver's errors."""
        secret, owner = await self._key(), str(tenant)
        ids = {f"{owner}/{digest(secret, owner, one)}": one for one in names}
        return frozenset(ids[one] for one in await self._there(ids))

    async def place(
        self, tenant: Tenant, names: Iterable[Name], *, group: str, now: datetime, until: datetime
    ) -> None:
        """Place erased names; `group` is the digest of the subject that they belong to. Safe to repeat."""
        owner = str(tenant)
        with guarded(self._metrics, "place_tombstones", seconds=self._seconds):
            secret = await self._key()
            placed = [
                UpdateOne(
                    {"_id": f"{owner}/{digest(secret, owner, one)}"},
                    {
                        "$setOnInsert": {"tenant": owner, "at": now},
                        "$max": {"until": until},
                        "$addToSet": {"groups": group},
                    },
                    upsert=True,
                )
                for one in names
            ]
            for start in range(0, len(placed), _AT_ONCE):
                await self._erasures.bulk_write(placed[start : start + _AT_ONCE], ordered=False)
            await self._policies.note_erasure(tenant)

    async def finished(self, tenant: Tenant) -> None:
        """Searches no longer show what was there before."""
        with guarded(self._metrics, "finish_erasure", seconds=self._seconds):
            await self._policies.note_erased(tenant)

    async def lift(self, tenant: Tenant, name: Name) -> int:
        """Let come again all that was erased together with this name; how many erased names went."""
        owner = str(tenant)
        with guarded(self._metrics, "lift_tombstones", seconds=self._seconds):
            one = f"{owner}/{digest(await self._key(), owner, name)}"
            found = await self._erasures.find_one({"_id": one}, {"groups": 1})
            if found is None:
                return 0
            groups = {"tenant": owner, "groups": {"$in": found["groups"]}}
            await self._erasures.update_many(groups, {"$pull": {"groups": {"$in": found["groups"]}}})
            done = await self._erasures.delete_many({"tenant": owner, "groups": []})
        return int(done.deleted_count)


def _names(key: ResourceKey, prepared: Prepared) -> Names:
    return names_of(key, prepared.indexed.fields, prepared.indexed.keys, prepared.body.tail)
