"""What belongs to one patient: found by index where there is one, and by reading what no index covers.

Current resources that say whom they are about are found by the `keyed` index. All others are read once:
types without an index of patients, what only tells of a report, past versions that do not say. Nothing is
found that another patient's data needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from store.fhir.references import RELATIVE
from store.mongo.driver.client import majority
from store.mongo.driver.guard import guarded
from store.mongo.indexes import HISTORY, RESOURCES
from store.retention.erased_names import KEY, is_whole, patients_of, references
from store.retention.erasure import About, Own, about, full_names, is_about_patients, told, whose
from store.search.index import key
from store.search.parameters import TYPES, SearchType
from store.search.planning.plan import document_id
from store.search.values.tokens import bare

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence

    from store.metrics import StoreMetrics
    from store.mongo.driver.client import Collection, Database
    from store.retention.erasure import FullName
    from store.settings import StoreSettings
    from store.tenancy import Tenant

    Heartbeat = Callable[[], Awaitable[None]]
    """Called now and then while much is read."""

SCAN_BATCH: Final = 500
"""Documents read at once; between two batches others get their turn."""
ROUNDS_MAX: Final = 20
"""Steps from a patient's identifiers to further ones, or from a resource to what it refers to."""
_WITH_PATIENT: Final = sorted(name for name, row in TYPES.items() if "patient" in row.by_name)
_ABOUT_PATIENTS: Final = sorted(name for name in TYPES if is_about_patients(name))
_OF_NOBODY: Final = frozenset({"Patient", "Device", "Group"})
"""What a report refers to and is no part of: machines and groups stay, whoever refers to them."""
_NAMES_PATIENT: Final = r"^patient(\.identifier)?="
_CURRENT: Final = {"type": 1, "id": 1, "version": 1, "keys": 1, "files": 1, "raw": 1, "index.identifier": 1}
_PAST: Final = {"type": 1, "was": 1, "id": 1, "version": 1, "files": 1, "of": 1, "raw": 1, "deleted": 1}


