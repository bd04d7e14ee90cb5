"""Every index there is, as data, each with the queries it serves. A test runs `explain` for each."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.mongo.client import Database

RESOURCES: Final = "resources"
HISTORY: Final = "history"
TENANTS: Final = "tenants"
TOKENS: Final = "tokens"
SECRETS: Final = "secrets"
VERIFICATIONS: Final = "verifications"
DEAD_LETTERS: Final = "dead_letters"
DEAD_LETTER_BODIES: Final = "dead_letter_bodies"
IDEMPOTENCY: Final = "idempotency"


class IndexSpec(NamedTuple):
    """One index; `serves` says what for."""

    collection: str
    name: str
    keys: tuple[tuple[str, int], ...]
    serves: str
    options: Mapping[str, Any] = MappingProxyType({})
    """Beyond keys and name, as the driver calls them."""


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
        DEAD_LETTERS,
        "newest",
        (("tenant", 1), ("at", -1), ("_id", -1), ("kept", 1)),
        "a tenant's dead letters, newest first; trimming by count and bytes, from the index alone",
    ),
    IndexSpec(
        DEAD_LETTERS,
        "open",
        (("tenant", 1), ("digest", 1)),
        "the same push again is the same letter, also when twins come at once; how many are open",
        {"unique": True, "partialFilterExpression": {"digest": {"$exists": True}}},
    ),
    IndexSpec(DEAD_LETTERS, "expired", (("expires_at", 1),), "forgetting by age", {"expireAfterSeconds": 0}),
    IndexSpec(
        DEAD_LETTER_BODIES, "expired", (("expires_at", 1),), "forgetting by age", {"expireAfterSeconds": 0}
    ),
    IndexSpec(DEAD_LETTER_BODIES, "letter", (("letter", 1),), "deleting the pieces of a letter"),
    IndexSpec(
        HISTORY,
        "changed",
        (("tenant", 1), ("type", 1), ("updated.lo", 1), ("id", 1)),
        "the history of a type: versions that were replaced",
    ),
    IndexSpec(
        RESOURCES,
        "deleted",
        (("tenant", 1), ("was", 1), ("updated.lo", 1), ("id", 1)),
        "the history of a type: what is deleted now",
        {"partialFilterExpression": {"was": {"$exists": True}}},
    ),
    IndexSpec(
        IDEMPOTENCY,
        "forgotten",
        (("expires_at", 1),),
        "forgets answers after the idempotency window",
        {"expireAfterSeconds": 0},
    ),
)
"""At most one array (`keys`) in each; the tenant first, so that the collections shard by it."""


async def ensure_indexes(database: Database) -> None:
    """Make those that are missing; safe to repeat, and to run on several replicas at once."""
    for spec in INDEXES:
        await database[spec.collection].create_index(list(spec.keys), name=spec.name, **spec.options)
