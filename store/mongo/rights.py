"""Rights in MongoDB that each role of the service needs, as a table: what the service asks for, and what
`k8s/mongodb/roles.js` grants.

Every role may read every collection. A role that may not make indexes waits for those of another one: who may
make an index could make one that deletes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from store.mongo.indexes import (
    ASSERTIONS,
    AUDIT,
    CHANGE_STATE,
    CHANGES,
    CHUNKS,
    COLLECTIONS,
    DEAD_LETTER_BODIES,
    DEAD_LETTERS,
    DEPARTURES,
    ERASURES,
    FILES,
    FORGOTTEN_FILES,
    HISTORY,
    HOLDS,
    IDEMPOTENCY,
    LEASES,
    OUTBOX,
    POLICIES,
    RECEIPTS,
    RESOURCES,
    RETENTION,
    RUN_COUNTS,
    RUNS,
    SECRETS,
    SUBSCRIPTIONS,
)

Role = Literal["all", "query", "ingest", "jobs"]
MAKING: Final = ("createIndex", "dropIndex")
READING: Final = ("find", "listIndexes")
FOLLOWING: Final = "changeStream"
"""Action that reads MongoDB's log of a collection."""
_ALL: Final = ("insert", "update", "remove")
_DATA: Final = (
    *(RESOURCES, HISTORY, FILES, CHUNKS, FORGOTTEN_FILES, DEAD_LETTERS, DEAD_LETTER_BODIES, IDEMPOTENCY),
    *(RETENTION, LEASES, RUNS, RUN_COUNTS, ERASURES),
    *(CHANGES, CHANGE_STATE, DEPARTURES, SUBSCRIPTIONS, OUTBOX),
)
"""Collections of what is pushed, and of what forgetting it takes."""
_EVERYONE: Final[Mapping[str, tuple[str, ...]]] = {
    ASSERTIONS: ("insert",),
    AUDIT: ("insert", "update"),
    SECRETS: ("insert",),
}
WRITES: Final[Mapping[Role, Mapping[str, tuple[str, ...]]]] = {
    "all": dict.fromkeys(COLLECTIONS, _ALL),
    "query": _EVERYONE,
    "ingest": {
        **_EVERYONE,
        **dict.fromkeys(_DATA, _ALL),
        HOLDS: ("update",),  # An erasure takes the patient's name out of those that have ended.
        RECEIPTS: ("insert",),
    },
    "jobs": {
        **_EVERYONE,
        **dict.fromkeys(_DATA, _ALL),
        AUDIT: _ALL,
        POLICIES: ("update",),
        RECEIPTS: ("insert",),
    },
}
"""Actions on collections, by role. `all` is that of `dod` commands too: tenants, tokens, holds are theirs."""
MAKES: Final[frozenset[Role]] = frozenset({"all", "ingest", "jobs"})
"""Roles that make indexes, and drop those of an older release."""
FOLLOWS: Final[frozenset[Role]] = frozenset({"all", "jobs"})
"""Roles that may have to follow the log of `resources`."""


def needed(role: Role, action: str) -> list[str]:
    """The collections on which a role needs an action."""
    if action in READING:
        return list(COLLECTIONS)
    if action in MAKING:
        return list(COLLECTIONS) if role in MAKES else []
    if action == FOLLOWING:
        return [RESOURCES] if role in FOLLOWS else []
    return [name for name in COLLECTIONS if action in WRITES[role].get(name, ())]


def privileges(role: Role, database: str) -> list[dict[str, object]]:
    """The rights of a role, as MongoDB's command `createRole` takes them."""
    actions = (*READING, FOLLOWING, *_ALL, *MAKING)
    return [
        {
            "resource": {"db": database, "collection": name},
            "actions": [action for action in actions if name in needed(role, action)],
        }
        for name in COLLECTIONS
    ]
