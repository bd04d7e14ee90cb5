"""Identifiers and references by which a patient is known, and that nobody else has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.mongo.driver.guard import guarded
from store.retention.erased_names import KEY, is_whole, patients_of
from store.retention.erasure import full_names
from store.retention.subjects import value_of
from store.search.index import key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from store.mongo.erasure.reads import Reads
    from store.retention.erasure import KnownAs
    from store.tenancy import Tenant

ROUNDS_MAX: Final = 20
"""Steps from a patient's identifiers to further ones."""


class KnownBy:
    """Looks up further names of a patient."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def is_one(self, tenant: Tenant, carriers: Sequence[str]) -> bool:
        """Whether several Patients are one person: linked, or of the same identifiers, or name and birth."""
        if all([set(carriers) <= {one, *await self._reads.kin(tenant, [one])} for one in carriers]):
            return True
        ids = [f"{tenant}/{one}" for one in carriers]
        with guarded(self._reads.metrics, "carriers", seconds=self._reads.seconds):
            fields = {"raw": 1, "index.identifier": 1}
            there = await self._reads.resources.find({"_id": {"$in": ids}}, fields).to_list(None)
        identifiers = {frozenset(filter(is_whole, one["index"]["identifier"])) for one in there}
        people = [{name for name in full_names(one["raw"]) if name.born} for one in there]
        return len(identifiers) == 1 or bool(people and set.intersection(*people))

    async def widen(self, tenant: Tenant, own: KnownAs) -> None:
        """Add to what a patient is known by further identifiers and references that nobody else has."""
        looked: set[str] = set()
        for _ in range(ROUNDS_MAX):
            before = (len(own.references), len(own.identifiers))
            for one in sorted(own.identifiers - looked):
                looked.add(one)
                own.references.update(await self._reads.carriers(tenant, one))
            # Records that were merged: their numbers are those of the survivor's, too.
            own.references |= await self._reads.kin(tenant, own.references)
            there = await self._reads.patients_there(tenant, own.references)
            deleted = await self._reads.patients_deleted(tenant, own.references - there.keys())
            for identifiers in (there | deleted).values():
                for one in identifiers - own.identifiers:
                    if set(await self._reads.carriers(tenant, one)) <= own.references:
                        _add(own, one)
            own.references |= await self._unarrived(tenant, own)
            if before == (len(own.references), len(own.identifiers)):
                return

    async def _unarrived(self, tenant: Tenant, own: KnownAs) -> set[str]:
        """References that stand beside our identifiers, to a Patient who is not here and nobody else's."""
        entries = [key("patient.identifier", one) for one in own.identifiers]
        beside: set[str] = set()
        async for document in self._reads.by_keys(tenant, entries, {"keys": 1}):
            names = patients_of(document["keys"])
            beside |= {one.text for one in names if one.kind == KEY}
        beside -= own.references
        beside -= set(await self._reads.patients_there(tenant, beside))
        free = set()
        for reference in beside:
            others = False
            async for document in self._reads.by_keys(tenant, [key("patient", reference)], {"keys": 1}):
                identified = {one for one in patients_of(document["keys"]) if one.kind != KEY}
                others = others or (bool(identified) and identified.isdisjoint(own.names))
            if not others:
                free.add(reference)
        return free


def _add(own: KnownAs, identifier: str) -> None:
    if is_whole(identifier):
        own.identifiers.add(identifier)
    else:
        own.numbers.add(value_of(identifier))
