"""Data of one patient: found by index where there is one, and by reading what no index covers.

Current resources that say whom they are about are found by the `keyed` index. All others are read once:
types without an index of patients, what only tells of a report, past versions that do not say. Nothing is
found that another patient's data needs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from store.fhir.references import RELATIVE
from store.mongo.driver.guard import guarded
from store.mongo.erasure.belongings import Belongings, item_of, may_go
from store.mongo.erasure.known_by import KnownBy
from store.mongo.erasure.reads import CURRENT, PAST, SCAN_BATCH, Reads
from store.mongo.erasure.untold import DEPTH_MAX, Untold
from store.retention.erased_names import patients_of
from store.retention.erasure import KnownAs, about, full_names, told, whose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Database
    from store.mongo.erasure.reads import Heartbeat
    from store.settings import StoreSettings
    from store.tenancy import Tenant


class PatientData:
    """Finds the data of a patient in one database."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._reads = Reads(database, settings=settings, metrics=metrics)
        self._known_by = KnownBy(self._reads)
        self._untold = Untold(self._reads)

    async def carriers(self, tenant: Tenant, identifier: str) -> list[str]:
        """`Patient/id` of the Patients that carry an identifier."""
        return await self._reads.carriers(tenant, identifier)

    async def is_one(self, tenant: Tenant, carriers: Sequence[str]) -> bool:
        """Whether several Patients are one person: linked, or of the same identifiers, or name and birth."""
        return await self._known_by.is_one(tenant, carriers)

    async def find(self, tenant: Tenant, own: KnownAs, heartbeat: Heartbeat) -> Belongings:
        """All that belongs to the patient who is known by these; `own` grows by what else it is known by."""
        found = Belongings(own)
        await self._past_patients(tenant, found, heartbeat)
        await self._known_by.widen(tenant, own)
        await self._patients(tenant, found)
        await self._keyed(tenant, found)
        await self._past(tenant, found, heartbeat)
        await self._untold.add(tenant, found, heartbeat)
        await self._left_of_deleted(tenant, found)
        await self._versions(tenant, found)
        return found

    async def _past_patients(self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat) -> None:
        """Patients who carried the identifier and were deleted since: what refers to them is theirs."""
        own, needles = found.own, found.own.needles()
        names: set[str] = set()
        wanted = {"tenant": str(tenant), "type": "Patient"}
        async for one in self._reads.every(self._reads.history, wanted, PAST, "versions", heartbeat):
            raw = one.get("raw")
            if raw is None or not any(needle in raw for needle in needles):
                continue
            if about("Patient", raw, own).own or f"Patient/{one['id']}" in own.references:
                names.add(f"Patient/{one['id']}")
                found.names += full_names(raw)
        own.references |= names - set(await self._reads.patients_there(tenant, names))

    async def _patients(self, tenant: Tenant, found: Belongings) -> None:
        ids = [f"{tenant}/{one}" for one in found.own.references if one.startswith("Patient/")]
        with guarded(self._reads.metrics, "patients", seconds=self._reads.seconds):
            wanted = {"_id": {"$in": ids}, "type": "Patient"}
            for one in await self._reads.resources.find(wanted, CURRENT).to_list(None):
                found.patients[one["_id"]] = item_of(one)
                found.names += full_names(one["raw"])

    async def _keyed(self, tenant: Tenant, found: Belongings) -> None:
        async for one in self._reads.by_keys(tenant, found.own.keys, CURRENT):
            said = told(one["type"], one["raw"], one["keys"], found.own)
            if said.others:
                found.shared.add(one["_id"])
            elif said.own:
                found.current[one["_id"]] = item_of(one)

    async def _past(self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat) -> None:
        """Past versions that say whom they are about: `of`, or their bytes where nothing was noted."""
        own, needles = found.own, found.own.needles()
        wanted = {
            "tenant": str(tenant),
            "$or": [{"of": {"$in": own.keys}}, {"of": {"$exists": False}}, {"of": []}],
        }
        async for one in self._reads.every(self._reads.history, wanted, PAST, "versions", heartbeat):
            item, raw = item_of(one), one.get("raw") or b""
            if item.name in own.references:
                found.past[item.id] = replace(item, past=True)
                continue
            if one.get("of"):
                said = told(item.type, raw, one["of"], own)
            elif any(needle in raw for needle in needles):
                said = about(item.type, raw, own)
            else:
                continue
            if said.own and said.others:
                found.shared.add(item.id)
            elif said.own:
                found.past[item.id] = replace(item, past=True)

    async def _left_of_deleted(self, tenant: Tenant, found: Belongings) -> None:
        """Find the tombstones of deleted resources: of ours, and of companions that ours refer to.

        A client's id may be what a patient is known by.
        """
        items = (*found.current.values(), *found.past.values())
        names = {one.name for one in found.past.values()} | found.own.references
        names |= {to for one in items for to in one.refers if may_go(to)}
        names -= {one.name for one in (*found.current.values(), *found.patients.values())}
        ids = [f"{tenant}/{one}" for one in sorted(names) if RELATIVE.fullmatch(one)]
        for start in range(0, len(ids), SCAN_BATCH):
            wanted = {"_id": {"$in": ids[start : start + SCAN_BATCH]}, "deleted": True}
            with guarded(self._reads.metrics, "tombstones", seconds=self._reads.seconds):
                left = await self._reads.resources.find(wanted, {"was": 1, "id": 1, "version": 1}).to_list(
                    None
                )
            for one in left:
                place = found.patients if one["was"] == "Patient" else found.current
                place[one["_id"]] = replace(item_of({**one, "deleted": True}), depth=DEPTH_MAX)

    async def _versions(self, tenant: Tenant, found: Belongings) -> None:
        """Past versions of the resources being erased, but for those about another patient."""
        by_type: dict[str, list[str]] = {}
        for one in (*found.current.values(), *found.patients.values()):
            by_type.setdefault(one.type, []).append(one.name.partition("/")[2])
        for resource_type, ids in by_type.items():
            for start in range(0, len(ids), SCAN_BATCH):
                some = {"$in": ids[start : start + SCAN_BATCH]}
                wanted = {"tenant": str(tenant), "type": resource_type, "id": some}
                with guarded(self._reads.metrics, "versions_of", seconds=self._reads.seconds):
                    versions = await self._reads.history.find(wanted, PAST, hint="versions").to_list(None)
                for version in versions:
                    if version["_id"] not in found.past and not _of_another(version, found.own):
                        found.past[version["_id"]] = replace(item_of(version), past=True)


def _of_another(version: Mapping[str, Any], own: KnownAs) -> bool:
    """Whether a past version is about another patient."""
    raw = version.get("raw")
    if version.get("of"):
        return bool(patients_of(version["of"]) - own.names) and not whose(patients_of(version["of"]), own).own
    said = None if raw is None else about(version["type"], raw, own)
    return said is not None and said.others and not said.own
