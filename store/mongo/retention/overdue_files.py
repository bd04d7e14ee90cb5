"""Files that deleted versions referred to: they go when no other version refers to them.

forgotten_files  _id "org/env/file-…", tenant, id: noted in the transaction that deletes a version, so that
no crash forgets them; the collector (`store.mongo.files`) looks after those that no version ever named.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pymongo import UpdateOne
from typing_extensions import override

from store.files import CHUNK_BYTES, GRACE_SECONDS
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import CHUNKS, FILES, FORGOTTEN_FILES, HISTORY, RESOURCES
from store.mongo.retention.still_needed import HELD_FIELDS
from store.retention.runs import Reason, Row
from store.retention.sweep import Deleted, Found, Stage, SweepStep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database, Session
    from store.mongo.retention.still_needed import Needing
    from store.tenancy import Tenant

    Documents = Sequence[Mapping[str, Any]]

GRACE: Final = timedelta(seconds=GRACE_SECONDS)
BYTES_MAX: Final = 100 * CHUNK_BYTES
"""Bytes of the files that one transaction deletes; a single larger one goes alone."""
_REFERRER: Final = {**HELD_FIELDS, "expires_at": 1}


class OverdueFiles(Stage):
    """A stage, and what the stages before it say of files."""

    name = "files"

    def __init__(
        self, database: Database, needing: Needing, *, metrics: StoreMetrics, seconds: float
    ) -> None:
        self._needing = needing
        self._metrics = metrics
        self._seconds = seconds
        self._forgotten = majority(database, FORGOTTEN_FILES)
        self._resources = majority(database, RESOURCES)
        self._history = majority(database, HISTORY)
        self._files = majority(database, FILES)
        self._plain = (database[RESOURCES], database[HISTORY])
        self._plain_forgotten = database[FORGOTTEN_FILES]
        self._plain_files = database[FILES]
        self._plain_chunks = database[CHUNKS]

    async def note(self, tenant: Tenant, gone: Documents, session: Session) -> None:
        """Remember the files of versions that the transaction deletes."""
        names = {name for one in gone for name in one.get("files", ())}
        operations = [
            UpdateOne(
                {"_id": f"{tenant}/{name}"},
                {"$setOnInsert": {"tenant": str(tenant), "id": name}},
                upsert=True,
            )
            for name in sorted(names)
        ]
        if operations:
            await self._plain_forgotten.bulk_write(operations, ordered=False, session=session)

    @override
    async def look(
        self, tenant: Tenant, as_of: datetime, after: Mapping[str, Any] | None, limit: int
    ) -> SweepStep:
        wanted: dict[str, Any] = {"tenant": str(tenant)}
        if after is not None:
            wanted["_id"] = {"$gt": after["id"]}
        with guarded(self._metrics, "overdue_files", seconds=self._seconds):
            cursor = self._forgotten.find(wanted, sort=[("_id", 1)], limit=limit, hint="forgotten")
            found = await cursor.to_list(None)
            names = [one["id"] for one in found]
            files, there = await self._whole(tenant, names, as_of), await self._there(tenant, names)
            needed = {name for name in names if await self._is_needed(tenant, name)}
        # What is needed is noted again when that goes; of what is no longer there nothing is left to do.
        over = [one for one in found if one["id"] in needed or one["id"] not in there]
        going = [one for one in found if one["id"] in files and one["id"] not in needed]
        known = [{**one, "file": files[one["id"]]} for one in going] + [{**one, "file": None} for one in over]
        return SweepStep(known, (), {"id": found[-1]["_id"]} if len(found) == limit else None)

    @override
    async def count(
        self, tenant: Tenant, as_of: datetime, step_or_gone: SweepStep | Documents
    ) -> list[Found]:
        if isinstance(step_or_gone, SweepStep):
            return [_counted(tenant, one["file"]) for one in step_or_gone.going if one["file"] is not None]
        last: dict[str, str] = {}
        for one in step_or_gone:
            for name in one.get("files", ()):
                last[name] = max(one["_id"], last.get(name, ""))
        if not last:
            return []
        with guarded(self._metrics, "tally_files", seconds=self._seconds):
            files = await self._whole(tenant, sorted(last), as_of)
        found = []
        for name, file in files.items():
            referring = await self._referring(tenant, name, as_of)
            # Counted once: with the last of those that refer to it, and only if all of them go.
            if referring is not None and max(referring) == last[name]:
                found.append(_counted(tenant, file))
        return found

    async def _referring(self, tenant: Tenant, name: str, as_of: datetime) -> set[str] | None:
        """Names of the resources that refer to a file; None: one of them stays."""
        wanted = {"tenant": str(tenant), "files": name}
        with guarded(self._metrics, "referring", seconds=self._seconds):
            current = await self._resources.find(wanted, _REFERRER, hint="referring").to_list(None)
            past = await self._history.find(wanted, _REFERRER, hint="referring").to_list(None)
            names = {str(one["_id"]).rpartition("/")[0] for one in past}
            owners = await self._resources.find({"_id": {"$in": sorted(names)}}, _REFERRER).to_list(None)
        everyone = {one["_id"]: one for one in (*current, *owners)}
        over = [one for one in everyone.values() if one["expires_at"] <= as_of]
        staying = await self._needing.kept(tenant, over, as_of)
        going = {one["_id"] for one in over} - staying.keys()
        held = await self._needing.held(tenant, [*past, *owners])
        for one in current:
            if one["_id"] not in going:
                return None
        for one in past:
            owner = str(one["_id"]).rpartition("/")[0]
            by_age = one["expires_at"] <= as_of and one["_id"] not in held and owner not in held
            if owner not in going and not by_age:
                return None
        return {one["_id"] for one in (*current, *past)}

    async def _whole(
        self, tenant: Tenant, names: Sequence[str], as_of: datetime
    ) -> dict[str, Mapping[str, Any]]:
        """Length and date of each named file that is there, by name, but for those just touched by a push."""
        wanted = {"tenant": str(tenant), "id": {"$in": list(names)}, "touched": {"$lt": as_of - GRACE}}
        fields = {"id": 1, "length": 1, "uploadDate": 1}
        found = await self._files.find(wanted, fields, hint="files").to_list(None)
        return {one["id"]: one for one in found}

    async def _there(
        self, tenant: Tenant, names: Sequence[str], session: Session | None = None
    ) -> frozenset[str]:
        """Names of files of which there is a copy, however young."""
        wanted = {"tenant": str(tenant), "id": {"$in": list(names)}}
        places = self._files if session is None else self._plain_files
        found = await places.find(wanted, {"id": 1}, hint="files", session=session).to_list(None)
        return frozenset(one["id"] for one in found)

    async def _forget_note(self, tenant: Tenant, note: Mapping[str, Any], session: Session) -> None:
        """Forget a note that leads to nothing, if that is so still."""
        name = note["id"]
        idle = not await self._there(tenant, [name], session)
        if idle or await self._is_needed(tenant, name, session):
            await self._plain_forgotten.delete_one({"_id": note["_id"]}, session=session)

    async def _is_needed(self, tenant: Tenant, name: str, session: Session | None = None) -> bool:
        wanted = {"tenant": str(tenant), "files": name}
        places = (self._resources, self._history) if session is None else self._plain
        for collection in places:
            if await collection.find_one(wanted, {"_id": 1}, hint="referring", session=session) is not None:
                return True
        return False

    @override
    async def delete(self, tenant: Tenant, as_of: datetime, step: SweepStep, session: Session) -> Deleted:
        found: list[Found] = []
        total = 0
        for one in step.going:
            file = one["file"]
            if file is None:
                await self._forget_note(tenant, one, session)
                continue
            if found and total + file["length"] > BYTES_MAX:
                return Deleted(_rows(found), more=True)
            if not await self._plain_forgotten.find_one({"_id": one["_id"]}, session=session):
                continue  # It went in the part before.
            if await self._is_needed(tenant, one["id"], session):
                continue
            # Who is about to refer to it has touched it before: a write conflict with this, or no match.
            same = {"_id": file["_id"], "tenant": str(tenant), "touched": {"$lt": as_of - GRACE}}
            done = await self._plain_files.delete_one(same, session=session)
            if done.deleted_count:
                pieces = {"tenant": str(tenant), "files_id": file["_id"]}
                await self._plain_chunks.delete_many(pieces, session=session)
                await self._plain_forgotten.delete_one({"_id": one["_id"]}, session=session)
                found.append(_counted(tenant, file))
                total += file["length"]
        return Deleted(_rows(found))


def _counted(tenant: Tenant, file: Mapping[str, Any]) -> Found:
    # No policy ends a file: it goes with the last version that refers to it.
    return Found(Row(str(tenant), 0, "Binary", Reason.FILE.value), f"{file['uploadDate']:%Y-%m}")


def _rows(found: Sequence[Found]) -> dict[Row, int]:
    return {row: sum(one.row == row for one in found) for row in {one.row for one in found}}
