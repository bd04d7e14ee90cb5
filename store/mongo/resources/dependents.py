"""Needed resources stay as long as what needs them: after each write, all that it keeps alive is looked at.

Written first, looked at afterwards, on both sides: of two that are written at the same time at least one
sees the other. What ends sooner than what was just written needs only be compared with that; else all that
needs it is looked at. Only for tenants with a retention policy; others keep everything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import UpdateOne

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.mongo.documents import ending, ends_of
from store.mongo.driver.client import DURABLE
from store.mongo.indexes import RESOURCES
from store.retention.needs import DEPTH_MAX, is_ever_needed
from store.retention.policy import NEVER
from store.retrying import pause_behind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection

    from store.mongo.driver.client import Database, Document
    from store.mongo.resources.write_decision import Decision, Write
    from store.retention.policy import Ends

_ATTEMPTS_MAX: Final = 20
_RACED: Final = Issue("conflict", "others changed what belongs to this resource all the while; try again")
_ENDS: Final = dict.fromkeys(
    ("type", "version", "expires_at", "own_until", "least_until", "needed_until", "needs"), 1
)
_LATER: Final = ("needed_until", "expires_at")
"""Fields that move when something is needed for longer."""
_THERE: Final = {"type": {"$exists": True}}
_LONGEST: Final = {"_id": 0, "expires_at": 1}
"""Fields of what needs a resource."""
_FIELDS: Final = {**_ENDS, "needed_as": {"$concat": ["$type", "/", "$id"]}}


@dataclass(slots=True)
class Touched:
    """Effects of one tenant's writes on other resources; by `Type/id`."""

    kept: dict[str, datetime] = field(default_factory=dict)
    """Moments until which something needs them at least."""
    looked: set[str] = field(default_factory=set)
    """Resources all of whose needers must be looked at."""

    def write(self, write: Write, before: Mapping[str, Any], decision: Decision) -> None:
        """Note a write; also one that changed nothing, for its first writer may have died before this."""
        old = set(before.get("needs", ()))
        after = before if decision.document is None else decision.document
        new, until = set(after.get("needs", ())), after.get("expires_at", NEVER)
        self.keep(new, until)
        self.looked |= old - new
        if old and until < before["expires_at"]:
            self.looked |= old
        # Nobody knows an id that is new: who needs it comes later, or with it, and keeps it by itself.
        if is_ever_needed(write.key.type) and not (write.prepared and write.prepared.fresh):
            self.looked.add(str(write.key))

    def keep(self, names: set[str], until: datetime) -> None:
        """Note that something which ends at this moment needs the resources of these names."""
        for name in names:
            known = self.kept.get(name)
            if known is None or known < until:
                self.kept[name] = until