@dataclass(frozen=True, slots=True)
class Item:
    """One document to delete."""

    id: str
    """Its `_id`."""
    name: str
    """`Type/id`."""
    version: int
    files: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Of a past version whom it is `of`."""
    refers: frozenset[str] = frozenset()
    """`Type/id` of what its bytes refer to."""
    identifiers: tuple[str, ...] = ()
    """Its own, with their systems."""
    gone: bool = False
    """What is left of a resource that was deleted."""
    past: bool = False
    """It is in the history."""
    depth: int = 0
    """Of what only others lead to: over how many references."""

    @property
    def type(self) -> str:
        """Of the resource."""
        return self.name.partition("/")[0]


@dataclass(slots=True)
class Belongings:
    """All of one patient."""

    own: Own
    patients: dict[str, Item] = field(default_factory=dict)
    """The Patients themselves, by `_id`; they go last, for all else is found from them."""
    current: dict[str, Item] = field(default_factory=dict)
    past: dict[str, Item] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    """What is about another patient too, and stays."""
    names: list[FullName] = field(default_factory=list)

    def everything(self) -> dict[str, Item]:
        """Current and past ones, the Patients too."""
        return {**self.current, **self.past, **self.patients}


class Finder:
    """Looks for them in one database."""

    def __init__(self, database: Database, *, settings: StoreSettings, metrics: StoreMetrics) -> None:
        self._resources: Collection = majority(database, RESOURCES)
        self._history: Collection = majority(database, HISTORY)
        self._seconds = settings.store_timeout_seconds
        self._metrics = metrics

    async def carriers(self, tenant: Tenant, identifier: str) -> list[str]:
        """`Patient/id` of the Patients that carry an identifier."""
        wanted = {
            "tenant": str(tenant),
            "type": "Patient",
            "keys": key("identifier", bare(identifier)),
            "index.identifier": identifier,
        }
        with guarded(self._metrics, "carriers", seconds=self._seconds):
            found = await self._resources.find(wanted, {"_id": 0, "id": 1}, hint="keyed").to_list(None)
        return sorted(f"Patient/{one['id']}" for one in found)

    async def is_one(self, tenant: Tenant, carriers: Sequence[str]) -> bool:
        """Whether several Patients are one person who came twice: the same identifiers, or name and birth."""
        ids = [f"{tenant}/{one}" for one in carriers]
        with guarded(self._metrics, "carriers", seconds=self._seconds):
            fields = {"raw": 1, "index.identifier": 1}
            there = await self._resources.find({"_id": {"$in": ids}}, fields).to_list(None)
        identifiers = {frozenset(filter(is_whole, one["index"]["identifier"])) for one in there}
        people = [{name for name in full_names(one["raw"]) if name.born} for one in there]
        return len(identifiers) == 1 or bool(people and set.intersection(*people))

    async def find(self, tenant: Tenant, own: Own, heartbeat: Heartbeat) -> Belongings:
        """All that belongs to the patient who is known by these; `own` grows by what else it is known by."""
        found = Belongings(own)
        await self._past_patients(tenant, found, heartbeat)
        await self._known_by(tenant, own)
        await self._patients(tenant, found)
        await self._keyed(tenant, found)
        await self._past(tenant, found, heartbeat)
        await self._untold(tenant, found, heartbeat)
        await self._left_of_deleted(tenant, found)
        await self._versions(tenant, found)
        return found

    # --- what a patient is known by

    async def _known_by(self, tenant: Tenant, own: Own) -> None:
        """Further identifiers and references, as long as nobody else has them."""
        looked: set[str] = set()
        for _ in range(ROUNDS_MAX):
            before = (len(own.references), len(own.identifiers))
            for one in sorted(own.identifiers - looked):
                looked.add(one)
                own.references.update(await self.carriers(tenant, one))
            for identifiers in (await self._patients_there(tenant, own.references)).values():
                for one in identifiers - own.identifiers:
                    if set(await self.carriers(tenant, one)) <= own.references:
                        own.identifiers.add(one)
            own.references |= await self._unarrived(tenant, own)
            if before == (len(own.references), len(own.identifiers)):
                return

    async def _patients_there(self, tenant: Tenant, references: Iterable[str]) -> dict[str, set[str]]:
        """The whole identifiers of the Patients that are here, by reference."""
        ids = [f"{tenant}/{one}" for one in references if one.startswith("Patient/")]
        fields = {"id": 1, "index.identifier": 1}
        with guarded(self._metrics, "patients_there", seconds=self._seconds):
            wanted = {"_id": {"$in": ids}, "type": "Patient"}
            there = await self._resources.find(wanted, fields).to_list(None)
        return {
            f"Patient/{one['id']}": set(filter(is_whole, one["index"].get("identifier", ()))) for one in there
        }

    async def _unarrived(self, tenant: Tenant, own: Own) -> set[str]:
        """References that stand beside our identifiers, to a Patient who is not here and nobody else's."""
        entries = [f"patient.identifier={one}" for one in own.identifiers]
        beside: set[str] = set()
        async for document in self._by_keys(tenant, entries, {"keys": 1}):
            names = patients_of(document["keys"])
            beside |= {one.text for one in names if one.kind == KEY}
        beside -= own.references
        beside -= set(await self._patients_there(tenant, beside))
        free = set()
        for reference in beside:
            others = False
            async for document in self._by_keys(tenant, [f"patient={reference}"], {"keys": 1}):
                identified = {one for one in patients_of(document["keys"]) if one.kind != KEY}
                others = others or (bool(identified) and identified.isdisjoint(own.names))
            if not others:
                free.add(reference)
        return free

    async def _past_patients(self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat) -> None:
        """Patients who carried the identifier and were deleted since: what refers to them is theirs."""
        own, needles = found.own, found.own.needles()
        names: set[str] = set()
        wanted = {"tenant": str(tenant), "type": "Patient"}
        async for one in self._read(self._history, wanted, _PAST, "versions", heartbeat):
            raw = one.get("raw")
            if raw is None or not any(needle in raw for needle in needles):
                continue
            if about("Patient", raw, own).own or f"Patient/{one['id']}" in own.references:
                names.add(f"Patient/{one['id']}")
                found.names += full_names(raw)
        own.references |= names - set(await self._patients_there(tenant, names))

    # --- current resources

    async def _by_keys(
        self, tenant: Tenant, entries: Sequence[str], fields: Mapping[str, int]
    ) -> AsyncIterator[Mapping[str, Any]]:
        if not entries:
            return
        wanted = {"tenant": str(tenant), "type": {"$in": _WITH_PATIENT}, "keys": {"$in": list(entries)}}
        with guarded(self._metrics, "by_patient", seconds=self._seconds):
            cursor = self._resources.find(wanted, fields, hint="keyed", batch_size=SCAN_BATCH)
            async for document in cursor:
                yield document

    async def _patients(self, tenant: Tenant, found: Belongings) -> None:
        ids = [f"{tenant}/{one}" for one in found.own.references if one.startswith("Patient/")]
        with guarded(self._metrics, "patients", seconds=self._seconds):
            wanted = {"_id": {"$in": ids}, "type": "Patient"}
            for one in await self._resources.find(wanted, _CURRENT).to_list(None):
                found.patients[one["_id"]] = _item(one)
                found.names += full_names(one["raw"])

    async def _keyed(self, tenant: Tenant, found: Belongings) -> None:
        async for one in self._by_keys(tenant, found.own.keys, _CURRENT):
            said = told(one["type"], one["raw"], one["keys"], found.own)
            if said.others:
                found.shared.add(one["_id"])
            elif said.own:
                found.current[one["_id"]] = _item(one)

    async def _untold(self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat) -> None:
        """Resources without a patient in the index: companions that only ours need, what tells of ours."""
        candidates = await self._companions(tenant, found)
        needles = found.own.needles()
        names = {one.name for one in (*found.current.values(), *found.patients.values())}
        telling: dict[str, tuple[Item, About]] = {}
        needing: dict[str, set[str]] = {}
        wanted = {
            "tenant": str(tenant),
            "type": {"$in": [one for one in _ABOUT_PATIENTS if one != "Patient"]},
            "keys": {"$not": {"$regex": _NAMES_PATIENT}},
        }
        async for one in self._read(self._resources, wanted, _CURRENT, "updated", heartbeat):
            raw = one["raw"]
            refers = frozenset(references(raw))
            item_name = f"{one['type']}/{one['id']}"
            named = any(needle in raw for needle in needles)
            said = about(one["type"], raw, found.own) if named else About(own=False, others=False)
            if said.own or not refers.isdisjoint(names | candidates.keys()):
                telling[item_name] = _item(one), said
                for to in refers & candidates.keys() - {item_name}:
                    needing.setdefault(to, set()).add(item_name)
        await self._needed_by_others(tenant, found, candidates, needing, heartbeat)
        await self._decide(tenant, found, candidates, telling, needing)

    async def _companions(self, tenant: Tenant, found: Belongings) -> dict[str, Item]:
        """What ours refer to, and that again, of which nothing says whose it is."""
        known = {one.name for one in (*found.current.values(), *found.patients.values())}
        candidates: dict[str, Item] = {}
        step = {to for one in (*found.current.values(), *found.past.values()) for to in one.refers}
        for depth in range(1, ROUNDS_MAX):
            step = {one for one in step - known - candidates.keys() if _may_go(one)}
            if not step:
                break
            wanted = {"_id": {"$in": [f"{tenant}/{one}" for one in sorted(step)]}, "deleted": None}
            with guarded(self._metrics, "companions", seconds=self._seconds):
                there = await self._resources.find(wanted, _CURRENT).to_list(None)
            known |= step
            free = [one for one in there if not patients_of(one["keys"])]
            # A type without an index of patients may name one all the same.
            items = {f"{one['type']}/{one['id']}": replace(_item(one), depth=depth) for one in free}
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
        wanted: dict[str, Any] = {"tenant": str(tenant), "keys": {"$regex": _NAMES_PATIENT}}
        hint = "updated"
        types, fields = _referring({one.type for one in candidates.values()})
        if types is None:  # Pointed at by URLs too, which no index has: all are read.
            wanted["type"] = {"$in": _WITH_PATIENT}
        else:
            spelled = sorted(candidates)
            wanted["type"] = {"$in": types}
            wanted["$or"] = [{f"index.{name}": {"$in": spelled}} for name in fields]
        async for one in self._read(self._resources, wanted, {"raw": 1, "type": 1, "id": 1}, hint, heartbeat):
            if one["_id"] in ours:
                continue
            for to in candidates.keys() & set(references(one["raw"])):
                needing.setdefault(to, set()).add("another's")

    async def _decide(
        self,
        tenant: Tenant,
        found: Belongings,
        candidates: dict[str, Item],
        telling: Mapping[str, tuple[Item, About]],
        needing: Mapping[str, set[str]],
    ) -> None:
        """Which of the candidates and of what tells of ours go; what stays keeps what it needs."""
        ours = {one.name for one in (*found.current.values(), *found.patients.values())}
        going = {name for name, (_, said) in telling.items() if said.own and not said.others}
        found.shared |= {item.id for item, said in telling.values() if said.own and said.others}
        free = set(candidates)
        indirect = {name for name, (_, said) in telling.items() if not said.own} - set(candidates)
        others = {
            to
            for name in indirect
            for to in telling[name][0].refers
            if to not in ours and to not in free and to not in found.own.references and _may_go(to)
        }
        staying = await self._there(tenant, others)
        while True:
            told = {
                name
                for name in indirect
                if not telling[name][0].refers.isdisjoint(ours | going | free)
                and telling[name][0].refers.isdisjoint(staying)
            }
            kept = {
                name for name in free if not needing.get(name, set()) <= ours | going | told | (free - {name})
            }
            # What stays needs what it refers to.
            kept |= {to for name in kept for to in candidates[name].refers & free}
            if not kept:
                break
            free -= kept
            staying |= kept
        for name in going | told:
            found.current[telling[name][0].id] = telling[name][0]
        for name in free:
            found.current[candidates[name].id] = candidates[name]

    async def _there(self, tenant: Tenant, names: Iterable[str]) -> set[str]:
        wanted = {"_id": {"$in": [f"{tenant}/{one}" for one in sorted(names)]}, "deleted": None}
        with guarded(self._metrics, "there", seconds=self._seconds):
            there = await self._resources.find(wanted, {"type": 1, "id": 1}).to_list(None)
        return {f"{one['type']}/{one['id']}" for one in there}

    # --- past versions, and what is left of what was deleted

    async def _past(self, tenant: Tenant, found: Belongings, heartbeat: Heartbeat) -> None:
        """Past versions that say whom they are about: `of`, or their bytes where nothing was noted."""
        own, needles = found.own, found.own.needles()
        wanted = {
            "tenant": str(tenant),
            "$or": [{"of": {"$in": own.keys}}, {"of": {"$exists": False}}, {"of": []}],
        }
        async for one in self._read(self._history, wanted, _PAST, "versions", heartbeat):
            item, raw = _item(one), one.get("raw") or b""
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
        """What is left of deleted resources: of ours, and of companions that ours refer to.

        A client's id may be what a patient is known by.
        """
        items = (*found.current.values(), *found.past.values())
        names = {one.name for one in found.past.values()} | found.own.references
        names |= {to for one in items for to in one.refers if _may_go(to)}
        names -= {one.name for one in (*found.current.values(), *found.patients.values())}
        ids = [f"{tenant}/{one}" for one in sorted(names) if RELATIVE.fullmatch(one)]
        for start in range(0, len(ids), SCAN_BATCH):
            wanted = {"_id": {"$in": ids[start : start + SCAN_BATCH]}, "deleted": True}
            with guarded(self._metrics, "tombstones", seconds=self._seconds):
                left = await self._resources.find(wanted, {"was": 1, "id": 1, "version": 1}).to_list(None)
            for one in left:
                place = found.patients if one["was"] == "Patient" else found.current
                place[one["_id"]] = replace(_item({**one, "deleted": True}), depth=ROUNDS_MAX)

    async def _versions(self, tenant: Tenant, found: Belongings) -> None:
        """All past versions of what goes, but for those about another patient."""
        by_type: dict[str, list[str]] = {}
        for one in (*found.current.values(), *found.patients.values()):
            by_type.setdefault(one.type, []).append(one.name.partition("/")[2])
        for resource_type, ids in by_type.items():
            for start in range(0, len(ids), SCAN_BATCH):
                some = {"$in": ids[start : start + SCAN_BATCH]}
                wanted = {"tenant": str(tenant), "type": resource_type, "id": some}
                with guarded(self._metrics, "versions_of", seconds=self._seconds):
                    versions = await self._history.find(wanted, _PAST, hint="versions").to_list(None)
                for version in versions:
                    if version["_id"] not in found.past and not _of_another(version, found.own):
                        found.past[version["_id"]] = replace(_item(version), past=True)

    async def _read(
        self,
        collection: Collection,
        wanted: Mapping[str, Any],
        fields: Mapping[str, int],
        hint: str,
        heartbeat: Heartbeat,
    ) -> AsyncIterator[Mapping[str, Any]]:
        """All that matches, however long it takes: each batch has a deadline of its own."""
        cursor = collection.find(wanted, fields, hint=hint, batch_size=SCAN_BATCH)
        try:
            while True:
                with guarded(self._metrics, "erasure_read", seconds=max(self._seconds, 300)):
                    batch = await cursor.to_list(SCAN_BATCH)
                if not batch:
                    return
                await heartbeat()
                for document in batch:
                    yield document
        finally:
            await cursor.close()


