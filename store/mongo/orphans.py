"""Companions that a newer version of their report no longer brings along: who still refers to them.

Nothing is indexed for this: of the resources of the companion's own patient, which the `keyed` index finds,
those are looked for that refer to it by any parameter that may point at its type. Only a report that drops a
result asks, so a scan within one patient costs less than an entry for each result of each report.
"""

from __future__ import annotations

import copy
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, TypeVar

from store.mongo.documents import READ, from_document
from store.mongo.guard import guarded
from store.resources import ResourceKey, Stored
from store.search.parameters import TYPES, SearchType
from store.search.plan import document_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from store.metrics import StoreMetrics
    from store.mongo.client import Collection, Session
    from store.mongo.transaction import Open
    from store.settings import StoreSettings
    from store.tenancy import Tenant

T = TypeVar("T")

_RECORDS: Final = frozenset({"AuditEvent", "MessageHeader", "Provenance"})
"""They tell how something came about; that keeps nothing current."""


class Orphans:
    """The verbs of the port that a clean-up needs."""

    def __init__(
        self,
        *,
        read: Collection,
        history: Collection,
        settings: StoreSettings,
        clock: Callable[[], datetime],
        metrics: StoreMetrics,
    ) -> None:
        self._read = read
        self._history = history
        self._seconds = settings.store_timeout_seconds
        self._clock = clock
        self._metrics = metrics
        self._open: Open | None = None

    def within(self, open_: Open) -> Orphans:
        """The same, seeing what a transaction wrote."""
        within = copy.copy(self)
        within._open = open_  # noqa: SLF001 -- of our own kind
        return within

    async def _reading(self, operation: Callable[[Session | None], Awaitable[T]]) -> T:
        return await (operation(None) if self._open is None else self._open.run(operation))

    async def preceding(self, tenant: Tenant, key: ResourceKey, version: int) -> Stored | None:
        """See the port."""
        wanted = {
            "tenant": str(tenant),
            "type": key.type,
            "id": key.id,
            "version": {"$lt": version},
            "stale": None,
            "expires_at": {"$gt": self._clock()},
        }
        with guarded(self._metrics, "preceding", seconds=self._seconds):
            document = await self._reading(
                lambda session: self._history.find_one(wanted, READ, sort=[("version", -1)], session=session)
            )
        found = None if document is None else from_document(key, document)
        return found if isinstance(found, Stored) else None

    async def unreferenced(self, tenant: Tenant, keys: Sequence[ResourceKey]) -> frozenset[ResourceKey]:
        """See the port."""
        free: set[ResourceKey] = set()
        with guarded(self._metrics, "unreferenced", seconds=self._seconds):
            ids = [document_id(str(tenant), *one) for one in keys]
            fields = {"type": 1, "id": 1, "keys": 1}
            # One whose patient is not known cannot be asked for cheaply: it stays.
            wanted = {"_id": {"$in": ids}, "companion": True, "deleted": None}
            found = await self._reading(
                lambda session: self._read.find(wanted, fields, session=session).to_list(None)
            )
            by_type = sorted((ResourceKey(d["type"], d["id"]), _patients(d)) for d in found if _patients(d))
            for resource_type, group in groupby(by_type, key=lambda one: one[0].type):
                free |= await self._free(tenant, resource_type, list(group))
        return frozenset(free)

    async def _free(
        self, tenant: Tenant, resource_type: str, asked: Sequence[tuple[ResourceKey, tuple[str, ...]]]
    ) -> set[ResourceKey]:
        types, names = _referring(resource_type)
        spellings = [str(key) for key, _ in asked]
        matching: Mapping[str, Any] = {
            "tenant": str(tenant),
            "type": {"$in": types},
            "keys": {"$in": sorted({one for _, patients in asked for one in patients})},
            "$or": [{f"index.{name}": {"$in": spellings}} for name in names],
        }
        fields = {"_id": 0, **{f"index.{name}": 1 for name in names}}
        referred: set[str] = set()
        found = await self._reading(
            lambda session: self._read.find(matching, fields, hint="keyed", session=session).to_list(None)
        )
        for document in found:
            referred |= {one for spelled in document["index"].values() for one in spelled}
        return {key for key, _ in asked if str(key) not in referred}


def _patients(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys under which the index has what belongs to the same patient."""
    return tuple(
        one
        for one in document["keys"]
        if one.startswith(("patient=", "patient.identifier=")) and "&" not in one
    )


@lru_cache
def _referring(resource_type: str) -> tuple[list[str], list[str]]:
    """The types that belong to a patient and may refer to this one, and their parameters for it."""
    rows = [
        (row.name, parameter.name)
        for row in TYPES.values()
        if "patient" in row.by_name and row.name not in _RECORDS
        for parameter in row.by_name.values()
        if parameter.type is SearchType.REFERENCE and resource_type in parameter.targets
    ]
    return sorted({name for name, _ in rows}), sorted({name for _, name in rows})
