// Made by `make docs` from store/mongo/rights.py. Do not edit.
// Roles of MongoDB for the roles of the service, each with the rights that it needs. As an administrator:
//   mongosh "$ADMIN_URI" --eval 'var database = "dod"' k8s/mongodb/roles.js
// Then one user for each, with a password of your own (the prompt asks for it):
//   db.getSiblingDB("admin").createUser({user: "dod-query", pwd: passwordPrompt(), roles: ["dod-query"]})
// Safe to repeat: a role that is there is changed. `dod` commands (tenants, tokens, holds) need more: the
// built-in role readWrite on the database.
const ROLES = {
  "dod-query": [
    {"resource": {"db": "DATABASE", "collection": "resources"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "history"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "tenants"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "tokens"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "secrets"}, "actions": ["find", "listIndexes", "insert"]},
    {"resource": {"db": "DATABASE", "collection": "verifications"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "clients"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "assertions"}, "actions": ["find", "listIndexes", "insert"]},
    {"resource": {"db": "DATABASE", "collection": "dead_letters"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "dead_letter_bodies"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "idempotency"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "attachments.files"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "attachments.chunks"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "retention"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "policies"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "leases"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "runs"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "run_counts"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "receipts"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "holds"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "erasures"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "forgotten_files"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "audit"}, "actions": ["find", "listIndexes", "insert", "update"]},
    {"resource": {"db": "DATABASE", "collection": "changes"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "change_state"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "departures"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "subscriptions"}, "actions": ["find", "listIndexes"]},
    {"resource": {"db": "DATABASE", "collection": "outbox"}, "actions": ["find", "listIndexes"]}
  ],
  "dod-ingest": [
    {"resource": {"db": "DATABASE", "collection": "resources"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "history"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "tenants"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "tokens"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "secrets"}, "actions": ["find", "listIndexes", "insert", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "verifications"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "clients"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "assertions"}, "actions": ["find", "listIndexes", "insert", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "dead_letters"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "dead_letter_bodies"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "idempotency"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "attachments.files"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "attachments.chunks"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "retention"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "policies"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "leases"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "runs"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "run_counts"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "receipts"}, "actions": ["find", "listIndexes", "insert", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "holds"}, "actions": ["find", "listIndexes", "update", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "erasures"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "forgotten_files"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "audit"}, "actions": ["find", "listIndexes", "insert", "update", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "changes"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "change_state"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "departures"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "subscriptions"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "outbox"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]}
  ],
  "dod-jobs": [
    {"resource": {"db": "DATABASE", "collection": "resources"}, "actions": ["find", "listIndexes", "changeStream", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "history"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "tenants"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "tokens"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "secrets"}, "actions": ["find", "listIndexes", "insert", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "verifications"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "clients"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "assertions"}, "actions": ["find", "listIndexes", "insert", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "dead_letters"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "dead_letter_bodies"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "idempotency"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "attachments.files"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "attachments.chunks"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "retention"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "policies"}, "actions": ["find", "listIndexes", "update", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "leases"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "runs"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "run_counts"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "receipts"}, "actions": ["find", "listIndexes", "insert", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "holds"}, "actions": ["find", "listIndexes", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "erasures"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "forgotten_files"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "audit"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "changes"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "change_state"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "departures"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "subscriptions"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]},
    {"resource": {"db": "DATABASE", "collection": "outbox"}, "actions": ["find", "listIndexes", "insert", "update", "remove", "createIndex", "dropIndex"]}
  ]
}

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
