"""A simulated router: commands are read as mongos reads them; what it would send to every shard is told.

`TESTS_ROUTED=1` has any test run behind it: each database is that of `DOD_MONGODB_SHARDED`, and each command
of the store is looked at. https://www.mongodb.com/docs/v6.0/core/sharded-cluster-query-router/
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pymongo import _csot, monitoring
from typing_extensions import override

from store.mongo.requirements import NOBODY
from store.mongo.sharding import SHARDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

HARMLESS = frozenset(
    ("getMore", "killCursors", "listIndexes", "createIndexes", "dropIndexes", "collStats", "compact")
)
"""Commands that read no documents by a filter, or are an operator's."""
OF_ALL_SHARDS = frozenset(("$changeStream",))
"""Stages that mongos takes to all shards by their nature, and puts in order."""


_OF_A_TRIAL = repr(NOBODY)
"""Part of the trial of a right, which has no effect on any shard."""


def pinned(wanted: Any, field: str, *, one: bool = False) -> bool:
    """Whether a filter says which values a field may have; with `one`, that it has a single one."""
    if not hasattr(wanted, "get"):
        return False
    value = wanted.get(field)
    if value is not None and _is_bound(value, one=one):
        return True
    if any(pinned(part, field, one=one) for part in wanted.get("$and", ())):
        return True
    branches = wanted.get("$or", ())
    return bool(branches) and not one and all(pinned(part, field) for part in branches)


def _is_bound(value: Any, *, one: bool) -> bool:
    if not hasattr(value, "keys") or not any(str(name).startswith("$") for name in value):
        return True
    if "$eq" in value or ("$in" in value and not one):
        return True
    return not one and bool({"$gt", "$gte"} & value.keys()) and bool({"$lt", "$lte"} & value.keys())


def is_targeted(collection: str, wanted: Any) -> bool:
    """Whether a filter bounds the beginning of the shard key."""
    return pinned(wanted, SHARDED[collection][0])


def is_one(collection: str, wanted: Any) -> bool:
    """Whether a filter names one shard: what changes one document has to, and what may insert it."""
    return all(pinned(wanted, field, one=True) for field in SHARDED[collection])


def broadcasts(command: Mapping[str, Any]) -> Iterator[str]:
    """Parts of a command that would go to every shard, or would be refused."""
    name = next(iter(command))
    collection = command[name]
    if name == "explain":
        yield from broadcasts(command["explain"])
    elif name == "aggregate":
        yield from _stages(collection, command["pipeline"])
        if command.get("autocommit") is False:
            yield from _not_within_a_transaction(collection, command["pipeline"])
    elif not isinstance(collection, str) or collection not in SHARDED or _is_harmless(name, command):
        return
    elif name in ("find", "count", "distinct"):
        wanted = command.get("filter" if name == "find" else "query", {})
        if not is_targeted(collection, wanted):
            yield _told(name, collection, wanted)
    elif name in ("update", "delete"):
        yield from _writes(name, collection, command[f"{name}s"])
    elif name == "findAndModify":
        if not is_one(collection, command["query"]):
            yield _told(name, collection, command["query"])
    elif name == "insert":
        fields = {
            field
            for document in command["documents"]
            for field in SHARDED[collection]
            if field not in document
        }
        if fields:
            yield f"insert {collection} without {sorted(fields)}"
    else:
        yield f"{name} {collection}"


def _is_harmless(name: str, command: Mapping[str, Any]) -> bool:
    return name in HARMLESS or _OF_A_TRIAL in str(command)


def _writes(name: str, collection: str, writes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for write in writes:
        many = write.get("multi", False) if name == "update" else write["limit"] == 0
        fits = is_targeted if many and not write.get("upsert") else is_one
        if not fits(collection, write["q"]):
            yield _told(f"{name} {'many' if many else 'one'}", collection, write["q"])


def _stages(collection: Any, stages: Sequence[Mapping[str, Any]], *, joined_by: str = "") -> Iterator[str]:
    first = stages[0] if stages else {}
    is_bound = (
        collection not in SHARDED
        or joined_by == SHARDED[collection][0]
        or not OF_ALL_SHARDS.isdisjoint(first)
        or is_targeted(collection, first.get("$match", {}))
    )
    if not is_bound:
        yield _told("aggregate", collection, first)
    for stage in stages:
        for name, source in (("$lookup", "from"), ("$unionWith", "coll")):
            if joined := stage.get(name):
                by = joined.get("foreignField", "")
                yield from _stages(joined[source], joined.get("pipeline", ()), joined_by=by)
        if odd := {"$graphLookup", "$out"} & stage.keys():
            yield f"{sorted(odd)} in an aggregation of {collection}"


def _not_within_a_transaction(collection: Any, stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Stages that MongoDB refuses within a transaction: before 8.0 a look-up in what is sharded.

    https://www.mongodb.com/docs/manual/reference/operator/aggregation/lookup/
    https://www.mongodb.com/docs/manual/reference/operator/aggregation/unionWith/
    """
    for stage in stages:
        for name, source in (("$lookup", "from"), ("$unionWith", "coll"), ("$merge", "into")):
            if (joined := stage.get(name)) and (name != "$lookup" or joined[source] in SHARDED):
                yield f"{name} {joined[source]} within a transaction, from {collection}"


def _told(name: str, collection: str, wanted: Any) -> str:
    return f"{name} {collection} {json.dumps(_shape(wanted))}"


def _shape(wanted: Any) -> Any:
    """The filter without its values."""
    if hasattr(wanted, "items"):
        return {name: _shape(value) for name, value in wanted.items()}
    if isinstance(wanted, (list, tuple)):
        return [_shape(one) for one in wanted[:2]]
    return "?"


class Router(monitoring.CommandListener):
    """Looks at each command of the store; what a test asks by itself has no deadline and is passed over."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.seen = 0

    @override
    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if _csot.get_timeout() is not None:
            self.seen += 1
            self.refused += broadcasts(event.command)

    @override
    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Nothing."""

    @override
    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Nothing."""