def _item(document: Mapping[str, Any]) -> Item:
    resource_type = document.get("type") or document.get("was")
    index = document.get("index") or {}
    return Item(
        id=document["_id"],
        name=f"{resource_type}/{document['id']}",
        version=document["version"],
        files=tuple(document.get("files", ())),
        keys=tuple(document.get("keys") or document.get("of") or ()),
        refers=frozenset(references(document.get("raw") or b"")),
        identifiers=tuple(filter(is_whole, index.get("identifier", ()))),
        gone=bool(document.get("deleted")) and "raw" not in document,
    )


def _of_another(version: Mapping[str, Any], own: Own) -> bool:
    """Whether a past version is about another patient."""
    raw = version.get("raw")
    if version.get("of"):
        return bool(patients_of(version["of"]) - own.names) and not whose(patients_of(version["of"]), own).own
    said = None if raw is None else about(version["type"], raw, own)
    return said is not None and said.others and not said.own


def _may_go(name: str) -> bool:
    """Whether a companion of this name can be part of a patient's record."""
    resource_type = name.partition("/")[0]
    return resource_type not in _OF_NOBODY and is_about_patients(resource_type)


def _referring(targets: set[str]) -> tuple[list[str] | None, list[str]]:
    """The types that may refer to these, and their parameters for it; None: URLs may point at them too."""
    if "Binary" in targets:
        return None, []
    rows = [
        (row.name, parameter.name)
        for row in TYPES.values()
        if "patient" in row.by_name
        for parameter in row.by_name.values()
        if parameter.type is SearchType.REFERENCE
        and (targets & set(parameter.targets) or not parameter.targets)
    ]
    return sorted({name for name, _ in rows}), sorted({name for _, name in rows})


def current_id(tenant: Tenant, name: str) -> str:
    """The `_id` of a current document by `Type/id`."""
    return document_id(str(tenant), *name.split("/", 1))
