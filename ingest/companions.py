"""What comes along with a report and has no life of its own: it leaves with the version that brought it.

Patients, orders, specimens, organisations stay whatever a report says. Only what a version that is not
current refers to is looked at, only where no current resource refers to it, never what was also pushed by
itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ingest.decode import glance
from store.fhir.datatypes import Path
from store.fhir.references import parse
from store.resources import Gone, Outcome, ResourceKey, Stored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from store.resources import Prepared, PutResult, ResourceStore, SourceTime
    from store.tenancy import Tenant

COMPANION_TYPES: Final = frozenset({"Observation", "Media"})
_POINTERS: Final[Mapping[str, tuple[Path, ...]]] = {
    "DiagnosticReport": (Path("result"), Path("media.link")),
    "Observation": (Path("hasMember"), Path("derivedFrom")),
}
"""Where a report, or what came along with it, refers to companions."""
_DEPTH_MAX: Final = 5
_NEWEST: Final = 2**31
"""Above every version number."""


async def clean_up(
    store: ResourceStore,
    tenant: Tenant,
    results: Mapping[ResourceKey, PutResult],
    *,
    sourced: SourceTime,
    base: str,
) -> dict[ResourceKey, int]:
    """How many companions left the current data for each report of a message.

    A report that was stored already is looked at again: its first sender may have died before this.
    """
    gone: dict[ResourceKey, int] = {}
    for key, result in results.items():
        if key.type != "DiagnosticReport" or result.stored.version == 1:
            continue
        left = await _left_behind(store, tenant, result, base)
        for _ in range(_DEPTH_MAX):
            free = await store.unreferenced(tenant, sorted(left)) if left else frozenset()
            retired = await store.retire(tenant, sorted(free), sourced=sourced) if free else frozenset()
            if not retired:
                break
            gone[key] = gone.get(key, 0) + len(retired)
            past = await asyncio.gather(*(store.preceding(tenant, one, _NEWEST) for one in retired))
            left = {inner for one in past if one for inner in companions(one, base)}
    return gone


async def revive(
    store: ResourceStore,
    tenant: Tenant,
    sent: Sequence[Prepared],
    results: Mapping[ResourceKey, PutResult],
    *,
    base: str,
) -> dict[ResourceKey, PutResult]:
    """Put companions again that came too late only because another report had let go of them."""
    late = {key for key, result in results.items() if result.outcome is Outcome.STALE}
    wanted = {
        inner
        for key, result in results.items()
        if key not in late
        for inner in companions(result.stored, base) & late
    }
    gone = [one for one in wanted if isinstance(await store.get(tenant, one), Gone)]
    again = [replace(one, sourced="") for one in sent if one.key in gone]
    return {one.stored.key: one for one in await store.put_many(tenant, again)} if again else {}


async def _left_behind(
    store: ResourceStore, tenant: Tenant, result: PutResult, base: str
) -> set[ResourceKey]:
    """What another version of the report refers to, and the current one does not."""
    put = result.stored
    if result.outcome is Outcome.STALE:
        current = await store.get(tenant, put.key)
        kept = companions(current, base) if isinstance(current, Stored) else frozenset()
        return set(companions(put, base) - kept)
    before = await store.preceding(tenant, put.key, put.version)
    return set(companions(before, base) - companions(put, base)) if before else set()


def companions(stored: Stored, base: str) -> frozenset[ResourceKey]:
    """What this version refers to that may have come along with it."""
    return frozenset(_companions(stored, base))


def _companions(stored: Stored, base: str) -> Iterable[ResourceKey]:
    resource = glance(stored.raw)
    for path in _POINTERS.get(stored.key.type, ()):
        for reference in path.values(resource):
            text = reference.get("reference") if isinstance(reference, dict) else None
            target = parse(text, base=base) if isinstance(text, str) else None
            if target is not None and target.type in COMPANION_TYPES:
                resource_type, _, resource_id = target.spelling.partition("/")
                if resource_type == target.type:
                    yield ResourceKey(resource_type, resource_id)
