"""What is needed stays as long as what needs it: after each write, those that it keeps alive are looked at.

Written first, looked at afterwards, on both sides: of two that are written at the same time at least one
sees the other. Only for tenants with a retention policy; others keep everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.documents import ending, ends_of
from store.mongo.indexes import RESOURCES
from store.retention.needs import DEPTH_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymongo.write_concern import WriteConcern

    from store.mongo.client import Collection, Database, Session

_ATTEMPTS_MAX: Final = 20
_RACED: Final = Issue("conflict", "others changed what belongs to this resource all the while; try again")
_FIELDS: Final = {
    "type": 1,
    "version": 1,
    "expires_at": 1,
    "own_until": 1,
    "least_until": 1,
    "needed_until": 1,
    "needs": 1,
    "needed_as": {"$concat": ["$type", "/", "$id"]},
}


class Ties:
    """Keeps the ends of companions in step with what needs them."""

    def __init__(self, database: Database, *, durable: WriteConcern) -> None:
        self._write: Collection = database[RESOURCES].with_options(write_concern=durable)
        self._plain: Collection = database[RESOURCES]

    async def tie(self, tenant: str, keys: Iterable[str], *, session: Session | None = None) -> None:
        """Bring up these resources (`Type/id`), and what they need in turn. Raises the driver's errors."""
        frontier = set(keys)
        for _ in range(DEPTH_MAX):
            if not frontier:
                return
            frontier = await self._tie(tenant, sorted(frontier), session)

    async def _tie(self, tenant: str, keys: Sequence[str], session: Session | None) -> set[str]:
        """One step; what those need that changed."""
        further: set[str] = set()
        for _ in range(_ATTEMPTS_MAX):
            changed = []
            ids = [f"{tenant}/{key}" for key in keys]
            async for found in self._plain.aggregate(needed(tenant, {"_id": {"$in": ids}}), session=session):
                change = moved(found)
                if change is not None:
                    changed.append(change)
                    further.update(found.get("needs", ()))
            if not changed:
                return further
            collection = self._write if session is None else self._plain
            done = await collection.bulk_write(changed, ordered=False, session=session)
            if done.matched_count == len(changed):
                return further
        raise ServiceError(Category.CONFLICT, _RACED)


def needed(
    tenant: str, wanted: Mapping[str, Any], fields: Mapping[str, Any] = _FIELDS
) -> list[dict[str, Any]]:
    """The stages that give resources with `needers`: the one that needs each for the longest time, if any."""
    longest: list[dict[str, Any]] = [
        {"$match": {"tenant": tenant}},
        {"$sort": {"expires_at": -1}},
        {"$limit": 1},
        {"$project": {"_id": 0, "expires_at": 1}},
    ]
    lookup = {
        "from": RESOURCES,
        "localField": "needed_as",
        "foreignField": "needs",
        "pipeline": longest,
        "as": "needers",
    }
    return [
        {"$match": {**wanted, "type": {"$exists": True}}},
        {"$project": fields},
        {"$lookup": lookup},
    ]


def moved(found: Mapping[str, Any]) -> UpdateOne | None:
    """The write that brings the end of a resource up, if need be; in vain when others change it meanwhile."""
    known = ends_of(found)
    until = found["needers"][0]["expires_at"] if found["needers"] else known.needed
    now = ending(known._replace(needed=until))
    if all(found.get(name) == value for name, value in now.items()):
        return None
    same = {"_id": found["_id"], "version": found["version"], "expires_at": found["expires_at"]}
    return UpdateOne(same, {"$set": now})
