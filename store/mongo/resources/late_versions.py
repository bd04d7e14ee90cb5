"""Versions that come after something newer, by the source's own time: kept in the history, and not current.

A resource's document says what its source says of the time (`sourced`) and, once something came late, the
last version number and moment given out (`last`), since those of the history count on. Whoever writes does
so under the condition that all of this is as it was read (`standing`).
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import UpdateMany, UpdateOne
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from store.fhir.instants import to_datetime
from store.mongo.documents import PAST, READ, from_document, patients_among, to_document, updated_of
from store.mongo.driver.client import DURABLE, MAJORITY
from store.mongo.indexes import HISTORY, RESOURCES
from store.resources.versions import Outcome, PutResult, Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from pymongo.client_session import ClientSession
    from pymongo.collection import Collection as Plain

    from store.mongo.driver.client import Database, Document
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Prepared, SourceTime
    from store.retention.policy import Policy
    from store.tenancy import Tenant

EXTRAS: Final = ("sourced", "last", "companion", "links")
"""Fields of a document that are there only when there is something to say."""
_FIRST: Final = ("since", "mended_since")
_LATEST: Final[Mapping[str, Any]] = {"corrected": "", "moved_here": False}
"""Evidence of which the smallest counts, whoever tells it first; and the largest, with what none is."""
_TOLD: Final = ("given", *_FIRST, *_LATEST, "apart")
"""Evidence of who a resource is that comes with a message, and is no part of the content."""
_CONFLICT: Final = "TransientTransactionError"


class LateWrite(NamedTuple):
    """Write that came late, with the document that is current."""

    tenant: Tenant
    prepared: Prepared
    current: Mapping[str, Any]
    policy: Policy

    @property
    def id(self) -> str:
        """`_id` of the current document."""
        return str(self.current["_id"])


class LatePlacement(Enum):
    """Reason for which a write that seemed late is not in the history."""

    NOT = "as old as what is current, and not seen before"
    RACED = "somebody else wrote meanwhile"


class LateVersions:
    """The history, for what goes there at once."""

    def __init__(self, database: Database) -> None:
        self._client = database.client.delegate
        self._resources = database[RESOURCES].delegate
        self._history = database[HISTORY].delegate
        self._seen = self._history.with_options(read_concern=MAJORITY)

    def keep(
        self, late: Mapping[str, LateWrite], now: datetime, *, session: ClientSession | None = None
    ) -> dict[str, PutResult | LatePlacement]:
        """Put each into the history, once: content that is there already is answered with its version.

        In a driver thread, in plain calls. `session`: of an open transaction; else it takes one of its own.
        """
        done: dict[str, PutResult | LatePlacement] = dict(self._known(late, session))
        new: dict[str, tuple[LateWrite, dict[str, Any]]] = {}
        for name, one in late.items():
            if name in done:
                continue
            if one.prepared.sourced == one.current.get("sourced", ""):
                done[name] = LatePlacement.NOT
            else:
                new[name] = one, _document(one, now)
        if new and not self._insert(new, session):
            return done | dict.fromkeys(new, LatePlacement.RACED)
        for name, (one, document) in new.items():
            stored = Stored(one.prepared.key, document["version"], updated_of(document), document["raw"])
            done[name] = PutResult(Outcome.STALE, stored)
        self._note([one for name, one in late.items() if done[name] is not LatePlacement.NOT], session)
        return done

    def end(
        self,
        back: Iterable[tuple[Tenant, ResourceKey, Mapping[str, Any]]],
        *,
        session: ClientSession | None = None,
    ) -> None:
        """All versions so far of these end with what is current: that did, and comes back as another."""
        ends = []
        for tenant, key, current in back:
            at = current["expires_at"]
            past = {"tenant": str(tenant), "type": key.type, "id": key.id}
            # Not those of the next life, should somebody else have been faster.
            wanted = {**past, "version": {"$lt": next_version(current)}}
            ends.append(UpdateMany(wanted, {"$min": {"expires_at": at, "ended_at": at}}, hint="versions"))
        self._writing(self._history, session).bulk_write(ends, ordered=False, session=session)

    def _known(self, late: Mapping[str, LateWrite], session: ClientSession | None) -> dict[str, PutResult]:
        seen = self._seen if session is None else self._history
        contents = [
            {
                "tenant": str(one.tenant),
                "type": one.prepared.key.type,
                "id": one.prepared.key.id,
                "digest": one.prepared.digest,
            }
            for one in late.values()
        ]
        # A commit holds the writes of many tenants.
        named = {
            (str(one.tenant), *one.prepared.key, one.prepared.digest): name for name, one in late.items()
        }
        found: dict[str, PutResult] = {}
        confirmed: dict[str, UpdateOne] = {}
        fields = {**READ, **dict.fromkeys(("_id", "tenant", "type", "id", "digest", "sourced"), 1)}
        wanted = {"$or": contents, "taken_back": None}
        cursor = seen.find(wanted, fields, sort=[("version", 1)], session=session)
        for document in cursor:
            name = named[document["tenant"], document["type"], document["id"], document["digest"]]
            prepared = late[name].prepared
            stored = from_document(prepared.key, document)
            if isinstance(stored, Stored):
                found[name] = PutResult(Outcome.STALE, stored)
                confirmed.pop(name, None)
                if document.get("sourced", "") < prepared.sourced:
                    # As for what is current: else what lies between would be its newest content.
                    later = {"$max": {"sourced": prepared.sourced}}
                    confirmed[name] = UpdateOne({"_id": document["_id"]}, later)
        if confirmed:
            self._writing(self._history, session).bulk_write(
                list(confirmed.values()), ordered=False, session=session
            )
        return found

    def _note(self, late: Sequence[LateWrite], session: ClientSession | None) -> None:
        """Let companions that were pushed by themselves as well, however late, not leave with a report; and
        reports know of late corrections.
        """
        notes = [
            UpdateOne({"_id": one.id, "companion": True, "deleted": None}, {"$set": {"companion": False}})
            for one in late
            if one.current.get("companion") and not one.prepared.companion
        ]
        notes += corrections(late)
        if notes:
            self._writing(self._resources, session).bulk_write(notes, ordered=False, session=session)

    def _writing(self, collection: Plain[Document], session: ClientSession | None) -> Plain[Document]:
        """Durable by itself, or with its transaction."""
        return collection if session is not None else collection.with_options(write_concern=DURABLE)

    def _insert(
        self, new: Mapping[str, tuple[LateWrite, dict[str, Any]]], session: ClientSession | None
    ) -> bool:
        """All or none: the numbers are taken where the current versions are, under their conditions."""
        if session is not None:
            return self._insert_within(new, session)
        try:
            with (
                self._client.start_session() as own,
                own.start_transaction(read_concern=ReadConcern("snapshot"), write_concern=DURABLE),
            ):
                done = self._insert_within(new, own)
                if not done:
                    own.abort_transaction()
                return done
        except OperationFailure as error:
            if error.has_error_label(_CONFLICT):
                return False
            raise

    def _insert_within(
        self, new: Mapping[str, tuple[LateWrite, dict[str, Any]]], session: ClientSession
    ) -> bool:
        counted = [
            UpdateOne(
                {"_id": one.id, **standing(one.current)},
                {"$set": {"last": {"version": document["version"], "lo": document["updated"]["lo"]}}},
            )
            for one, document in new.values()
        ]
        done = self._resources.bulk_write(counted, ordered=False, session=session)
        if done.matched_count < len(counted):
            return False
        self._history.insert_many([document for _, document in new.values()], session=session)
        return True


def _document(late: LateWrite, now: datetime) -> dict[str, Any]:
    """The version as the history has it; its number follows all that were given out."""
    version = next_version(late.current)
    updated = max(now, latest_of(late.current) + timedelta(milliseconds=1))
    document = to_document(late.tenant, late.prepared, version, updated)
    past: dict[str, Any] = {
        "_id": f"{late.id}/{version}",
        "sourced": late.prepared.sourced,
        "stale": True,
        "superseded_at": now,
        "expires_at": late.policy.superseded_until(now),
        "of": patients_among(document["keys"]),
    }
    return {name: value for name, value in document.items() if name not in PAST} | past


# --- what a write means beside that


def standing(current: Mapping[str, Any]) -> dict[str, Any]:
    """Filter that a current document meets as long as it is what was read; None matches an absent field."""
    return {name: current.get(name) for name in ("version", *EXTRAS)}


def next_version(current: Mapping[str, Any] | None) -> int:
    """The next number to give out."""
    if current is None:
        return 1
    last = current.get("last")
    return int(last["version"] if last else current["version"]) + 1


def latest_of(current: Mapping[str, Any]) -> datetime:
    """The last moment given out."""
    last = current.get("last")
    return to_datetime(last["lo"]) if last else updated_of(current)


def is_late(current: Mapping[str, Any], prepared: Prepared, *, deleted: bool, arrival: bool) -> bool:
    """Whether something newer is current; at the same time, only what was seen before counts as late."""
    known = current.get("sourced", "")
    if not prepared.sourced or not known:
        return False
    retired = deleted and current.get("companion")
    same = prepared.sourced == known and not arrival and (retired or not deleted)
    return bool(prepared.sourced < known or same)


def carried(
    current: Mapping[str, Any] | None,
    sourced: SourceTime,
    *,
    companion: bool = False,
    restored: bool = False,
) -> dict[str, Any]:
    """Fields of a new version beside its content. The time goes back only with a version taken back."""
    said = sourced if restored or current is None else max(sourced, current.get("sourced", ""))
    alone = current is not None and not current.get("deleted") and not current.get("companion")
    return {
        **({"sourced": said} if said else {}),
        **({"companion": True} if companion and not alone else {}),
    }


def confirmed(current: Mapping[str, Any], prepared: Prepared) -> dict[str, Any]:
    """Fields that identical content changes: a later time, who gave it, or that it came by itself as well."""
    later = prepared.sourced > current.get("sourced", "")
    alone = bool(current.get("companion")) and not prepared.companion
    told, known = prepared.identity or {}, current.get("identity") or {}
    return {
        **({"sourced": prepared.sourced} if later else {}),
        **{f"identity.{n}": told[n] for n in _TOLD if n in told and told[n] != known.get(n)},
        **({"companion": False} if alone else {}),
    }


def corrections(late: Iterable[LateWrite]) -> list[UpdateOne]:
    """Updates that note on current reports a correction that came late, and older news of their patient."""
    notes = []
    for one in late:
        told, known = one.prepared.identity or {}, one.current.get("identity") or {}
        latest = {n: told[n] for n, none in _LATEST.items() if told.get(n, none) > known.get(n, none)}
        first = {n: told[n] for n in _FIRST if n in told and (n not in known or told[n] < known[n])}
        changes = (("$max", latest), ("$min", first))
        noted = {how: {f"identity.{n}": some[n] for n in some} for how, some in changes if some}
        notes += [UpdateOne({"_id": one.id, "deleted": None}, noted)] if noted else []
    return notes


def awaits(current: Mapping[str, Any] | None, number: int) -> bool:
    """Whether the stored document is a retired companion that would come back as version `number`."""
    away = current is not None and bool(current.get("deleted") and current.get("companion"))
    return away and next_version(current) == number
