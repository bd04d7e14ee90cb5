"""`shard.js`: made of the table of shard keys, and what it asks MongoDB for; nobody here has a mongos."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from store.mongo.sharding import SHARDED, range_of

NODE = shutil.which("node") or ""
FOLDER = Path(__file__).parents[2] / "k8s" / "mongodb"
STUB = """
const said = []
const told = (verb) => (...words) => said.push([verb, ...words])
const sh = {enableSharding: told("enable"), shardCollection: told("shard"), updateZoneKeyRange: told("zone"),
  removeRangeFromZone: told("unzone")}
const MinKey = () => "MinKey", MaxKey = () => "MaxKey"
const sharded = new Set(%s)
const db = {getSiblingDB: (name) => name === "config"
  ? {collections: {findOne: ({_id}) => sharded.has(_id) ? {} : null}}
  : {getCollection: (one) => ({createIndex: (key) => said.push(["index", one, key])})}}
var database = "dod"%s
%s
console.log(JSON.stringify(said))
"""


def script() -> str:
    return (FOLDER / "shard.js").read_text(encoding="utf-8")


def test_it_is_what_make_docs_would_write() -> None:
    spec = importlib.util.spec_from_file_location("make_mongodb", FOLDER / "make.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert script() == made.shard_script()


def said(sharded: list[str], more: str = "") -> list[Any]:
    done = subprocess.run(
        [NODE, "-e", STUB % (json.dumps(sharded), more, script())],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(json.loads(done.stdout))


@pytest.mark.skipif(not NODE, reason="node is not installed")
def test_it_shards_what_grows_once_and_puts_a_tenant_into_its_zone() -> None:
    keys = {f"dod.{name}": dict.fromkeys(key, 1) for name, key in SHARDED.items()}
    first = said([])
    assert {one[1]: one[2] for one in first if one[0] == "shard"} == keys
    # Without the index of its key MongoDB shards no collection that has documents.
    assert [one[0] for one in first] == ["enable", *(["index", "shard"] * len(keys))]
    again = said(list(keys), ', tenant = "acme/Production", zone = "a"')
    assert {one[0] for one in again} == {"enable", "unzone", "zone"}
    zones = {one[1]: one[2:] for one in again if one[0] == "zone"}
    own = range_of("acme/Production")
    assert zones["dod.resources"] == [{"_id": own["$gte"]}, {"_id": own["$lt"]}, "a"]
    assert zones["dod.audit"] == [
        {"tenant": "acme/Production", "_id": "MinKey"},
        {"tenant": "acme/Production", "_id": "MaxKey"},
        "a",
    ]
