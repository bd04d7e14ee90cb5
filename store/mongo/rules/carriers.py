"""Patients that carry an identifier, for holds and erasures alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.search.index import key
from store.search.values.tokens import bare

if TYPE_CHECKING:
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
