"""Following chains: which resources a chain leads through, at the moment of the search.

Nothing is copied onto the referring side, so an answer is right whenever the target arrives, changes or goes
(`DECISIONS.md#chains-at-query-time`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.references import RELATIVE
from store.search.criteria import Chain, Has, References, SearchQuery, Tokens, flat, steps
from store.search.index import CONTAINED, key
from store.search.parameters import TYPES
from store.search.planning.conditions import condition
from store.search.planning.joins import FEW, IDENTIFIERS, KIN, led_to, with_kin
from store.search.planning.leading_clause import DRIVING_KEYS_MAX
from store.search.planning.plan import FindPlan, plan, targets

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
    at = _Step(view, tenant, resource_type, matches_max, now, (*holders, resource_type))
    resolved: dict[Chain | Has, tuple[str, ...]] = {}
    wide: list[tuple[Chain | Has, Resolved | None]] = []
    for step in steps(clauses):
        try:
            below = _below(at, step)
        except ServiceError as error:
            if holders or all(issue.code != TOO_COSTLY for issue in error.issues):
                raise
            wide.append((step, None))
            continue
        found = _led_to(at, step, below) if isinstance(step, Chain) else _referred_to(at, step, below)
        if found is None:
            wide.append((step, below))
        else:
            resolved[step] = tuple(found)
    if wide:
        lead = None if holders else _lead(at, clauses, resolved)
        for step, behind in wide:
            if lead is None:
                raise at.too_many(step)
            follow = _led_to_from if isinstance(step, Chain) else _referred_to_from
            resolved[step] = tuple(follow(at, step, behind, lead))  # type: ignore[arg-type]  # by its own type
    return resolved


class _Step(NamedTuple):
    """Step of a chain: the type that it starts from, and what all its questions share."""

    view: View
    tenant: Tenant
    type: str
    matches_max: int
    now: datetime
    holders: tuple[str, ...]

    def find(
        self,
        of_type: str,
        clauses: Sequence[Clause],
        resolved: Resolved,
        fields: Mapping[str, int],
        *,
        most: int = 0,
    ) -> list[dict[str, Any]]:
        """Documents that the clauses find, one more than may be at most."""
        query = SearchQuery(of_type, tuple(clauses), count=most or self.matches_max)
        found = plan(str(self.tenant), query, resolved=resolved, now=self.now)
        return self.view.find(replace(found, sort=()), {"_id": 0, **fields})

    def resolved(self, of_type: str, clauses: Sequence[Clause]) -> Resolved:
        """Targets of the chains among clauses that lead a search of their own."""
        return resolve(self.view, self.tenant, of_type, clauses, matches_max=self.matches_max, now=self.now)

    def too_many(self, step: Chain | Has) -> ServiceError:
        text = f"the chain through `{step.parameter.name}` leads to too many resources: narrow it down"
        return ServiceError(Category.INCORRECT, Issue(TOO_COSTLY, text, (step.parameter.name,)))


def _below(at: _Step, step: Chain | Has) -> Resolved:
    """Targets of the chains behind a step."""
    # Nothing but its owner refers to what is contained, so behind a `_has` nothing contained is left.
    behind = step.inner if isinstance(step, Chain) else ((step.type, step.inner),)
    through = at.holders if isinstance(step, Chain) else ()
    found: dict[Chain | Has, tuple[str, ...]] = {}
    for of_type, inner in behind:
        found |= resolve(
            at.view, at.tenant, of_type, (inner,), matches_max=at.matches_max, now=at.now, holders=through
        )
    return found


def _lead(at: _Step, clauses: Sequence[Clause], resolved: Resolved) -> FindPlan | None:
    """Find for what the other clauses of a search leave, where index entries lead it; else None.

    A chain that by itself leads through everybody's is followed from there.
    """
    others = [one for one in flat(clauses) if all(step in resolved for step in steps((one,)))]
    query = SearchQuery(at.type, tuple(others), count=LEFT_MAX)
    found = plan(str(at.tenant), query, resolved=resolved, now=at.now)
    return replace(found, sort=()) if found.hint in ("keyed", "_id_") else None


def _led_to(at: _Step, chain: Chain, below: Resolved) -> list[str] | None:
    """Targets of a chain, those contained among them; None: they are too many."""
    fields = {"type": 1, "id": 1, **({KIN: 1} if chain.identifiers else {})}
    found: list[str] = []
    for target, inner in chain.inner:
        found += [name for one in at.find(target, (inner,), below, fields) for name in with_kin(one)]
    if not chain.identifiers:  # Else they are among the owner's spellings.
        found += _contained(at, chain, below, None)
    return None if len(found) > at.matches_max else found


def _led_to_from(at: _Step, chain: Chain, below: Resolved | None, lead: FindPlan) -> list[str]:
    """Targets of a chain among those that what the other clauses leave refers to.

    `below` is None where the chain behind it leads to too many by itself: it is followed from these as well.
    """
    name, types = chain.parameter.name, [of_type for of_type, _ in chain.inner]
    referring = at.view.find(lead, {"_id": 0, chain.parameter.field: 1, "inside.type": 1})
    spelled = {one for document in referring for one in document.get("index", {}).get(name, ())}
    inside = {one["type"] for document in referring for one in document.get("inside", ())}
    # By an identifier other records of a patient are targets too, which tell nothing of it themselves.
    lost = chain.identifiers or (below is None and not inside.isdisjoint(types))
    if lost or len(referring) > LEFT_MAX or len(spelled) > REFERRED_MAX:
        raise at.too_many(chain)
    found: list[str] = []
    for target, inner in chain.inner:
        ids = tuple([one.partition("/")[2] for one in spelled if _names(one, target)])
        if ids:
            own = (Tokens(TYPES[target].by_name["_id"], ids), inner)
            deeper = at.resolved(target, own) if below is None else below
            there = at.find(target, own, deeper, {"id": 1}, most=REFERRED_MAX)
            found += [f"{target}/{one['id']}" for one in there]
    return found if below is None else [*found, *_contained(at, chain, below, lead)]


def _names(spelling: str, resource_type: str) -> bool:
    match = RELATIVE.fullmatch(spelling)
    return match is not None and match[1] == resource_type


def _contained(at: _Step, chain: Chain, below: Resolved, lead: FindPlan | None) -> list[str]:
    """Contained targets of a chain, by the spellings of the references that lead to them."""
    types = [of_type for of_type, _ in chain.inner]
    holding: Mapping[str, object] = {
        "tenant": str(at.tenant),
        "type": {"$in": list(at.holders)},
        "keys": {"$in": [key(CONTAINED, of_type) for of_type in types]},
        "expires_at": {"$gt": at.now},
    }
    if lead is not None:
        holding = {**lead.filter, "inside.type": {"$in": types}}
    holds = [{"type": of_type, "$and": [condition(inner, below)]} for of_type, inner in chain.inner]
    stages = (
        {"$match": holding},
        {"$unwind": "$inside"},
        {"$replaceWith": "$inside"},
        # An id in there is nobody's outside: `patient._id=1` asks for Patient/1, not for any `#1`.
        {"$unset": "id"},
        {"$match": {"$or": holds}},
        {"$limit": REFERRED_MAX if lead is not None else at.matches_max + 1},
        {"$project": {"as": 1}},
    )
    hint = "keyed" if lead is None else lead.hint
    return [one["as"] for one in at.view.aggregate(stages, hint=hint)]


def _referred_to(at: _Step, step: Has, below: Resolved) -> list[str] | None:
    """Ids of the resources of this type that what a `_has` finds refers to; None: it finds too much."""
    referring = at.find(step.type, (step.inner,), below, {step.parameter.field: 1})
    if len(referring) > at.matches_max:  # There may be more of them, which refer to others.
        return None
    return _referred(referring, step.parameter.name, at.type)


def _referred_to_from(at: _Step, step: Has, below: Resolved | None, lead: FindPlan) -> list[str]:
    """Ids, among the resources that the other clauses leave, of those that what a `_has` finds refers to."""
    ids = [one["id"] for one in at.view.find(lead, {"_id": 0, "id": 1})]
    if len(ids) > LEFT_MAX or not step.parameter.keyed:
        raise at.too_many(step)
    found: list[str] = []
    for start in range(0, len(ids), DRIVING_KEYS_MAX):
        spelled = tuple([f"{at.type}/{one}" for one in ids[start : start + DRIVING_KEYS_MAX]])
        clauses = (References(step.parameter, spelled), step.inner)
        deeper = at.resolved(step.type, clauses) if below is None else below
        fields = {step.parameter.field: 1}
        referring = at.find(step.type, clauses, deeper, fields, most=REFERRED_MAX)
        if len(referring) > REFERRED_MAX:
            raise at.too_many(step)
        found += _referred(referring, step.parameter.name, at.type)
    return found


TOO_COSTLY: Final = "too-costly"
LEFT_MAX: Final = 5_000
"""Resources that the other clauses of a search may leave, to follow a chain from them."""
REFERRED_MAX: Final = 20_000
"""References that may lead on from them, or to them."""
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
