"""A changed policy applied to what is stored already: type by type, what needs others before what it needs.

In batches, each safe to repeat; the place reached is kept beside the policy, so that a crash costs one batch.
Who still goes by the policy before (`policy_cache_seconds`) is caught up with for a while after a change.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bson import ObjectId
from pymongo import UpdateOne

from store.audit.records import STRANGER_DAYS
from store.fhir.instants import Interval, to_datetime
from store.fhir.resource_types import RESOURCE_TYPES
from store.mongo.documents import ending
from store.mongo.driver.client import durable
from store.mongo.driver.guard import guarded
from store.mongo.indexes import AUDIT, DEAD_LETTERS, HISTORY, RESOURCES, RETENTION
from store.mongo.resources.dependents import Dependents, Touched, needed
from store.retention.needs import ORDER, needs_of
from store.retention.policy import NEVER, ends
from store.retrying import pause_before
from store.search.parameters import TYPES, SearchType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.mongo.rules.policies import Policies
    from store.retention.policy import Policy
    from store.settings import StoreSettings
    from store.tenancy import Tenant

CATCH_UP: Final = timedelta(minutes=10)
"""Time after a change; longer than any push is under way and any policy remembered."""
_SLACK: Final = timedelta(minutes=1)
"""Difference that the clocks of replicas may have."""
_ATTEMPTS_MAX: Final = 20
_BEHIND_SLASH: Final = chr(ord("/") + 1)
_OTHERS: Final = sorted(RESOURCE_TYPES - set(ORDER))
_TYPES: Final = tuple(chain.from_iterable(_OTHERS if name == "*" else (name,) for name in ORDER))
PLACES: Final = (
    *(f"{RESOURCES}/{name}" for name in (_TYPES[0], "Observation", *_TYPES[1:])),
    # Observations twice: some are members of others.
    *(f"{HISTORY}/{name}" for name in _TYPES),
    DEAD_LETTERS,
    AUDIT,
)
"""All places of a tenant, in the order in which they are settled."""


class _Place(NamedTuple):
    """Position up to which a policy has been applied."""

    version: int
    number: int = 0
    """Index in `PLACES`; past the last one it is done."""
    after: str = ""
    """The `_id` reached within it."""


class Settling:
    """Brings documents up to the current policy of their tenant."""

    def __init__(
        self,
        database: Database,
        *,
        policies: Policies,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._resources: Collection = durable(database, RESOURCES)
        self._history: Collection = durable(database, HISTORY)
        self._retention: Collection = durable(database, RETENTION)
        self._latest: Collection = database[RESOURCES]
        self._aged = {name: durable(database, name) for name in (DEAD_LETTERS, AUDIT)}
        self._ties = Dependents(database)
        self._settings = settings
        self._policies = policies
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics

    async def step(self, tenant: Tenant, *, limit: int = 500) -> bool:
        """Look at the next documents of a tenant; whether there are more. Safe to repeat and to stop."""
        policy = (await self._policies.retention(tenant)).policy
        if not policy.version:
            return False
        with guarded(self._metrics, "settle", seconds=self._seconds):
            place = await self._place(tenant, policy)
            if place.number >= len(PLACES):
                await self._catch_up(tenant, policy, limit)
                return False
            last = await self._settle_at(tenant, policy, place, limit)
            following = place._replace(after=last) if last else _Place(policy.version, place.number + 1)
            await self._retention.update_one(
                {"_id": str(tenant), "version": policy.version}, {"$set": {"settled": following._asdict()}}
            )
        return True

    async def _settle_at(self, tenant: Tenant, policy: Policy, place: _Place, limit: int) -> str | None:
        """The next documents of a place; the `_id` of the last one, or None when that was all."""
        collection, _, resource_type = PLACES[place.number].partition("/")
        if collection == AUDIT:
            return await self._settle_audit(tenant, policy, place.after, limit)
        if not resource_type:
            await self._settle_letters(tenant, policy)
            return None
        prefix = f"{tenant}/{resource_type}"
        wanted = {"_id": {"$gt": place.after or f"{prefix}/", "$lt": f"{prefix}{_BEHIND_SLASH}"}}
        of = self._settle if collection == RESOURCES else self._settle_past
        return await of(tenant, policy, wanted, limit)

    async def is_settled(self, tenant: Tenant) -> bool:
        """Whether all that is stored goes by the current policy."""
        policy = (await self._policies.retention(tenant)).policy
        with guarded(self._metrics, "settled", seconds=self._seconds):
            return not policy.version or (await self._place(tenant, policy)).number >= len(PLACES)

    async def _place(self, tenant: Tenant, policy: Policy) -> _Place:
        document = await self._retention.find_one({"_id": str(tenant)}, {"settled": 1})
        place = _Place(**document["settled"]) if document and "settled" in document else _Place(0)
        return place if place.version == policy.version else _Place(policy.version)

    async def _catch_up(self, tenant: Tenant, policy: Policy, limit: int) -> None:
        if self._clock() > policy.made_at + CATCH_UP:
            return
        since = int((policy.made_at - _SLACK - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
        for resource_type in _TYPES:
            of_type = {"tenant": str(tenant), "type": resource_type, "updated.lo": {"$gte": since}}
            older: Mapping[str, Any] = {**of_type, "policy": {"$ne": policy.version}}
            while await self._settle(tenant, policy, older, limit):
                pass

    # --- current documents

    async def _settle(
        self, tenant: Tenant, policy: Policy, wanted: Mapping[str, Any], limit: int
    ) -> str | None:
        """Settle the first of these; the `_id` of the last one, or None when there was none."""
        last = None
        for attempt in range(_ATTEMPTS_MAX):
            await pause_before(attempt)
            heads: dict[str, dict[str, Any]] = {}
            async for found in self._resources.find(wanted, _FIELDS, sort=[("_id", 1)], limit=limit):
                heads[found["_id"]] = _head(found, policy)
            last = max(heads, default=None)
            changes = await self._changes(tenant, policy, heads)
            done = await self._resources.bulk_write(changes, ordered=False) if changes else None
            if done is None or done.matched_count == len(changes):
                await self._follow(tenant, heads)
                return last
        return last  # Somebody writes them all the while, by the policy that is current.

    async def _follow(self, tenant: Tenant, heads: Mapping[str, dict[str, Any]]) -> None:
        """Bring up resources that need others of their own type: these may have been settled after them."""
        names = {
            one
            for head in heads.values()
            for one in head.get("now_needs", ())
            if one.startswith(f"{head['type']}/")
        }
        if names:
            await asyncio.to_thread(self._ties.tie, str(tenant), Touched(looked=names))

    async def _changes(self, tenant: Tenant, policy: Policy, heads: Mapping[str, dict[str, Any]]) -> Any:  # noqa: ANN401 -- an async iterator of writes
        living = [name for name, head in heads.items() if "deleted" not in head]
        needers: dict[str, datetime | None] = {}
        if living:
            fields = {"needed_as": {"$concat": ["$type", "/", "$id"]}}
            stages = needed(str(tenant), {"_id": {"$in": living}}, fields)
            async for found in self._latest.aggregate(stages):
                needers[found["_id"]] = found["needers"][0]["expires_at"] if found["needers"] else None
        changes = (_change(name, head, policy, needers.get(name)) for name, head in heads.items())
        return [one for one in changes if one is not None]

    # --- past versions

    async def _settle_past(
        self, _: Tenant, policy: Policy, wanted: Mapping[str, Any], limit: int
    ) -> str | None:
        changes, last = [], None
        fields = {"expires_at": 1, "superseded_at": 1, "ended_at": 1, "updated": 1}
        async for found in self._history.find(wanted, fields, sort=[("_id", 1)], limit=limit):
            last = str(found["_id"])
            until = past_until(found, policy)
            if until != found["expires_at"]:
                same = {"_id": found["_id"], "expires_at": found["expires_at"]}
                changes.append(UpdateOne(same, {"$set": {"expires_at": until}}))
        if changes:
            await self._history.bulk_write(changes, ordered=False)
        return last

    # --- what goes by its age

    async def _settle_letters(self, tenant: Tenant, policy: Policy) -> None:
        """All of a tenant's dead letters: they are few."""
        until = _later("$last_at", policy.dead_letter_days or self._settings.dead_letter_days)
        other = {"tenant": str(tenant), "$expr": {"$ne": ["$expires_at", until]}}
        await self._aged[DEAD_LETTERS].update_many(other, [{"$set": {"expires_at": until}}])

    async def _settle_audit(
        self, tenant: Tenant, policy: Policy, after: str | None, limit: int
    ) -> str | None:
        """The next audit records, the newest first, for they are many; the moment and id of the last."""
        wanted: dict[str, Any] = {"tenant": str(tenant)}
        if after:
            at, _, last = after.partition(" ")
            moment = datetime.fromisoformat(at)
            wanted |= {
                "at": {"$lte": moment},
                "$or": [{"at": {"$lt": moment}}, {"at": moment, "_id": {"$lt": ObjectId(last)}}],
            }
        audit = self._aged[AUDIT]
        cursor = audit.find(wanted, {"at": 1}, sort=[("at", -1), ("_id", -1)], limit=limit).hint("moments")
        found = await cursor.to_list(None)
        if not found:
            return None
        days = self._settings.audit_days if policy.audit_days is None else policy.audit_days
        until = _later("$at", days)
        strangers = {"$min": [until, _later("$at", STRANGER_DAYS)]}
        until = {"$cond": [{"$eq": ["$by", ""]}, strangers, until]}
        some = {"_id": {"$in": [one["_id"] for one in found]}, "tenant": str(tenant)}
        await audit.update_many(some, [{"$set": {"expires_at": until}}], hint="_id_")
        return f"{found[-1]['at'].isoformat()} {found[-1]['_id']}"


