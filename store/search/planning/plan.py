"""A SearchQuery as one MongoDB find: filter, sort, limit and the index that serves it.

One clause drives (`drivers`), the others are tested on the resources found (`conditions`).
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from store.search.criteria import flat, steps
from store.search.index import key
from store.search.planning.conditions import any_of, condition
from store.search.planning.joins import IDENTIFIER, IDENTIFIERS, Join, join, joinable, places, spellings_of
from store.search.planning.leading_clause import driver_of
from store.search.planning.shapes import shape
from store.search.planning.sorting import order_of
from store.search.values.strings import LAST
from store.search.values.tokens import bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.search.criteria import Chain, Clause, Position, Resolved, SearchQuery
    from store.search.filters import Filter
    from store.search.planning.leading_clause import Driver
    from store.search.planning.sorting import Expression


@dataclass(frozen=True, slots=True)
class FindPlan:
    """All that `find` needs; and `aggregate`, when sort scalars are computed or a chain is joined."""

    filter: Filter
    sort: tuple[tuple[str, int], ...]
    limit: int
    hint: str
    """Name of the index: one of `store.mongo.indexes`."""
    described: Callable[[], str]
    matching: Filter = field(default_factory=dict)
    """The filter without the page's position: what `total` counts."""
    computed: Mapping[str, Expression] = field(default_factory=dict)
    """Sort fields that are not stored."""
    after: Filter = field(default_factory=dict)
    """The page's position, where it is not part of the filter because it takes computed fields."""
    join: Join | None = None
    """Source of the index entries that the filter leaves out."""

    @property
    def shape(self) -> str:
        """The query with its values left out."""
        return self.described()


class Explanation(NamedTuple):
    """Account of how a search is answered."""

    shape: str
    hint: str
    """Name of the index."""
    documents_examined: int
    keys_examined: int
    returned: int
    stages: tuple[str, ...]
    """The winning plan's stages, outermost first."""


def plan(tenant: str, query: SearchQuery, *, resolved: Resolved, now: datetime) -> FindPlan:
    """The find for one page; `resolved` holds the targets of each chain, `now` hides what has expired."""
    return _ordered(query, _matching(tenant, query.type, query.clauses, resolved, now))


def joined(tenant: str, query: SearchQuery, *, now: datetime) -> FindPlan | None:
    """Plan that follows a chain within the command; None when it must be resolved before."""
    chain = joinable(flat(query.clauses))
    if chain is None:
        return None
    found = _matching(tenant, query.type, query.clauses, {chain: places(chain)}, now)
    driver = found.driver
    if driver is None or driver.starts or driver.name == "_id":
        return None
    targets = [_matching(tenant, target, (inner,), {}, now).filter for target, inner in chain.inner]
    tested = any(chain is one for one in steps(found.rest))
    made = join(chain, targets, driver.keys, tested=tested)
    if made is None:
        return None
    within = {name: value for name, value in found.filter.items() if name != "keys"}
    return replace(_ordered(query, found._replace(filter=within)), join=made)


def targets(tenant: str, chains: Iterable[Chain], *, limit: int, now: datetime) -> FindPlan:
    """Find for the targets of several chains by identifier; `joins.led_to` tells whose they are."""
    inner = [one for chain in chains for one in chain.inner]
    spellings = sorted({spelling for _, clause in inner for spelling in spellings_of(clause)})
    return FindPlan(
        filter={
            "tenant": tenant,
            "type": {"$in": sorted({target for target, _ in inner})},
            "expires_at": {"$gt": now},
            "keys": {"$in": sorted({key(IDENTIFIER, bare(spelling)) for spelling in spellings})},
            IDENTIFIERS: {"$in": spellings},
        },
        sort=(),
        limit=limit,
        hint="keyed",
        described=lambda: "targets",
    )


class _Matching(NamedTuple):
    """Filter for the matches, in no order."""

    filter: Filter
    driver: Driver | None
    rest: Sequence[Clause]
    """The clauses that the driver does not decide alone."""


def _matching(
    tenant: str, resource_type: str, clauses: Sequence[Clause], resolved: Resolved, now: datetime
) -> _Matching:
    clauses = tuple(flat(clauses))
    driver = driver_of(clauses, resolved)
    covered = driver.covered if driver else ()
    rest = [clause for clause in clauses if not any(clause is one for one in covered)]
    conditions = [condition(clause, resolved) for clause in rest]
    found: dict[str, object] = {"tenant": tenant, "type": resource_type, "expires_at": {"$gt": now}}
    if driver and driver.name == "_id":
        found["_id"] = {"$in": [document_id(tenant, resource_type, one) for one in driver.keys]}
    elif driver and driver.starts:
        conditions = [any_of([_starts(entry) for entry in driver.keys]), *conditions]
    elif driver:
        found["keys"] = driver.keys[0] if len(driver.keys) == 1 else {"$in": list(driver.keys)}
    if conditions:
        found["$and"] = conditions
    return _Matching(found, driver, rest)


def _ordered(query: SearchQuery, matching: _Matching) -> FindPlan:
    found, driver, rest = matching
    order = order_of(query)
    fields, after = order.fields, []
    if query.position is not None:
        if query.position.backwards:
            fields = tuple([(name, -direction) for name, direction in fields])
        after = _after(fields, query.position)
    return FindPlan(
        filter={"$and": [found, *after]} if after and not order.computed else found,
        matching=found,
        sort=fields,
        limit=query.count + 1,
        hint=_hint(driver, fields),
        described=partial(shape, query, driver, rest, order.fields),
        computed=order.computed,
        after={"$and": after} if after and order.computed else {},
    )


def _starts(entry: str) -> Filter:
    return {"keys": {"$elemMatch": {"$gte": entry, "$lt": entry + LAST}}}


def document_id(tenant: str, resource_type: str, resource_id: str) -> str:
    """The `_id` under which a resource is stored."""
    return f"{tenant}/{resource_type}/{resource_id}"


def _hint(driver: Driver | None, fields: Sequence[tuple[str, int]]) -> str:
    if driver:
        return "_id_" if driver.name == "_id" else "keyed"
    return "updated" if fields[0][0] == "updated.lo" else "dated"


def _after(order: Sequence[tuple[str, int]], position: Position) -> list[Filter]:
    """Filter behind a position in an order: lexicographic, led by a bound that keeps the scan short."""
    steps: list[Filter] = []
    for count, (name, direction) in enumerate(order):
        equal = {n: v for (n, _), v in zip(order[:count], position.values, strict=False)}
        steps.append({**equal, name: {"$gt" if direction > 0 else "$lt": position.values[count]}})
    if len(order) == 1:
        return steps
    first, direction = order[0]
    return [{first: {"$gte" if direction > 0 else "$lte": position.values[0]}}, {"$or": steps}]
