"""Commands behind mongos: the tenant's part of the shard key is in each, and nothing else is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.mongo.database import database_of
from store.mongo.indexes import HISTORY, INDEXES, RESOURCES, TOKENS
from store.mongo.sharding import SHARDED, range_of, ranged, routed
from store.settings import StoreSettings
from tests.support.router import broadcasts, is_one

if TYPE_CHECKING:
    from store.mongo.driver.client import Client, Database

LAB = {"$gte": "lab/Production/", "$lt": "lab/Production0"}
OWN, OTHER = {"tenant": "lab/Production"}, {"tenant": "other/Production"}


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        (OWN, {**OWN, "_id": LAB}),
        ({**OWN, "keys": "a=b"}, {**OWN, "keys": "a=b", "_id": LAB}),
        ({**OWN, "_id": "lab/Production/Patient/1"}, None),
        ({**OWN, "_id": {"$in": ["lab/Production/Patient/1"]}}, None),
        ({"_id": "lab/Production/Patient/1"}, None),
        (
            {**OWN, "_id": {"$gt": "lab/Production/P"}},
            {**OWN, "_id": {"$gt": "lab/Production/P", "$lt": LAB["$lt"]}},
        ),
        (
            {**OWN, "_id": {"$lt": "lab/Production/P"}},
            {**OWN, "_id": {"$gte": LAB["$gte"], "$lt": "lab/Production/P"}},
        ),
        ({"$and": [{**OWN, "a": 1}, {"b": 2}]}, {"$and": [{**OWN, "a": 1}, {"b": 2}], "_id": LAB}),
        (
            {"$or": [{**OWN, "a": 1}, {**OWN, "b": 2}]},
            {"$or": [{**OWN, "a": 1}, {**OWN, "b": 2}], "_id": LAB},
        ),
        ({"$or": [{**OWN, "a": 1}, {"b": 2}]}, {"$or": [{**OWN, "a": 1, "_id": LAB}, {"b": 2}]}),
        ({"$or": [OWN, {"_id": 1, **OTHER}]}, {"$or": [{**OWN, "_id": LAB}, {"_id": 1, **OTHER}]}),
        (
            {"$or": [OWN, OTHER], "a": 1},
            {"$or": [{**OWN, "_id": LAB}, {**OTHER, "_id": range_of("other/Production")}], "a": 1},
        ),
        ({"keys": "a=b"}, None),
        (
            {"tenant": {"$in": ["lab/Production", "other/Production"]}, "a": 1},
            {
                "tenant": {"$in": ["lab/Production", "other/Production"]},
                "a": 1,
                "$or": [{"_id": LAB}, {"_id": range_of("other/Production")}],
            },
        ),
    ],
)
def test_a_filter_gets_the_range_of_its_tenant(wanted: dict[str, Any], sent: dict[str, Any] | None) -> None:
    assert ranged(wanted) == (wanted if sent is None else sent)
    assert ranged(ranged(wanted)) == ranged(wanted)


def _lookup(collection: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {"$lookup": {"from": collection, "pipeline": [{"$match": wanted}], "as": "x"}}


def _union(collection: str, wanted: dict[str, Any]) -> dict[str, Any]:
    return {"$unionWith": {"coll": collection, "pipeline": [{"$match": wanted}]}}


SENT = {**OWN, "_id": LAB}


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ({"find": RESOURCES, "filter": OWN}, {"find": RESOURCES, "filter": SENT}),
        ({"explain": {"find": HISTORY, "filter": OWN}}, {"explain": {"find": HISTORY, "filter": SENT}}),
        ({"find": TOKENS, "filter": OWN}, {"find": TOKENS, "filter": OWN}),
        (
            {"aggregate": RESOURCES, "pipeline": [{"$match": OWN}, {"$limit": 1}]},
            {"aggregate": RESOURCES, "pipeline": [{"$match": SENT}, {"$limit": 1}]},
        ),
        (
            {"aggregate": 1, "pipeline": [{"$documents": []}, _lookup(RESOURCES, OWN), _union(HISTORY, OWN)]},
            {
                "aggregate": 1,
                "pipeline": [{"$documents": []}, _lookup(RESOURCES, SENT), _union(HISTORY, SENT)],
            },
        ),
        ({"getMore": 1, "collection": RESOURCES}, {"getMore": 1, "collection": RESOURCES}),
    ],
)
def test_a_command_gets_it_wherever_it_reads(command: dict[str, Any], sent: dict[str, Any]) -> None:
    assert routed(command) == sent
    assert not list(broadcasts(sent))


@pytest.mark.parametrize(
    "command",
    [
        {"find": RESOURCES, "filter": OWN},
        {"find": RESOURCES, "filter": {**OWN, "_id": {"$gt": "lab/Production/"}}},
        {"aggregate": HISTORY, "pipeline": []},
        {"aggregate": 1, "pipeline": [_lookup(RESOURCES, OWN)]},
        {"update": RESOURCES, "updates": [{"q": OWN, "u": {}, "multi": True}]},
        {"update": HISTORY, "updates": [{"q": {"_id": {"$in": ["a"]}}, "u": {}, "upsert": True}]},
        {"delete": "audit", "deletes": [{"q": {"_id": 1}, "limit": 1}]},
        {"findAndModify": RESOURCES, "query": {**OWN, "_id": LAB}},
        {"insert": "audit", "documents": [{"_id": 1}]},
        {"mapReduce": RESOURCES},
        {"aggregate": TOKENS, "pipeline": [_lookup(RESOURCES, SENT)], "autocommit": False},
        {"aggregate": TOKENS, "pipeline": [_union(TOKENS, OWN)], "autocommit": False},
    ],
)
def test_the_simulated_router_tells_what_every_shard_would_get(command: dict[str, Any]) -> None:
    assert list(broadcasts(command))


def test_unique_indexes_begin_with_the_shard_key() -> None:
    """MongoDB refuses others on a sharded collection; `_id` is unique across shards where it is the key."""
    unique = [spec for spec in INDEXES if spec.collection in SHARDED and spec.options.get("unique")]
    assert unique
    for spec in unique:
        key = SHARDED[spec.collection]
        assert tuple(name for name, _ in spec.keys)[: len(key)] == key
    assert is_one("audit", {"tenant": "lab/Production", "_id": 1})


@pytest.mark.mongo
async def test_a_database_behind_mongos_asks_so_by_every_verb(
    mongo_client: Client, database: Database
) -> None:
    """A real MongoDB answers as ever."""
    routed_one = database_of(
        mongo_client, StoreSettings(mongodb_database=database.name, mongodb_sharded=True)
    )
    mine, other = (
        {"_id": f"{owner}/Production/Patient/1", "tenant": f"{owner}/Production"} for owner in ("lab", "labs")
    )
    resources = routed_one[RESOURCES].with_options()
    await resources.insert_many(
        [mine, {**other, "tenant": "lab/Production"}]
    )  # Of its tenant by the field alone.
    assert await resources.find(OWN).to_list(None) == [mine]
    assert await resources.count_documents(OWN) == 1
    assert await resources.distinct("_id", OWN) == [mine["_id"]]
    assert await resources.aggregate([{"$match": OWN}]).to_list(None) == [mine]
    assert (await resources.update_many(OWN, {"$set": {"n": 1}})).matched_count == 1
    assert await resources.find_one({**OWN, "n": 1}) == {**mine, "n": 1}
    assert (await resources.delete_many(OWN)).deleted_count == 1
    assert await database[RESOURCES].count_documents({}) == 1
