"""Every index there is, as data, each with the queries it serves. A test runs `explain` for each."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import IndexModel
from pymongo.errors import OperationFailure

from store.errors import StartupError
from store.retention.policy import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.mongo.driver.client import Database

RESOURCES: Final = "resources"
HISTORY: Final = "history"
TENANTS: Final = "tenants"
TOKENS: Final = "tokens"
SECRETS: Final = "secrets"
VERIFICATIONS: Final = "verifications"
CLIENTS: Final = "clients"
ASSERTIONS: Final = "assertions"
DEAD_LETTERS: Final = "dead_letters"
DEAD_LETTER_BODIES: Final = "dead_letter_bodies"
IDEMPOTENCY: Final = "idempotency"
FILES: Final = "attachments.files"
CHUNKS: Final = "attachments.chunks"
RETENTION: Final = "retention"
POLICIES: Final = "policies"
LEASES: Final = "leases"
RUNS: Final = "runs"
RUN_COUNTS: Final = "run_counts"
RECEIPTS: Final = "receipts"
HOLDS: Final = "holds"
ERASURES: Final = "erasures"
FORGOTTEN_FILES: Final = "forgotten_files"
AUDIT: Final = "audit"
CHANGES: Final = "changes"
CHANGE_STATE: Final = "change_state"
DEPARTURES: Final = "departures"
SUBSCRIPTIONS: Final = "subscriptions"
OUTBOX: Final = "outbox"
COLLECTIONS: Final = (
    *(
        RESOURCES,
        HISTORY,
        TENANTS,
        TOKENS,
        SECRETS,
        VERIFICATIONS,
        CLIENTS,
        ASSERTIONS,
        DEAD_LETTERS,
        DEAD_LETTER_BODIES,
        IDEMPOTENCY,
    ),
    *(
        FILES,
        CHUNKS,
        RETENTION,
        POLICIES,
        LEASES,
        RUNS,
        RUN_COUNTS,
        RECEIPTS,
        HOLDS,
        ERASURES,
        FORGOTTEN_FILES,
    ),
    *(AUDIT, CHANGES, CHANGE_STATE, DEPARTURES, SUBSCRIPTIONS, OUTBOX),
)
"""All collections of the service."""


PAUSE_SECONDS: Final = 0.5
"""Pause between two looks whether another process has made the indexes."""
_NOT_THERE: Final = (26, 27)
"""NamespaceNotFound, IndexNotFound."""


class IndexSpec(NamedTuple):
    """Specification of an index; `serves` says for which query."""

    collection: str
    name: str
    keys: tuple[tuple[str, int], ...]
    serves: str
    options: Mapping[str, Any] = MappingProxyType({})
    """Beyond keys and name, as the driver calls them."""


_REFERRING: Final[Mapping[str, Any]] = {"files": {"$exists": True}}
_EXPIRES: Final[Mapping[str, Any]] = {"expires_at": {"$lt": NEVER}}
_BY_AGE: Final = (("tenant", 1), ("expires_at", 1), ("_id", 1))
"""Order by age and `_id`, so that the sweep can go on behind what it passed over, among others of one moment.
"""
_NEWEST: Final = (("tenant", 1), ("at", -1), ("_id", -1))
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
    IndexSpec(DEAD_LETTERS, "overdue", _BY_AGE, "letters that have expired, oldest first"),
    IndexSpec(
        DEAD_LETTER_BODIES,
        "overdue",
        _BY_AGE,
        "pieces that have expired, oldest first",
    ),
    IndexSpec(AUDIT, "overdue", _BY_AGE, "audit records that have expired, oldest first"),
    IndexSpec(
        AUDIT,
        "nowhere",
        (("expires_at", 1),),
        "forgets refused requests to tenants that are not there: no sweep comes there",
        {"partialFilterExpression": {"nowhere": True}, "expireAfterSeconds": 0},
    ),
    IndexSpec(
        FORGOTTEN_FILES, "forgotten", (("tenant", 1), ("_id", 1)), "files whose versions went, in batches"
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
    IndexSpec(
        ASSERTIONS,
        "forgotten",
        (("expires_at", 1),),
        "forgets used client assertions after they have expired; `_id` refuses them until then",
        {"expireAfterSeconds": 0},
    ),
    IndexSpec(
        RESOURCES,
        "referring",
        (("tenant", 1), ("files", 1), ("type", 1)),
        "whether a current resource refers to a file, and of which type it is",
        {"partialFilterExpression": _REFERRING},
    ),
    IndexSpec(
        HISTORY,
        "referring",
        (("tenant", 1), ("files", 1)),
        "whether a past version refers to a file",
        {"partialFilterExpression": _REFERRING},
    ),
    IndexSpec(
        RESOURCES,
        "overdue",
        _BY_AGE,
        "what has expired, oldest first; nothing that is kept without end",
        {"partialFilterExpression": _EXPIRES},
    ),
    IndexSpec(
        HISTORY,
        "overdue",
        _BY_AGE,
        "past versions that have expired, oldest first",
        {"partialFilterExpression": _EXPIRES},
    ),
    IndexSpec(
        RESOURCES,
        "needing",
        (("tenant", 1), ("needs", 1), ("expires_at", -1)),
        "what needs a resource, the one that stays longest first",
        {"partialFilterExpression": {"needs": {"$exists": True}}},
    ),
    IndexSpec(
        HISTORY,
        "of",
        (("tenant", 1), ("of", 1)),
        "past versions that are about a patient",
        {"partialFilterExpression": {"of": {"$exists": True}}},
    ),
    IndexSpec(
        FILES,
        "files",
        (("tenant", 1), ("id", 1)),
        "a file by its id, which only one whole copy has",
        {"unique": True, "partialFilterExpression": {"id": {"$exists": True}}},
    ),
    IndexSpec(ERASURES, "groups", (("tenant", 1), ("groups", 1)), "all that one erasure left, to lift it"),
    IndexSpec(AUDIT, "moments", (*_NEWEST,), "audit records of a tenant, newest first"),
    IndexSpec(
        AUDIT,
        "patients",
        (("tenant", 1), ("patients", 1), ("at", -1), ("_id", -1)),
        "audit records about a patient, newest first; those to be changed by an erasure",
        {"partialFilterExpression": {"patients": {"$exists": True}}},
    ),
    IndexSpec(
        AUDIT,
        "by",
        (("tenant", 1), ("by", 1), ("at", -1), ("_id", -1)),
        "audit records of a client, newest first",
    ),
    IndexSpec(
        AUDIT,
        "unnamed",
        (("tenant", 1), ("unnamed", 1), ("_id", 1)),
        "queries that named no patient and found none, for an erasure to look through",
        {"partialFilterExpression": {"unnamed": {"$exists": True}}},
    ),
    IndexSpec(HOLDS, "held", (("tenant", 1), ("released_at", 1)), "what of a tenant must not be deleted"),
    IndexSpec(FILES, "uploads", (("tenant", 1), ("_id", 1)), "all files of a tenant, in batches"),
    IndexSpec(
        FILES,
        "waiting",
        (("tenant", 1), ("held", 1)),
        "uploads that no resource refers to yet",
        {"partialFilterExpression": {"held": {"$exists": True}}},
    ),
    IndexSpec(
        CHUNKS, "chunks", (("tenant", 1), ("files_id", 1), ("n", 1)), "a file's pieces", {"unique": True}
    ),
    IndexSpec(
        RUNS,
        "open",
        (("lease", 1),),
        "the run that is to be gone on with under a lease: there is one at most",
        {"unique": True, "partialFilterExpression": {"state": "open"}},
    ),
    IndexSpec(RUN_COUNTS, "run", (("run", 1),), "what a run deleted so far"),
    IndexSpec(SUBSCRIPTIONS, "tenant", (("tenant", 1), ("_id", 1)), "subscriptions of a tenant"),
    IndexSpec(
        OUTBOX,
        "numbered",
        (("tenant", 1), ("subscription", 1), ("last", 1)),
        "events of a subscription from a number on, in order; deleting them",
        {"partialFilterExpression": {"subscription": {"$exists": True}}},
    ),
    IndexSpec(
        OUTBOX, "told", (("tenant", 1), ("keys", 1)), "who was told of a resource; forgetting its name"
    ),
    IndexSpec(
        OUTBOX,
        "sharing",
        (("tenant", 1), ("shared", 1)),
        "who was told what several were told",
        {"partialFilterExpression": {"shared": {"$exists": True}}},
    ),
    IndexSpec(
        OUTBOX,
        "forgotten",
        (("expires_at", 1),),
        "forgets events once they have been kept long enough",
        {"expireAfterSeconds": 0},
    ),
    IndexSpec(RECEIPTS, "kind", (("kind", 1), ("_id", -1)), "the newest receipt of a kind"),
    IndexSpec(CHANGES, "numbers", (("tenant", 1), ("last", 1)), "the changes of a tenant behind a position"),
    IndexSpec(CHANGES, "forgotten", (("expires_at", 1),), "forgets changes", {"expireAfterSeconds": 0}),
    IndexSpec(
        DEPARTURES,
        "moments",
        (("tenant", 1), ("at", 1), ("_id", 1)),
        "who was deleted for good since a moment",
    ),
    IndexSpec(DEPARTURES, "forgotten", (("expires_at", 1),), "forgets departures", {"expireAfterSeconds": 0}),
)
"""Indexes, with at most one array (`keys`) in each; the tenant first, so that the collections shard by it."""


RETIRED: Final = (
    # TTL indexes: a hold must be able to keep a letter, so the sweep deletes them.
    (DEAD_LETTERS, "expired"),
    (DEAD_LETTER_BODIES, "expired"),
    (AUDIT, "newest"),  # `moments` has the id too, so that pages have an order.
)
"""Collection and name of those that an older release made; dropped at the start."""


async def await_indexes(database: Database, seconds: float) -> None:
    """Return when all indexes are there. Raises StartupError that names one that is missing after so long."""
    until = monotonic() + seconds
    while True:
        for spec in INDEXES:
            cursor = database[spec.collection].list_indexes()
            if spec.name not in {one["name"] for one in await cursor.to_list(None)}:
                break
        else:
            return
        if monotonic() >= until:
            raise StartupError(
                f"The index {spec.name} of the collection {spec.collection} is not there yet, and role query"
                " makes none: start a process of role ingest, jobs or all of the same version first."
            )
        await asyncio.sleep(PAUSE_SECONDS)


async def ensure_indexes(database: Database) -> None:
    """Make what is missing, drop what is retired; safe to repeat, and to run on several replicas at once.

    Collections as well: a transaction over several shards may make none.
    """
    for collection, name in RETIRED:
        try:
            await database[collection].drop_index(name)
        except OperationFailure as error:
            if error.code not in _NOT_THERE:
                raise
    for collection, models in _models().items():
        await database[collection].create_indexes(models)


def _models() -> Mapping[str, list[IndexModel]]:
    """The indexes of each collection, as one command makes them; that of `_id`, where there is no other."""
    models: dict[str, list[IndexModel]] = defaultdict(list)
    for collection in frozenset(COLLECTIONS) - {spec.collection for spec in INDEXES}:
        models[collection].append(IndexModel("_id", name="_id_"))
    for spec in INDEXES:
        models[spec.collection].append(IndexModel(list(spec.keys), name=spec.name, **spec.options))
    return models
