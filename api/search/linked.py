"""Records of one person: a Patient, and those that are linked with it, as one was merged into the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.audit.patients import answered_with
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from store.resources.resources import ResourceStore
    from store.tenancy import Tenant


def names_only(own: Collection[str], key: ResourceKey, raw: bytes) -> bool:
    """Whether a stored resource names no patient, or one of these: `Patient/id`, or an identifier."""
    patients = answered_with(key.type, key.id, raw)
    return not patients or any(one in patients for one in own)


async def records_of_person(store: ResourceStore, tenant: Tenant, ids: Iterable[str]) -> tuple[str, ...]:
    """Ids of these Patients, and of those that are linked with one of them."""
    own = list(dict.fromkeys(ids))
    known = await store.known(tenant, [ResourceKey("Patient", one) for one in own]) if own else []
    return tuple(dict.fromkeys([*own, *(kin for one in known for kin in one.identity.get("kin", ()))]))
