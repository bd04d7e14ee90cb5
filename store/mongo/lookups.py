"""Following chains: which resources a chain leads through, at the moment of the search.

Nothing is copied onto the referring side, so an answer is right whenever the target arrives, changes or goes
(decision D7).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.criteria import AnyOf, Chain, SearchQuery
from store.search.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.search.criteria import Clause
    from store.search.plan import FindPlan
    from store.tenancy import Tenant

    Find = Callable[[FindPlan, Mapping[str, int]], list[dict[str, Any]]]


def resolve(
    find: Find, tenant: Tenant, clauses: Sequence[Clause], *, matches_max: int, now: datetime
) -> dict[Chain, tuple[str, ...]]:
    """The references (`Type/id`) that each chain in the clauses leads through.

    Raises ServiceError `too-costly` when one leads through more than `matches_max`.
    """
    resolved: dict[Chain, tuple[str, ...]] = {}
    for chain in chains(clauses):
        found: list[str] = []
        for resource_type, inner in chain.inner:
            deeper = resolve(find, tenant, (inner,), matches_max=matches_max, now=now)
            query = SearchQuery(resource_type, (inner,), count=matches_max)
            planned = replace(plan(str(tenant), query, resolved=deeper, now=now), sort=())
            found += [f"{resource_type}/{one['id']}" for one in find(planned, {"_id": 0, "id": 1})]
        if len(found) > matches_max:
            text = f"the chain through `{chain.parameter.name}` leads to too many resources: narrow it down"
            raise ServiceError(Category.INCORRECT, Issue("too-costly", text, (chain.parameter.name,)))
        resolved[chain] = tuple(found)
    return resolved


def chains(clauses: Iterable[Clause]) -> Iterable[Chain]:
    """The chains among the clauses, those within alternatives included."""
    for clause in clauses:
        if isinstance(clause, Chain):
            yield clause
        elif isinstance(clause, AnyOf):
            yield from chains(clause.clauses)
