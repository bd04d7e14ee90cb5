"""An ear for changes: those behind a position that its caller may hear of, by scopes and by what is there."""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from api.http.app_keys import CHANGES
from api.middleware.authenticate import admitted_again
from ingest.http.app_keys import PRINCIPAL, RESOURCES, TENANT, base_of
from ingest.http.reach import READ, is_seen
from store.changes.changes import Change, Position, PositionLost, may_be_told
from store.changes.hearing import hears
from store.changes.kinds import GOING
from store.changes.positions import token_of
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.versions import Stored, instant

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from aiohttp import web

    from store.resources.resource_keys import ResourceKey
    from store.tenancy import Tenant

NARROW_COUNT: Final = 50
"""Changes that are looked at together for a caller who sees types in part: each resource is read for it."""
ADMITTED_SECONDS: Final = 3.0
"""Time for which a listener's credential counts as good; nothing is told behind it without a look."""
LOST: Final = Issue(
    "expired",
    "what followed this position is no longer kept, or it belongs to another history of this tenant: ask"
    " `$changes` without `since` for a new position, then read all that is current by searches, then go on"
    " from that position",
    ("since",),
)
NOTHING_TO_HEAR: Final = Issue(
    "forbidden",
    "changes tell of every patient: the token needs a scope to read and search a type (`rs`); where searches"
    " must name their patient (the tenant's search scope), to update it too (`rus`)",
)


class Asked(NamedTuple):
    """Query of a request."""

    since: Position | None
    """Position to go on from; None: from now on."""
    types: frozenset[str]
    """Types to hear of."""
    most: int
    """Most changes that are looked at together."""
    wait_seconds: float


class Heard(NamedTuple):
    """Changes that may be told, and the position behind all that were looked at."""

    changes: tuple[Change, ...]
    position: Position
    looked_at: bool
    """Whether there were changes at all."""


class Ear:
    """A request that listens: where it is, and what it may hear."""

    def __init__(self, request: web.Request, asked: Asked) -> None:
        assert asked.since is not None  # noqa: S101 -- by `changes`
        self._request = request
        self._asked = asked
        self._admitted = monotonic()
        self.position = asked.since

    @property
    def wait_seconds(self) -> float:
        """Longest wait of a poll."""
        return self._asked.wait_seconds

    async def next(self) -> Heard:
        """Changes behind the position, which moves.

        Raises ServiceError `gone`, or when the caller is admitted no longer.
        """
        request = self._request
        if monotonic() - self._admitted >= ADMITTED_SECONDS:
            await self.admitted()
        tenant, caller = request[TENANT].tenant, request[PRINCIPAL]
        narrow = any(not caller.may(one, READ) for one in self._asked.types) if caller.is_narrow else False
        count = min(self._asked.most, NARROW_COUNT) if narrow else self._asked.most
        try:
            page = await request.app[CHANGES].read(tenant, self.position, limit=count)
        except PositionLost:
            raise ServiceError(Category.GONE, LOST) from None
        wanted = [one for one in page.changes if one.key.type in self._asked.types]
        there = await self._there({one.key for one in wanted if one.kind not in GOING})
        told = tuple(one for one in wanted if self._may_be_told(one, there))
        self.position = page.position
        return Heard(told, page.position, looked_at=bool(page.changes))

    async def wait(self, seconds: float) -> bool:
        """Whether there is something behind the position, within so long."""
        tenant: Tenant = self._request[TENANT].tenant
        moved = await self._request.app[CHANGES].wait({tenant: self.position}, seconds=seconds)
        return bool(moved)

    async def admitted(self) -> None:
        """Look again at the caller's credential. Raises ServiceError when it is no longer good, or its scopes
        reach none of the types.
        """
        await admitted_again(self._request)
        self._admitted = monotonic()
        caller, scope = self._request[PRINCIPAL], self._request[TENANT].search_scope
        types = frozenset(one for one in self._asked.types if hears(caller, one, scope))
        if not types:
            raise ServiceError(Category.FORBIDDEN, NOTHING_TO_HEAR)
        self._asked = self._asked._replace(types=types)

    def _may_be_told(self, change: Change, there: Collection[ResourceKey]) -> bool:
        # Of what is gone nothing tells what part it belonged to: as with reads, it is not told apart from
        # what never was.
        if change.kind in GOING:
            return self._request[PRINCIPAL].may(change.key.type, READ)
        return may_be_told(change, there)

    async def _there(self, keys: Collection[ResourceKey]) -> Collection[ResourceKey]:
        """Keys of resources that the caller may read now."""
        request = self._request
        tenant, caller = request[TENANT].tenant, request[PRINCIPAL]
        readable = await request.app[CHANGES].readable(tenant, keys)
        seen = {key for key in readable if caller.may(key.type, READ)}
        for key in readable - seen:
            found = await request.app[RESOURCES].get(tenant, key)
            if isinstance(found, Stored) and await is_seen(caller, found, base=partial(base_of, request)):
                seen.add(key)
        return seen


def render(request: web.Request, change: Change) -> Mapping[str, Any]:
    """A change as JSON: ids, and nothing of its resource."""
    return {
        "tenant": str(request[TENANT].tenant),
        "type": change.key.type,
        "id": change.key.id,
        "version": change.version,
        "kind": change.kind.value,
        "at": instant(change.at).decode(),
        "position": token_of(change.position),
        **({"scanned": True} if change.scanned else {}),
    }
