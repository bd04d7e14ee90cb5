"""Commands behind mongos: each names the part of the shard key that says whose data it is about.

A router asks every shard whenever a filter does not bound the shard key. That of `resources` and `history` is
their `_id`, which begins with the tenant; filters name the tenant, and get the tenant's range of `_id` beside
it here. That of the others begins with the field `tenant` (`DECISIONS.md#sharding`). Pure.
https://www.mongodb.com/docs/v6.0/core/sharded-cluster-query-router/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from store.mongo.indexes import AUDIT, CHUNKS, HISTORY, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHARDED: Final[Mapping[str, tuple[str, ...]]] = {
    RESOURCES: ("_id",),
    HISTORY: ("_id",),
    CHUNKS: ("tenant", "files_id"),
    AUDIT: ("tenant", "_id"),
}
"""Shard keys, by ranges. What is not here is small, or lives for days, and stays on the primary shard."""
BY_ID: Final = frozenset(name for name, key in SHARDED.items() if key == ("_id",))
_BEHIND_SLASH: Final = chr(ord("/") + 1)
_BOUNDS: Final = frozenset(("$gt", "$gte", "$lt", "$lte"))


def range_of(tenant: str) -> dict[str, str]:
    """All `_id`s of a tenant."""
    return {"$gte": f"{tenant}/", "$lt": f"{tenant}{_BEHIND_SLASH}"}


def ranged(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The filter, with the range of `_id` of the tenant that it names; as it is, when it names `_id`s.

    One of several tenants, as a commit or a backlog asks, gets the range of each.
    """
    tenant, bounds = _tenant_of(wanted), wanted.get("_id")
    if tenant is None:
        return wanted if bounds is not None else _of_several(wanted)
    if bounds is None:
        return {**wanted, "_id": range_of(tenant)}
    # A walk from a place on has one bound; the other one keeps it within the tenant.
    if isinstance(bounds, dict) and bounds and bounds.keys() <= _BOUNDS:
        return {**wanted, "_id": _within(bounds, range_of(tenant))}
    return wanted


def _of_several(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """The filter with the ranges of several tenants, if it names them."""
    if "$or" in wanted:
        return {**wanted, "$or": [ranged(branch) for branch in wanted["$or"]]}
    named = wanted.get("tenant")
    if isinstance(named, dict) and named.keys() == {"$in"}:
        return {**wanted, "$or": [{"_id": range_of(tenant)} for tenant in named["$in"]]}
    return wanted


def _tenant_of(wanted: Mapping[str, Any]) -> str | None:
    """The tenant that all that fits belongs to; None: the filter does not name one."""
    named = wanted.get("tenant")
    if isinstance(named, str):
        return named
    for part in wanted.get("$and", ()):
        if found := _tenant_of(part):
            return found
    branches = {_tenant_of(branch) for branch in wanted.get("$or", ())}
    return branches.pop() if len(branches) == 1 else None


def _within(bounds: Mapping[str, Any], whole: Mapping[str, str]) -> dict[str, Any]:
    lower = "$gt" in bounds or "$gte" in bounds
    upper = "$lt" in bounds or "$lte" in bounds
    return {
        **({} if lower else {"$gte": whole["$gte"]}),
        **({} if upper else {"$lt": whole["$lt"]}),
        **bounds,
    }


def pipeline(collection: object, stages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The stages, with ranges where they begin to read a collection."""
    told = [_joined(stage) for stage in stages]
    if collection in BY_ID and told and "$match" in told[0]:
        told[0] = {**told[0], "$match": ranged(told[0]["$match"])}
    return told


def _joined(stage: Mapping[str, Any]) -> Mapping[str, Any]:
    """A stage that reads another collection, whose stages begin with a range as well."""
    for name, source in (("$lookup", "from"), ("$unionWith", "coll")):
        joined = stage.get(name)
        if joined is not None and "pipeline" in joined:
            return {name: {**joined, "pipeline": pipeline(joined[source], joined["pipeline"])}}
    return stage


def routed(command: Mapping[str, Any]) -> dict[str, Any]:
    """A command as it is sent behind mongos."""
    name = next(iter(command))
    if name == "explain":
        return {**command, "explain": routed(command["explain"])}
    if name == "aggregate":
        return {**command, "pipeline": pipeline(command[name], command["pipeline"])}
    if name == "find" and command[name] in BY_ID:
        return {**command, "filter": ranged(command["filter"])}
    return dict(command)