def _later(since: str, days: int | None) -> Any:  # noqa: ANN401 -- an expression
    """Expression for so many days after a field; without end for None."""
    return NEVER if days is None else {"$dateAdd": {"startDate": since, "unit": "day", "amount": days}}


_REFERENCES: Final = sorted(
    {row.name for one in TYPES.values() for row in one.rows if row.type is SearchType.REFERENCE}
)
_FIELDS: Final = {
    **dict.fromkeys(("type", "version", "deleted", "updated", "when", "raw", "policy"), 1),
    **dict.fromkeys(("expires_at", "own_until", "least_until", "needed_until", "needs"), 1),
    "derived_from": 1,
    **{f"index.{name}": 1 for name in ("category", "status", "issued", *_REFERENCES)},
}


def _head(found: Mapping[str, Any], policy: Policy) -> dict[str, Any]:
    """Document without its bytes, once these have been looked at."""
    looked_at = ("raw", "index", "derived_from")
    head: dict[str, Any] = {name: value for name, value in found.items() if name not in looked_at}
    if "deleted" not in found:
        fields = dict(_fields(found.get("index", {})))
        resource_type, when = found["type"], found["when"]
        head["by_policy"] = ends(
            policy,
            resource_type=resource_type,
            fields=fields,
            when=Interval(when["lo"], when["hi"]),
            received=to_datetime(found["updated"]["lo"]),
        )
        head["now_needs"] = needs_of(resource_type, fields, found["raw"], found.get("derived_from", ()))
    return head


