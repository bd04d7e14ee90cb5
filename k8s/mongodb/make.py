"""Write `roles.js` and `shard.js` from tables of the store. `make docs` calls it; a test compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from store.mongo.rights import Role, privileges
from store.mongo.sharding import SHARDED

HERE: Final = Path(__file__).parent
ROLES: Final[tuple[Role, ...]] = ("query", "ingest", "jobs")
DATABASE: Final = "DATABASE"
HEAD: Final = """// Made by `make docs` from store/mongo/rights.py. Do not edit.
// Roles of MongoDB for the roles of the service, each with the rights that it needs. As an administrator:
//   mongosh "$ADMIN_URI" --eval 'var database = "dod"' k8s/mongodb/roles.js
// Then one user for each, with a password of your own (the prompt asks for it):
//   db.getSiblingDB("admin").createUser({user: "dod-query", pwd: passwordPrompt(), roles: ["dod-query"]})
// Safe to repeat: a role that is there is changed. `dod` commands (tenants, tokens, holds) need more: the
// built-in role readWrite on the database.
"""
TAIL: Final = """
const admin = db.getSiblingDB("admin")
for (const [name, privileges] of Object.entries(ROLES)) {
  for (const one of privileges) {
    one.resource.db = database
  }
  const change = admin.getRole(name) === null ? "createRole" : "updateRole"
  const done = admin.runCommand({[change]: name, privileges: privileges, roles: []})
  if (done.ok !== 1) {
    throw new Error(`${name}: ${done.errmsg}`)
  }
  print(`${change} ${name}`)
}
"""


def script() -> str:
    """The script for mongosh."""
    roles = {f"dod-{role}": privileges(role, DATABASE) for role in ROLES}
    rows = ",\n".join(
        f"  {json.dumps(name)}: [\n"
        + ",\n".join(f"    {json.dumps(privilege)}" for privilege in granted)
        + "\n  ]"
        for name, granted in roles.items()
    )
    return f"{HEAD}const ROLES = {{\n{rows}\n}}\n{TAIL}"


SHARD: Final = r"""// Made by `make docs` from store/mongo/sharding.py. Do not edit.
// Shards the collections that grow, and keeps a tenant's data in a zone. At mongos, as an administrator:
//   mongosh "$ADMIN_URI" --eval 'var database = "dod"' k8s/mongodb/shard.js
// and for each tenant, with a zone that a shard has (sh.addShardToZone("shard0", "a")):
//   mongosh "$ADMIN_URI" --eval 'var database = "dod", tenant = "acme/Production", zone = "a"' \
//     k8s/mongodb/shard.js
// Safe to repeat; with another zone it moves the tenant there. Other collections stay on the primary shard.
const KEYS = %s

sh.enableSharding(database)
for (const [name, key] of Object.entries(KEYS)) {
  const namespace = `${database}.${name}`
  if (db.getSiblingDB("config").collections.findOne({_id: namespace}) === null) {
    // The index comes first where there are documents already.
    db.getSiblingDB(database).getCollection(name).createIndex(key)
    sh.shardCollection(namespace, key)
  }
  if (typeof tenant !== "undefined") {
    // By `_id` up to "0", which comes behind "/"; by the field over all that has its value.
    const [first, ...rest] = Object.keys(key)
    const ends = (end) => Object.fromEntries(rest.map((field) => [field, end]))
    const bound = (value, end) => ({[first]: value, ...ends(end)})
    const low = first === "_id" ? bound(`${tenant}/`) : bound(tenant, MinKey())
    const high = first === "_id" ? bound(`${tenant}0`) : bound(tenant, MaxKey())
    sh.removeRangeFromZone(namespace, low, high)
    sh.updateZoneKeyRange(namespace, low, high, zone)
  }
}
"""


def shard_script() -> str:
    """The script for mongosh that shards the collections."""
    keys = {name: dict.fromkeys(key, 1) for name, key in SHARDED.items()}
    return SHARD % json.dumps(keys, indent=2)


if __name__ == "__main__":
    (HERE / "roles.js").write_text(script(), encoding="utf-8")
    (HERE / "shard.js").write_text(shard_script(), encoding="utf-8")
