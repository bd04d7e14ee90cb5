"""Following chains: which resources a chain leads through, at the moment of the search.

Nothing is copied onto the referring side, so an answer is right whenever the target arrives, changes or goes
(decision D7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import bson

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.criteria import AnyOf, Chain, SearchQuery
from store.search.plan import plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from store.mongo.client import Collection
    from store.search.criteria import Clause
    from store.settings import StoreSettings
    from store.tenancy import Tenant


async def resolve(
    collection: Collection,
    tenant: Tenant,
    clauses: Sequence[Clause],
    *,
    settings: StoreSettings,
    now: datetime,
) -> dict[Chain, tuple[str, ...]]:
    """The references (`Type/id`) that each chain in the clauses leads through.

    Raises ServiceError `too-costly` when one leads through more than `chain_matches_max`.
    """
    resolved: dict[Chain, tuple[str, ...]] = {}
    for chain in chains(clauses):
        found: list[str] = []
        for resource_type, inner in chain.inner:
            deeper = await resolve(collection, tenant, (inner,), settings=settings, now=now)
            query = SearchQuery(resource_type, (inner,), count=settings.chain_matches_max)
            find = plan(str(tenant), query, resolved=deeper, now=now)
            cursor = collection.find_raw_batches(
                find.filter, {"_id": 0, "id": 1}, limit=find.limit, batch_size=find.limit, hint=find.hint
            )
            ids = [document["id"] async for batch in cursor for document in bson.decode_all(batch)]
            found += [f"{resource_type}/{one}" for one in ids]
        if len(found) > settings.chain_matches_max:
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
