"""Copies of versions that are being superseded: from `resources` to `history`, before they are replaced.

One rule in two forms: within the server, and within a transaction, where the server cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne

from store.mongo.documents import OF_PATIENT, PAST, patients_among
from store.mongo.indexes import HISTORY
from store.retention.policy import NEVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

    from store.mongo.driver.client import Document

_TYPE: Final = {"$ifNull": ["$type", {"$arrayElemAt": [{"$split": ["$_id", "/"]}, 2]}]}
"""A tombstone has no `type` as long as searches could see it."""
_OF: Final = {
    "$filter": {
        "input": {"$ifNull": ["$keys", []]},
        "cond": {"$regexMatch": {"input": "$$this", "regex": OF_PATIENT, "options": "s"}},
    }
}
"""Keys of the patients whom a version is about."""


def copy_in_server(
    resources: Collection[Document],
    ids: Sequence[str],
    now: datetime,
    ends: Mapping[str, datetime],
    *,
    taken_back: Sequence[str] = (),
) -> None:
    """Copy current documents to the history, within the server; in a thread.

    `ends`: for each tenant, when a version that is superseded now is forgotten. `taken_back`: those whose
    version is taken back by who wrote it; written again, it must not count as seen.
    """
    branches = [{"case": {"$eq": ["$tenant", tenant]}, "then": end} for tenant, end in ends.items()]
    until: Any = {"$switch": {"branches": branches, "default": NEVER}}
    # What has expired does not come back because a newer version does.
    expired = {"$lte": ["$expires_at", now]}
    ended = {"$cond": [expired, "$expires_at", "$$REMOVE"]}
    stages: list[dict[str, Any]] = [
        {"$match": {"_id": {"$in": list(ids)}}},
        {
            "$set": {
                "_id": {"$concat": ["$_id", "/", {"$toString": "$version"}]},
                "type": _TYPE,
                "superseded_at": now,
                "expires_at": {"$cond": [expired, "$expires_at", until]},
                "ended_at": ended,
                "of": _OF,
                "taken_back": {"$cond": [{"$in": ["$_id", list(taken_back)]}, True, "$$REMOVE"]},
            }
        },
        {"$unset": list(PAST)},
        {"$merge": {"into": HISTORY, "whenMatched": "keepExisting"}},
    ]
    list(resources.aggregate(stages))


def copy_in_transaction(  # noqa: PLR0913 -- where from, where to, what, and its circumstances
    resources: Collection[Document],
    history: Collection[Document],
    ids: Sequence[str],
    now: datetime,
    ends: Mapping[str, datetime],
    *,
    session: ClientSession | None,
) -> None:
    """Copy current documents to the history by way of this process, for a transaction has no `$merge`; in a
    thread.
    """
    without = dict.fromkeys((name for name in PAST if name != "keys"), 0)
    copies: list[UpdateOne] = []
    for document in resources.find({"_id": {"$in": list(ids)}}, without, session=session):
        name = f"{document['_id']}/{document['version']}"
        expires, keys = document["expires_at"], document.get("keys", ())
        ended = {"ended_at": expires} if expires <= now else {}
        copied: dict[str, Any] = {
            **ended,
            **{key: value for key, value in document.items() if key not in ("_id", "keys")},
            "superseded_at": now,
            "expires_at": expires if expires <= now else ends[document["tenant"]],
            "of": patients_among(keys),
        }
        copies.append(UpdateOne({"_id": name}, {"$setOnInsert": copied}, upsert=True))
    if copies:
        history.bulk_write(copies, ordered=False, session=session)
