"""Patients that carry an identifier, and the other records of one person, for holds and erasures alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.search.index import key
from store.search.values.tokens import bare

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.mongo.driver.client import Collection
    from store.tenancy import Tenant


async def carriers_of(resources: Collection, tenant: Tenant, identifier: str) -> set[str]:
    """`Patient/id` of the Patients that carry `system|value`. Raises the driver's errors."""
    wanted = {
        "tenant": str(tenant),
        "type": "Patient",
        "keys": key("identifier", bare(identifier)),
        "index.identifier": identifier,
    }
    found = await resources.find(wanted, {"_id": 0, "id": 1}, hint="keyed").to_list(None)
    return {f"Patient/{one['id']}" for one in found}


async def kin_of(resources: Collection, tenant: Tenant, references: Iterable[str]) -> set[str]:
    """`Patient/id` of the records linked with one of these as one person's. Raises the driver's errors."""
    ids = [f"{tenant}/{one}" for one in sorted(references) if one.startswith("Patient/")]
    fields = {"_id": 0, "identity.kin": 1}
    found = await resources.find({"_id": {"$in": ids}, "identity.kin": {"$exists": True}}, fields).to_list(
        None
    )
    return {f"Patient/{kin}" for one in found for kin in one["identity"]["kin"]}


async def never_here(resources: Collection, tenant: Tenant, names: Iterable[str]) -> set[str]:
    """Names `Type/id` under which nothing is stored, no tombstone either. Raises the driver's errors."""
    ids = {f"{tenant}/{one}": one for one in names}
    found = await resources.find({"_id": {"$in": sorted(ids)}}, {"_id": 1}, hint="_id_").to_list(None)
    return set(ids.values()) - {ids[one["_id"]] for one in found}