def _fields(index: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in index.items():
        yield name, Interval(value["lo"], value["hi"]) if isinstance(value, dict) else value


def _change(name: str, head: Mapping[str, Any], policy: Policy, needer: datetime | None) -> UpdateOne | None:
    """The write that brings one up, if it has to be."""
    same = {"_id": name, "version": head["version"], "expires_at": head["expires_at"]}
    if "deleted" in head:
        until = policy.superseded_until(to_datetime(head["updated"]["lo"]))
        return None if until == head["expires_at"] else UpdateOne(same, {"$set": {"expires_at": until}})
    # What nothing needs any more stays as long as the last that did.
    found = head["by_policy"]._replace(needed=needer or head.get("needed_until"))
    needs = {"needs": head["now_needs"]} if head["now_needs"] else {}
    after = {**ending(found), **needs, "policy": policy.version}
    gone = [one for one in ("least_until", "needs") if one in head and one not in after]
    if not gone and all(head.get(one) == value for one, value in after.items()):
        return None
    return UpdateOne(same, {"$set": after, **({"$unset": dict.fromkeys(gone, "")} if gone else {})})


def past_until(found: Mapping[str, Any], policy: Policy) -> datetime:
    """End of a past version; one that had expired with its resource does not come back."""
    since = found.get("superseded_at") or to_datetime(found["updated"]["lo"])
    ended: datetime = found.get("ended_at", NEVER)
    return min(policy.superseded_until(since), ended)
