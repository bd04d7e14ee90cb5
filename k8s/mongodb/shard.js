// Made by `make docs` from store/mongo/sharding.py. Do not edit.
// Shards the collections that grow, and keeps a tenant's data in a zone. At mongos, as an administrator:
//   mongosh "$ADMIN_URI" --eval 'var database = "dod"' k8s/mongodb/shard.js
// and for each tenant, with a zone that a shard has (sh.addShardToZone("shard0", "a")):
//   mongosh "$ADMIN_URI" --eval 'var database = "dod", tenant = "acme/Production", zone = "a"' \
//     k8s/mongodb/shard.js
// Safe to repeat; with another zone it moves the tenant there. Other collections stay on the primary shard.
const KEYS = {
  "resources": {
    "_id": 1
  },
  "history": {
    "_id": 1
  },
  "attachments.chunks": {
    "tenant": 1,
    "files_id": 1
  },
  "audit": {
    "tenant": 1,
    "_id": 1
  }
}

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
