"""Every index there is, as data, each with the queries it serves. A test runs `explain` for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from store.mongo.client import Database

RESOURCES: Final = "resources"
HISTORY: Final = "history"
TENANTS: Final = "tenants"
TOKENS: Final = "tokens"
SECRETS: Final = "secrets"
IDEMPOTENCY: Final = "idempotency"


class IndexSpec(NamedTuple):
    """One index; `serves` says what for."""

    collection: str
    name: str
    keys: tuple[tuple[str, int], ...]
    serves: str
    forgets: bool = False
    """MongoDB deletes a document when the moment in the index's one field has passed."""


INDEXES: Final = (
    IndexSpec(
        RESOURCES,
        "keyed",
        (("tenant", 1), ("type", 1), ("keys", 1), ("when.lo", 1), ("id", 1), ("when.hi", 1)),
        "a patient's reports by date; by code, category or status of a patient; by identifier, order,"
        " encounter, result; chains",
    ),
    IndexSpec(
        RESOURCES,
        "dated",
        (("tenant", 1), ("type", 1), ("when.lo", 1), ("id", 1), ("when.hi", 1)),
        "searches across patients, newest first, and by date",
    ),
    IndexSpec(
        RESOURCES,
        "updated",
        (("tenant", 1), ("type", 1), ("updated.lo", 1), ("id", 1), ("updated.hi", 1)),
        "polls by `_lastUpdated`, in the order of arrival",
    ),
    IndexSpec(
        HISTORY,
        "versions",
        (("tenant", 1), ("type", 1), ("id", 1), ("version", -1)),
        "one version, and the history of a resource",
    ),
    IndexSpec(
        IDEMPOTENCY,
        "forgotten",
        (("expires_at", 1),),
        "forgets answers after the idempotency window",
        forgets=True,
    ),
)
"""At most one array (`keys`) in each; the tenant first, so that the collections shard by it."""


async def ensure_indexes(database: Database) -> None:
    """Make those that are missing; safe to repeat, and to run on several replicas at once."""
    for spec in INDEXES:
        forgets: dict[str, Any] = {"expireAfterSeconds": 0} if spec.forgets else {}
        await database[spec.collection].create_index(list(spec.keys), name=spec.name, **forgets)
