"""Changes as they are stored: in blocks, each of one tenant, each a document.

changes       _id "org/env/number of its first change", tenant, first, last, mark, at, expires_at, scanned,
              quiet [number…] of those that are not told to who did not know of their resource,
              changes [[type, id, version, kind, microseconds]…]
change_state  _id "org/env": number and mark, those of the tenant's newest change
              _id "log": token or start, the place up to which MongoDB's log was read; at, the moment when the
              feed was complete; since, from which moment on a scan looks while it is not over

A thousand changes a second are some ten documents: no push waits until it has a number.
"""

from __future__ import annotations

from secrets import randbits
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.changes.changes import Change, Position
from store.changes.kinds import Kind
from store.fhir.instants import to_datetime
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

BLOCK_MAX: Final = 250
"""Most changes of one block."""
LOG: Final = "log"
"""`_id` of the document that says where the follower is. No tenant is named so."""


class Entry(NamedTuple):
    """Change that has no number yet."""

    tenant: str
    key: ResourceKey
    version: int
    kind: Kind
    at: int
    """Microseconds since 1970, as the store keeps moments."""
    quiet: bool = False
    """Whether subscribers who did not know of the resource are not told."""


def blocks_of(  # noqa: PLR0913 -- what blocks have in common
    tenant: str,
    entries: Sequence[Entry],
    behind: Position,
    *,
    now: datetime,
    until: datetime,
    scanned: bool,
) -> list[dict[str, Any]]:
    """Documents that hold a tenant's changes, so many each, numbered on from the position `behind`."""
    blocks = []
    for start in range(0, len(entries), BLOCK_MAX):
        some = entries[start : start + BLOCK_MAX]
        first = behind.number + 1 + start
        quiet = [number for number, one in enumerate(some, first) if one.quiet]
        blocks.append(
            {
                "_id": f"{tenant}/{first}",
                "tenant": tenant,
                "first": first,
                "last": first + len(some) - 1,
                "mark": 1 + randbits(31) % (2**31 - 1),
                "at": now,
                "expires_at": until,
                **({"scanned": True} if scanned else {}),
                **({"quiet": quiet} if quiet else {}),
                "changes": [[*one.key, one.version, one.kind.value, one.at] for one in some],
            }
        )
    return blocks


def behind(block: Mapping[str, Any]) -> Position:
    """Position behind the last change of a block."""
    return Position(block["last"], block["mark"])


def position_in(head: Mapping[str, Any] | None) -> Position:
    """Position that the state of a tenant says."""
    return Position(0) if head is None else Position(head["number"], head["mark"])


def changes_in(block: Mapping[str, Any]) -> Iterator[Change]:
    """Changes of a block, in order."""
    mark, scanned, quiet = block["mark"], bool(block.get("scanned")), frozenset(block.get("quiet", ()))
    for number, (of_type, resource_id, version, kind, at) in enumerate(block["changes"], block["first"]):
        key = ResourceKey(of_type, resource_id)
        yield Change(number, key, version, Kind(kind), to_datetime(at), mark, scanned, number in quiet)


def by_tenant(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries of each tenant, in order."""
    found: dict[str, list[Entry]] = {}
    for one in entries:
        found.setdefault(one.tenant, []).append(one)
    return found
