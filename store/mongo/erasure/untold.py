"""Resources without a patient in the index: companions that one patient alone needs, what tells of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from store.mongo.driver.guard import guarded
from store.mongo.erasure.belongings import Item, item_of, may_go
from store.mongo.erasure.going import ANOTHERS, Telling, Undecided, going_of, neighbours_of, shared_of
from store.mongo.erasure.reads import CURRENT, NAMES_PATIENT, WITH_PATIENT
from store.retention.erased_names import patients_of, references
from store.retention.erasure import About, about, is_about_patients
from store.search.parameters import TYPES
from store.search.referring import referring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.mongo.erasure.belongings import Belongings
    from store.mongo.erasure.reads import Heartbeat, Reads
    from store.tenancy import Tenant

DEPTH_MAX: Final = 20
"""References from a patient's resource to what it leads to."""
_ABOUT_PATIENTS: Final = sorted(name for name in TYPES if is_about_patients(name))


class Untold:
    """Adds to what was found of a patient the resources of which no index says whose they are."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def add(self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat) -> None:
        """Resources without a patient in the index: companions that only ours need, what tells of ours."""
        candidates = await self._companions(tenant, found)
        needles = found.own.needles()
        names = {one.name for one in (*found.current.values(), *found.patients.values())}
        telling: dict[str, Telling] = {}
        needing: dict[str, set[str]] = {}
        wanted = {
            "tenant": str(tenant),
            "type": {"$in": [one for one in _ABOUT_PATIENTS if one != "Patient"]},
            "keys": {"$not": {"$regex": NAMES_PATIENT}},
        }
        async for one in self._reads.every(self._reads.resources, wanted, CURRENT, "updated", heartbeat):
            raw = one["raw"]
            refers = frozenset(references(raw))
            item_name = f"{one['type']}/{one['id']}"
            named = any(needle in raw for needle in needles)
            said = about(one["type"], raw, found.own) if named else About(own=False, others=False)
            if said.own or not refers.isdisjoint(names | candidates.keys()):
                telling[item_name] = Telling(item_of(one), said)
                for to in refers & candidates.keys() - {item_name}:
                    needing.setdefault(to, set()).add(item_name)
        await self._needed_by_others(tenant, found, candidates, needing, heartbeat)
        undecided = Undecided(names, found.own.references, candidates, telling, needing)
        staying = await self._reads.there(tenant, neighbours_of(undecided))
        found.shared |= shared_of(undecided)
        for item in going_of(undecided, staying):
            found.current[item.id] = item

    async def _companions(self, tenant: Tenant, found: Belongings) -> dict[str, Item]:
        """Companions of the resources erased, and what these refer to, where nothing says whose it is."""
        known = {one.name for one in (*found.current.values(), *found.patients.values())}
        candidates: dict[str, Item] = {}
        step = {to for one in (*found.current.values(), *found.past.values()) for to in one.refers}
        for depth in range(1, DEPTH_MAX):
            step = {one for one in step - known - candidates.keys() if may_go(one)}
            if not step:
                break
            wanted = {"_id": {"$in": [f"{tenant}/{one}" for one in sorted(step)]}, "deleted": None}
            with guarded(self._reads.metrics, "companions", seconds=self._reads.seconds):
                there = await self._reads.resources.find(wanted, CURRENT).to_list(None)
            known |= step
            free = [one for one in there if not patients_of(one["keys"])]
            # A type without an index of patients may name one all the same.
            items = {f"{one['type']}/{one['id']}": replace(item_of(one), depth=depth) for one in free}
            items = {
                name: item
                for name, item in items.items()
                if not any(to.startswith("Patient/") for to in item.refers - found.own.references)
            }
            candidates |= items
            step = {to for item in items.values() for to in item.refers}
        return candidates

    async def _needed_by_others(
        self,
        tenant: Tenant,
        found: Belongings,
        candidates: Mapping[str, Item],
        needing: dict[str, set[str]],
        heartbeat: Heartbeat,
    ) -> None:
        """Note for each candidate the resources of other patients that refer to it."""
        if not candidates:
            return
        ours = set(found.current) | set(found.patients)
        wanted: dict[str, Any] = {"tenant": str(tenant), "keys": {"$regex": NAMES_PATIENT}}
        targets = frozenset(one.type for one in candidates.values())
        if "Binary" in targets:  # Pointed at by URLs too, which no index has: all are read.
            wanted["type"] = {"$in": WITH_PATIENT}
        else:
            types, fields = referring(targets)
            spelled = sorted(candidates)
            wanted["type"] = {"$in": types}
            wanted["$or"] = [{f"index.{name}": {"$in": spelled}} for name in fields]
        async for one in self._reads.every(
            self._reads.resources, wanted, {"raw": 1, "type": 1, "id": 1}, "updated", heartbeat
        ):
            if one["_id"] in ours:
                continue
            for to in candidates.keys() & set(references(one["raw"])):
                needing.setdefault(to, set()).add(ANOTHERS)
