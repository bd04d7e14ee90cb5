"""Content of notifications, read when it is sent: what the subscriber may read by then, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from api.subscriptions.sending.light import Told
from store.resources.resource_keys import ResourceKey
from store.search.criteria import Include, Tokens, Total
from store.search.index_side import decided, fields_of
from store.search.parameters import TYPES
from store.subscriptions.events import GOING
from store.subscriptions.records import Content

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from api.subscriptions.standing import Standing
    from store.changes.changes import Changes
    from store.resources.resources import ResourceStore
    from store.search.criteria import SearchQuery
    from store.search.index_side import IndexSide
    from store.search.parsing.context import SearchLimits
    from store.subscriptions.events import Event
    from store.subscriptions.matching import IndexSides
    from store.subscriptions.records import Subscription
    from store.tenancy import Tenant

IDS_MAX: Final = 300
"""Most resources that one search asks for by id."""
NOTHING: Final[dict[str, bytes]] = {}


class Sources(NamedTuple):
    """Ports that tell what may be read."""

    resources: ResourceStore
    changes: Changes
    sides: IndexSides
    limits: SearchLimits
    """Bounds of a search; `bytes_max` is that of one notification."""


class Readable(NamedTuple):
    """Resources of a notification."""

    events: int
    """Number of events, from the first on, that fit into one notification."""
    resources: dict[str, bytes]
    """Content by `Type/id`; empty where the notification holds references alone."""


def of_ids(query: SearchQuery, ids: Sequence[str]) -> SearchQuery:
    """The search, of the resources with these ids alone."""
    own = Tokens(TYPES[query.type].by_name["_id"], tuple(ids))
    return replace(
        query, clauses=(own, *query.clauses), count=max(len(ids), 1), total=Total.NONE, sort=(), includes=()
    )


async def matching(
    resources: ResourceStore, tenant: Tenant, query: SearchQuery, ids: Collection[str]
) -> frozenset[str]:
    """Ids of these that the search finds."""
    found: set[str] = set()
    wanted = sorted(ids)
    while wanted:
        some, wanted = wanted[:IDS_MAX], wanted[IDS_MAX:]
        position = None
        while True:
            page = await resources.search(tenant, replace(of_ids(query, some), position=position))
            found |= {entry.key.id for entry in page.entries}
            position = page.next
            if position is None:
                break
    return frozenset(found)


async def fitting(
    sources: Sources, tenant: Tenant, query: SearchQuery, sides: Mapping[str, IndexSide]
) -> frozenset[str]:
    """Names of these resources (`Type/id`) that the search finds now.

    Their index sides decide, where spellings alone do; else the search itself is asked.
    """
    found: set[str] = set()
    undecided: dict[str, str] = {}
    for name, side in sides.items():
        if said := decided(query.clauses, side):
            found.add(name)
        elif said is None:
            undecided[side.id] = name
    if undecided:
        some = await matching(sources.resources, tenant, query, undecided)
        found |= {undecided[id] for id in some}
    return frozenset(found)


def of_topic(events: Sequence[Event], query: SearchQuery) -> tuple[Event, ...]:
    """Events without the names of those of another type: they were counted for another topic."""
    begin = f"{query.type}/"
    return tuple(one if one.key.startswith(begin) else one._replace(key="") for one in events)


async def readable(
    sources: Sources,
    subscription: Subscription,
    events: Sequence[Event],
    *,
    standing: Standing,
    content: Content,
) -> Readable:
    """Resources of these events that the subscriber may read now, as far as one notification holds them."""
    if content is Content.EMPTY:
        return Readable(len(events), {})
    keys = _keys(events)
    if content is Content.ID_ONLY:
        named = await _named(sources, subscription.tenant, keys, standing)
        return Readable(len(events), dict.fromkeys(named, b""))
    size = len(events)
    while True:
        some = _keys(events[:size])[:IDS_MAX]
        if not some:
            return Readable(size, {})
        asked = replace(of_ids(standing.query, [key.id for key in some]), bytes_max=sources.limits.bytes_max)
        page = await sources.resources.search(subscription.tenant, asked)
        if page.next is None or size == 1:
            return Readable(size, {str(entry.key): entry.raw for entry in page.entries})
        size = max(1, size // 2)


async def _named(
    sources: Sources, tenant: Tenant, keys: Sequence[ResourceKey], standing: Standing
) -> list[str]:
    """Names of these that may be told: of what is there, and fits the filters by now
    (`DECISIONS.md#named-as-content`).

    Of what was deleted since nothing tells what part of its type it belonged to; whoever reaches all of the
    type may be told the name.
    """
    query = standing.query
    if not query.clauses:
        return [str(key) for key in await sources.changes.readable(tenant, keys)]
    sides = await sources.sides.sides(tenant, keys, fields_of(query.clauses))
    gone = [key for key in keys if str(key) not in sides] if standing.part is None else []
    deleted = await sources.changes.readable(tenant, gone) if gone else ()
    return [*map(str, deleted), *await fitting(sources, tenant, query, sides)]


def _keys(events: Sequence[Event]) -> list[ResourceKey]:
    named = dict.fromkeys(one.key for one in events if one.key and one.change not in GOING)
    return list(map(_key, named))


@lru_cache(maxsize=4_096)
def _key(text: str) -> ResourceKey:
    """Key of a resource; many who are told of it ask for it at about the same moment."""
    return ResourceKey(*text.split("/", 1))


REPORT_INCLUDES: Final = ("result", "specimen", "based-on", "performer")
"""References of a report that a detailed message brings along."""


async def message_of(
    sources: Sources, subscription: Subscription, event: Event, *, query: SearchQuery, detailed: bool
) -> Told:
    """Resources of upstream's message: the one that changed, its patient, in detail those it refers to."""
    keys = _keys([event])
    if not keys:
        return Told()
    by_name = TYPES[query.type].by_name
    about = [name for name in ("patient", "subject") if name in by_name][:1]
    further = [name for name in REPORT_INCLUDES if name in by_name] if detailed else []
    wanted = [*about, *further]
    includes = tuple(Include(query.type, by_name[name]) for name in wanted)
    asked = replace(of_ids(query, [keys[0].id]), includes=includes, bytes_max=sources.limits.bytes_max)
    page = await sources.resources.search(subscription.tenant, asked)
    if not page.entries:
        return Told()
    included = {str(one.key): one.raw for one in page.included}
    people = [name for name in included if name.startswith("Patient/")]
    if people and any("Patient" in by_name[name].targets for name in further):
        # A patient who performs it may be another one than it is about, and alone in having come.
        fields = {by_name[name].field for name in about}
        side = (await sources.sides.sides(subscription.tenant, keys[:1], fields)).get(str(keys[0]))
        own = [] if side is None else [value for field in fields for value in side.values(field)]
        people = [name for name in people if name in own]
    patient = included[people[0]] if people else None
    others = [(name, raw) for name, raw in included.items() if not name.startswith("Patient/")]
    return Told(page.entries[0].raw, patient, others)
