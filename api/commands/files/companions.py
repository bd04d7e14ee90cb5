"""Companions of a person's own data: what it refers to, and no search by the patient finds.

Practitioners and organisations, specimens and results without a subject, documents under a client's own id.
Nothing comes along that names another patient.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from api.search.linked import names_only
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from store.resources.resources import ResourceStore
    from store.tenancy import Tenant

DEPTH_MAX: Final = 5
"""References from the patient's resources to what comes along."""
_REFERENCE: Final = re.compile(
    rb'"(?:reference|url)":\s*"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[0-9]+)?"'
)
"""A relative reference, or the relative URL of a document: what has another base is somebody else's."""


def referred_by(raw: bytes) -> set[ResourceKey]:
    """Resources that stored bytes refer to."""
    return {ResourceKey(kind.decode(), own.decode()) for kind, own in _REFERENCE.findall(raw)}


class Companions:
    """Looks for what comes along with resources of one patient, as a search finds them."""

    def __init__(self, store: ResourceStore, tenant: Tenant, patient: str) -> None:
        self._store = store
        self._tenant = tenant
        self._own = {patient}
        """Names of the patient."""
        self._matches: set[ResourceKey] = set()
        self._referred: set[ResourceKey] = set()

    def add(self, key: ResourceKey, raw: bytes) -> None:
        """Take in a resource that the search found."""
        self._matches.add(key)
        self._referred |= referred_by(raw)
        if key.type == "Patient":
            self._own.add(str(key))

    async def found(self) -> dict[str, list[ResourceKey]]:
        """Keys of what comes along, by type. Their bytes are not kept meanwhile: documents may be large."""
        found: list[ResourceKey] = []
        seen, step = set(self._matches), self._referred
        for _ in range(DEPTH_MAX):
            step = step - seen
            seen |= step
            following: set[ResourceKey] = set()
            for key in sorted(step):
                raw = await self.raw(key)
                if raw is not None:
                    found.append(key)
                    following |= referred_by(raw)
            step = following
        by_type: dict[str, list[ResourceKey]] = {}
        for key in sorted(found):
            by_type.setdefault(key.type, []).append(key)
        return by_type

    async def of(self, keys: Iterable[ResourceKey]) -> AsyncIterator[tuple[ResourceKey, bytes]]:
        """Resources with these keys that are there still, with their bytes."""
        for key in keys:
            raw = await self.raw(key)
            if raw is not None:
                yield key, raw

    async def raw(self, key: ResourceKey) -> bytes | None:
        """Bytes of a resource; None: it is not there, or about another patient."""
        stored = await self._store.get(self._tenant, key)
        if not isinstance(stored, Stored):
            return None
        return stored.raw if names_only(self._own, key, stored.raw) else None
