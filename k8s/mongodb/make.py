"""Write `roles.js` from the table of rights in the store. `make docs` calls it; a test compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from store.mongo.rights import Role, privileges

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


if __name__ == "__main__":
    (HERE / "roles.js").write_text(script(), encoding="utf-8")
