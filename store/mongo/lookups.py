"""Following chains: which resources a chain leads through, at the moment of the search.

Nothing is copied onto the referring side, so an answer is right whenever the target arrives, changes or goes
(decision D7).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.criteria import AnyOf, Chain, Has, SearchQuery
from store.search.index import CONTAINED, key
from store.search.plan import condition, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from store.search.criteria import Clause
    from store.search.plan import FindPlan
    from store.tenancy import Tenant

    Find = Callable[[FindPlan, Mapping[str, int]], list[dict[str, Any]]]
    Aggregate = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]


def resolve(  # noqa: PLR0913 -- one step of a recursion
    find: Find,
    aggregate: Aggregate,
    tenant: Tenant,
    resource_type: str,
    clauses: Sequence[Clause],
    *,
    matches_max: int,
    now: datetime,
) -> dict[Chain | Has, tuple[str, ...]]:
    """What each chain in the clauses of a search on this type leads through.

    `Type/id` of the targets for a chain, ids of the type itself for a `_has`. Raises ServiceError
    `too-costly` when there are more than `matches_max`.
    """
    resolved: dict[Chain | Has, tuple[str, ...]] = {}

    def matches(
        of_type: str, inner: Clause, fields: Mapping[str, int], *, contained: bool = False
    ) -> list[dict[str, Any]]:
        deeper = resolve(find, aggregate, tenant, of_type, (inner,), matches_max=matches_max, now=now)
        if contained:
            within = {"tenant": str(tenant), "type": resource_type, "keys": key(CONTAINED, of_type)}
            holds = {"type": of_type, "$and": [condition(inner, deeper)]}
            return aggregate(
                [
                    {"$match": {**within, "expires_at": {"$gt": now}}},
                    {"$unwind": "$inside"},
                    {"$replaceWith": "$inside"},
                    {"$match": holds},
                    {"$limit": matches_max + 1},
                    {"$project": {"_id": 0, **fields}},
                ]
            )
        query = SearchQuery(of_type, (inner,), count=matches_max)
        return find(replace(plan(str(tenant), query, resolved=deeper, now=now), sort=()), fields)

    for step in steps(clauses):
        found: list[str] = []
        if isinstance(step, Chain):
            for target, inner in step.inner:
                found += [f"{target}/{one['id']}" for one in matches(target, inner, {"_id": 0, "id": 1})]
                if not step.identifiers:  # Those are among the owner's own spellings (decision D6).
                    found += [one["as"] for one in matches(target, inner, {"as": 1}, contained=True)]
        else:
            referring = matches(step.type, step.inner, {"_id": 0, step.parameter.field: 1})
            found = _referred(referring, step.parameter.name, resource_type)
        if len(found) > matches_max:
            text = f"the chain through `{step.parameter.name}` leads to too many resources: narrow it down"
            raise ServiceError(Category.INCORRECT, Issue("too-costly", text, (step.parameter.name,)))
        resolved[step] = tuple(found)
    return resolved


def _referred(documents: Iterable[Mapping[str, Any]], name: str, resource_type: str) -> list[str]:
    """The ids of this type that the documents refer to, each once."""
    root = f"{resource_type}/"
    spelled = (one for document in documents for one in document.get("index", {}).get(name, ()))
    ids = (one[len(root) :] for one in spelled if one.startswith(root) and one.count("/") == 1)
    return list(dict.fromkeys(ids))


def steps(clauses: Iterable[Clause]) -> Iterable[Chain | Has]:
    """The chains among the clauses, those within alternatives included."""
    for clause in clauses:
        if isinstance(clause, Chain | Has):
            yield clause
        elif isinstance(clause, AnyOf):
            yield from steps(clause.clauses)
