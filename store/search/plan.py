"""A SearchQuery as one MongoDB find: filter, sort, limit and the index that serves it.

One clause drives (`drivers`), the others are tested on the resources found (`conditions`).
https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from store.search.conditions import any_of, condition
from store.search.criteria import SearchQuery, flat
from store.search.drivers import driver_of
from store.search.joins import Join, join, joinable, places
from store.search.shapes import shape
from store.search.sorting import order_of
from store.search.strings import LAST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from store.search.criteria import Filter, Position, Resolved
    from store.search.drivers import Driver
    from store.search.sorting import Expression


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
    """Where the index entries come from that the filter leaves out."""

    @property
    def shape(self) -> str:
        """The query with its values left out."""
        return self.described()


class Explanation(NamedTuple):
    """How a search is answered."""

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
    driver = driver_of(tuple(flat(query.clauses)), resolved)
    return _find(tenant, query, driver, resolved=resolved, now=now)


def joined(tenant: str, query: SearchQuery, *, now: datetime) -> FindPlan | None:
    """The same when a chain can be followed within the command; None when it must be resolved before."""
    clauses = tuple(flat(query.clauses))
    chain = joinable(clauses)
    if chain is None:
        return None
    resolved: Resolved = {chain: places(chain)}
    driver = driver_of(clauses, resolved)
    if driver is None or driver.starts or driver.name == "_id":
        return None
    inner = [SearchQuery(target, (clause,)) for target, clause in chain.inner]
    targets = [plan(tenant, one, resolved={}, now=now).filter for one in inner]
    tested = not any(chain is one for one in driver.covered)
    made = join(chain, targets, driver.keys, tested=tested)
    return made if made is None else _find(tenant, query, driver, resolved=resolved, now=now, made=made)


def _find(  # noqa: PLR0913 -- what a plan is made of
    tenant: str,
    query: SearchQuery,
    driver: Driver | None,
    *,
    resolved: Resolved,
    now: datetime,
    made: Join | None = None,
) -> FindPlan:
    covered = driver.covered if driver else ()
    rest = [clause for clause in flat(query.clauses) if not any(clause is one for one in covered)]
    conditions = [condition(clause, resolved) for clause in rest]
    matching: dict[str, object] = {"tenant": tenant, "type": query.type, "expires_at": {"$gt": now}}
    if driver and driver.name == "_id":
        matching["_id"] = {"$in": [document_id(tenant, query.type, one) for one in driver.keys]}
    elif driver and driver.starts:
        conditions = [any_of([_starts(entry) for entry in driver.keys]), *conditions]
    elif driver and made is None:
        matching["keys"] = driver.keys[0] if len(driver.keys) == 1 else {"$in": list(driver.keys)}
    if conditions:
        matching["$and"] = conditions
    order = order_of(query)
    backwards = query.position is not None and query.position.backwards
    fields = tuple((name, -direction if backwards else direction) for name, direction in order.fields)
    after = [] if query.position is None else _after(fields, query.position)
    within = after and not order.computed
    return FindPlan(
        filter={**matching, "$and": [*conditions, *after]} if within else matching,
        matching=matching,
        sort=fields,
        limit=query.count + 1,
        hint=_hint(driver, fields),
        described=partial(shape, query, driver, rest, order.fields),
        computed=order.computed,
        after={"$and": after} if after and not within else {},
        join=made,
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
    """What comes after a position in an order: lexicographic, and first a bound that keeps the scan short."""
    steps: list[Filter] = []
    for count, (name, direction) in enumerate(order):
        equal = {n: v for (n, _), v in zip(order[:count], position.values, strict=False)}
        steps.append({**equal, name: {"$gt" if direction > 0 else "$lt": position.values[count]}})
    if len(order) == 1:
        return steps
    first, direction = order[0]
    return [{first: {"$gte" if direction > 0 else "$lte": position.values[0]}}, {"$or": steps}]
