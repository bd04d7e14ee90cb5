"""Following chains: which resources a chain leads through, at the moment of the search.

Nothing is copied onto the referring side, so an answer is right whenever the target arrives, changes or goes
(`DECISIONS.md#chains-at-query-time`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.search.criteria import Chain, Has, SearchQuery, steps
from store.search.index import CONTAINED, key
from store.search.planning.conditions import condition
from store.search.planning.joins import FEW, IDENTIFIERS, KIN, led_to, with_kin
from store.search.planning.plan import plan, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from store.mongo.search.snapshot import View
    from store.search.criteria import Clause, Resolved
    from store.tenancy import Tenant


def resolve(  # noqa: PLR0913 -- one step of a recursion
    view: View,
    tenant: Tenant,
    resource_type: str,
    clauses: Sequence[Clause],
    *,
    matches_max: int,
    now: datetime,
    holders: tuple[str, ...] = (),
) -> dict[Chain | Has, tuple[str, ...]]:
    """Targets that each chain in the clauses of a search on this type leads to.

    `Type/id` of the targets for a chain, `Type/id#inner` of those contained; ids of the type itself for a
    `_has`. `holders` are the types that the chain has come through: what they contain refers to what is
    contained beside it. Raises ServiceError `too-costly` when there are more than `matches_max`.
    """
    holders = (*holders, resource_type)
    resolved: dict[Chain | Has, tuple[str, ...]] = {}
    below: dict[Chain | Has, tuple[str, ...]] = {}

    def matches(
        of_type: str, inner: Clause, fields: Mapping[str, int], through: tuple[str, ...] = ()
    ) -> list[dict[str, Any]]:
        deeper = resolve(view, tenant, of_type, (inner,), matches_max=matches_max, now=now, holders=through)
        query = SearchQuery(of_type, (inner,), count=matches_max)
        found = view.find(replace(plan(str(tenant), query, resolved=deeper, now=now), sort=()), fields)
        below.update(deeper)
        return found

    def contained(chain: Chain) -> list[dict[str, Any]]:
        holding = {
            "tenant": str(tenant),
            "type": {"$in": list(holders)},
            "keys": {"$in": [key(CONTAINED, of_type) for of_type, _ in chain.inner]},
            "expires_at": {"$gt": now},
        }
        holds = [{"type": of_type, "$and": [condition(inner, below)]} for of_type, inner in chain.inner]
        return view.aggregate(
            [
                {"$match": holding},
                {"$unwind": "$inside"},
                {"$replaceWith": "$inside"},
                # An id in there is nobody's outside: `patient._id=1` asks for Patient/1, not for any `#1`.
                {"$unset": "id"},
                {"$match": {"$or": holds}},
                {"$limit": matches_max + 1},
                {"$project": {"as": 1}},
            ]
        )

    for step in steps(clauses):
        found: list[str] = []
        if isinstance(step, Chain):
            for target, inner in step.inner:
                fields = {"_id": 0, "type": 1, "id": 1, **({KIN: 1} if step.identifiers else {})}
                found += [name for one in matches(target, inner, fields, holders) for name in with_kin(one)]
            if not step.identifiers:  # Else they are among the owner's spellings.
                found += [one["as"] for one in contained(step)]
            many = len(found) > matches_max
        else:
            referring = matches(step.type, step.inner, {"_id": 0, step.parameter.field: 1})
            found = _referred(referring, step.parameter.name, resource_type)
            many = len(referring) > matches_max  # There may be more of them, which refer to others.
        if many:
            text = f"the chain through `{step.parameter.name}` leads to too many resources: narrow it down"
            raise ServiceError(Category.INCORRECT, Issue("too-costly", text, (step.parameter.name,)))
        resolved[step] = tuple(found)
    return resolved


TOGETHER_MAX: Final = 200
"""Targets that one look-up for several searches may find."""


def look_up(view: View, tenant: Tenant, chains: Sequence[Chain], *, now: datetime) -> Resolved:
    """Targets of chains by identifier, of several searches of a tenant at once; a chain that leads to many is
    left out.
    """
    find = targets(str(tenant), chains, limit=TOGETHER_MAX + 1, now=now)
    found = view.find(find, {"_id": 0, "type": 1, "id": 1, IDENTIFIERS: 1, KIN: 1})
    led = {chain: led_to(chain, found) for chain in chains} if len(found) <= TOGETHER_MAX else {}
    return {chain: there for chain, there in led.items() if len(there) <= FEW}


def _referred(documents: Iterable[Mapping[str, Any]], name: str, resource_type: str) -> list[str]:
    """The ids of this type that the documents refer to, each once."""
    root = f"{resource_type}/"
    spelled = (one for document in documents for one in document.get("index", {}).get(name, ()))
    ids = (one[len(root) :] for one in spelled if one.startswith(root) and one.count("/") == 1)
    return list(dict.fromkeys(ids))
