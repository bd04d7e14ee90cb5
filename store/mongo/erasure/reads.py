"""Reads of an erasure: by index where there is one, and of everything where no index says whose it is."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Final

import orjson

from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import HISTORY, RESOURCES
from store.mongo.rules.carriers import carriers_of, kin_of
from store.retention.erased_names import is_whole
from store.search.index import index
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import Any

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.settings import StoreSettings
    from store.tenancy import Tenant

    Heartbeat = Callable[[], Awaitable[None]]
    """Called now and then while much is read."""

SCAN_BATCH: Final = 500
"""Documents read at once; between two batches others get their turn."""
WITH_PATIENT: Final = sorted(name for name, row in TYPES.items() if "patient" in row.by_name)
"""Resource types that the `keyed` index finds by their patient."""
NAMES_PATIENT: Final = r"^patient(\.identifier)?="
"""Pattern of the entries of that index."""
CURRENT: Final = {"type": 1, "id": 1, "version": 1, "keys": 1, "files": 1, "raw": 1, "index.identifier": 1}
PAST: Final = {"type": 1, "was": 1, "id": 1, "version": 1, "files": 1, "of": 1, "raw": 1, "deleted": 1}


class Reads:
    """Resources and history of one database, read for an erasure."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self.resources: Collection = majority(database, RESOURCES)
        self.history: Collection = majority(database, HISTORY)
        self.seconds = settings.store_timeout_seconds
        self.metrics = metrics

    async def carriers(self, tenant: Tenant, identifier: str) -> list[str]:
        """`Patient/id` of the Patients that carry an identifier."""
        with guarded(self.metrics, "carriers", seconds=self.seconds):
            return sorted(await carriers_of(self.resources, tenant, identifier))

    async def kin(self, tenant: Tenant, references: Iterable[str]) -> set[str]:
        """`Patient/id` of the records that were linked with one of these as one person's."""
        with guarded(self.metrics, "kin", seconds=self.seconds):
            return await kin_of(self.resources, tenant, references)

    async def patients_there(self, tenant: Tenant, references: Iterable[str]) -> dict[str, set[str]]:
        """The identifiers of the Patients that are here, by reference: `system|value`, or `|value`."""
        ids = [f"{tenant}/{one}" for one in references if one.startswith("Patient/")]
        fields = {"id": 1, "index.identifier": 1}
        with guarded(self.metrics, "patients_there", seconds=self.seconds):
            wanted = {"_id": {"$in": ids}, "type": "Patient"}
            there = await self.resources.find(wanted, fields).to_list(None)
        return {
            f"Patient/{one['id']}": set(filter(_is_one, one["index"].get("identifier", ()))) for one in there
        }

    async def patients_deleted(self, tenant: Tenant, references: Iterable[str]) -> dict[str, set[str]]:
        """The identifiers that deleted Patients had at last, by reference.

        See DECISIONS.md#numbers-of-deleted.
        """
        ids = sorted(one.partition("/")[2] for one in references if one.startswith("Patient/"))
        if not ids:
            return {}
        wanted = {"tenant": str(tenant), "type": "Patient", "id": {"$in": ids}, "raw": {"$exists": True}}
        with guarded(self.metrics, "patients_deleted", seconds=self.seconds):
            fields = {"id": 1, "version": 1, "raw": 1}
            versions = await self.history.find(wanted, fields, hint="versions").to_list(None)
        last = {one["id"]: one["raw"] for one in sorted(versions, key=itemgetter("version"))}
        return {f"Patient/{one}": set(filter(_is_one, _identifiers(raw))) for one, raw in last.items()}

    async def there(self, tenant: Tenant, names: Iterable[str]) -> set[str]:
        """Names of these resources that are stored and not deleted."""
        wanted = {"_id": {"$in": [f"{tenant}/{one}" for one in sorted(names)]}, "deleted": None}
        with guarded(self.metrics, "there", seconds=self.seconds):
            there = await self.resources.find(wanted, {"type": 1, "id": 1}).to_list(None)
        return {f"{one['type']}/{one['id']}" for one in there}

    async def by_keys(
        self, tenant: Tenant, entries: Sequence[str], fields: Mapping[str, int]
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Current resources under one of these entries of the `keyed` index."""
        if not entries:
            return
        wanted = {"tenant": str(tenant), "type": {"$in": WITH_PATIENT}, "keys": {"$in": list(entries)}}
        with guarded(self.metrics, "by_patient", seconds=self.seconds):
            cursor = self.resources.find(wanted, fields, hint="keyed", batch_size=SCAN_BATCH)
            async for document in cursor:
                yield document

    async def every(
        self,
        collection: Collection,
        wanted: Mapping[str, Any],
        fields: Mapping[str, int],
        hint: str,
        heartbeat: Heartbeat,
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Documents that match, however long it takes: each batch has a deadline of its own."""
        cursor = collection.find(wanted, fields, hint=hint, batch_size=SCAN_BATCH)
        try:
            while True:
                with guarded(self.metrics, "erasure_read", seconds=max(self.seconds, 300)):
                    batch = await cursor.to_list(SCAN_BATCH)
                if not batch:
                    return
                await heartbeat()
                for document in batch:
                    yield document
        finally:
            await cursor.close()


def _identifiers(raw: bytes) -> list[str]:
    found = index(orjson.loads(raw), "Patient").fields.get("identifier")
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def _is_one(spelling: str) -> bool:
    """Whether a spelling says all that an identifier says."""
    return is_whole(spelling) or spelling.startswith("|")