class Dependents:
    """Keeps the ends of companions in step with what needs them. In a driver thread, in plain calls."""

    def __init__(self, database: Database) -> None:
        self._plain: Collection[Document] = database[RESOURCES].delegate
        self._write = self._plain.with_options(write_concern=DURABLE)

    def tie(self, tenant: str, touched: Touched, *, session: ClientSession | None = None) -> None:
        """Bring up what was touched, and what that needs in turn. Raises the driver's errors."""
        for _ in range(DEPTH_MAX):
            further = Touched()
            looked = touched.looked
            kept = {name: until for name, until in touched.kept.items() if name not in looked}
            if kept:
                looked |= self._keep(tenant, kept, further, session)
            if looked:
                self._look(tenant, looked, further, session)
            touched = further

    def _keep(
        self, tenant: str, kept: Mapping[str, datetime], further: Touched, session: ClientSession | None
    ) -> set[str]:
        """Let those end later that end too soon; gives back those that seem to be needed for longer.

        What needed them for longer may be gone.
        """
        ids = {f"{tenant}/{name}": name for name in kept}
        wanted = {"_id": {"$in": sorted(ids)}, "type": {"$exists": True}}
        for attempt in range(_ATTEMPTS_MAX):
            _pause_before(attempt)
            longer, moves = set(), []
            for found in self._plain.find(wanted, _ENDS, batch_size=len(ids) + 1, session=session):
                name, known = ids[found["_id"]], ends_of(found)
                if known.needed is None or known.needed < kept[name]:
                    moves.append(_Move(found, known, known._replace(needed=kept[name])))
                elif known.needed > kept[name]:
                    longer.add(name)
            if self._moved(moves, further, session):
                return longer
        raise ServiceError(Category.CONFLICT, _RACED)

    def _look(self, tenant: str, looked: set[str], further: Touched, session: ClientSession | None) -> None:
        """Each ends with the last that needs it."""
        ids = sorted(f"{tenant}/{name}" for name in looked)
        for attempt in range(_ATTEMPTS_MAX):
            _pause_before(attempt)
            moves = []
            for found in self._needed(tenant, {"_id": {"$in": ids}}, session):
                known = ends_of(found)
                until = found["needers"][0]["expires_at"] if found["needers"] else known.needed
                ends = known._replace(needed=until)
                if ends != known or ends.expires_at != found["expires_at"]:
                    moves.append(_Move(found, known, ends))
            done = self._moved(moves, further, session)
            shorter = [one.found["_id"] for one in moves if one.is_shorter]
            if done and not shorter:
                return
            # Whoever saw the longer time, and needs it as long, had nothing to do.
            ids = shorter if done else ids
        raise ServiceError(Category.CONFLICT, _RACED)

    def _needed(
        self, tenant: str, wanted: Mapping[str, Any], session: ClientSession | None
    ) -> Iterator[Mapping[str, Any]]:
        """Resources with `needers`, as `needed` gives them; within a transaction by finds.

        Before MongoDB 8.0 no look-up in a sharded collection may be within one.
        """
        if session is None:
            yield from self._plain.aggregate(needed(tenant, wanted))
            return
        for found in list(self._plain.find({**wanted, **_THERE}, _FIELDS, session=session)):
            needing = {"tenant": tenant, "needs": found["needed_as"]}
            cursor = self._plain.find(needing, _LONGEST, hint="needing", limit=1, session=session)
            yield {**found, "needers": list(cursor.sort("expires_at", -1))}

    def _moved(self, moves: Sequence[_Move], further: Touched, session: ClientSession | None) -> bool:
        """Whether nobody else changed any of these meanwhile."""
        if not moves:
            return True
        collection = self._write if session is None else self._plain
        done = collection.bulk_write([one.write() for one in moves], ordered=False, session=session)
        surely = done.matched_count == len(moves)
        for one in moves:
            needs = set(one.found.get("needs", ()))
            if surely and one.is_later:
                further.keep(needs, one.ends.expires_at)
            else:  # Also of those that were not written: which they are, the server does not say.
                further.looked |= needs
        return surely


def _pause_before(attempt: int) -> None:
    """Wait in this thread as long as an attempt should."""
    if attempt:
        sleep(pause_behind(attempt - 1))


class _Move(NamedTuple):
    """A resource that will end at another time."""

    found: Mapping[str, Any]
    known: Ends
    ends: Ends

    @property
    def is_later(self) -> bool:
        """Whether it stays longer than before, or as long."""
        return bool(self.ends.expires_at >= self.found["expires_at"])

    @property
    def is_shorter(self) -> bool:
        """Whether it is needed for less long."""
        known, now = self.known.needed, self.ends.needed
        return known is not None and now is not None and now < known

    def write(self) -> UpdateOne:
        """Write, in vain when others change it meanwhile; one needed for longer stays longer anyway.

        By `_id` alone a write costs MongoDB half of one with more conditions. Should the resource be deleted
        meanwhile, what is left of it stays longer.
        """
        known, now = self.known.needed, self.ends.needed
        if known is not None and now is not None and known < now:
            return UpdateOne({"_id": self.found["_id"]}, {"$max": dict.fromkeys(_LATER, now)})
        same = {name: self.found.get(name) for name in ("_id", "version", "expires_at", "needed_until")}
        return UpdateOne(same, {"$set": ending(self.ends)})


def needed(
    tenant: str, wanted: Mapping[str, Any], fields: Mapping[str, Any] = _FIELDS
) -> list[dict[str, Any]]:
    """The stages that give resources with `needers`: the one that needs each for the longest time, if any."""
    longest: list[dict[str, Any]] = [
        {"$match": {"tenant": tenant}},
        {"$sort": {"expires_at": -1}},
        {"$limit": 1},
        {"$project": _LONGEST},
    ]
    lookup = {
        "from": RESOURCES,
        "localField": "needed_as",
        "foreignField": "needs",
        "pipeline": longest,
        "as": "needers",
    }
    return [
        {"$match": {**wanted, **_THERE}},
        {"$project": fields},
        {"$lookup": lookup},
    ]
