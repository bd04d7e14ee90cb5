"""A SearchQuery as one MongoDB find: filter, sort, limit and the index that serves it.

One clause drives: the one whose entries in the `keyed` index find the fewest resources. The others are
tested on the resources found. https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from store.fhir.instants import MISSING
from store.search import dates, quantities, strings
from store.search.criteria import (
    AnyOf,
    Chain,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    Strings,
    Tokens,
)
from store.search.index import key, names_patient, scoped_key
from store.search.parameters import WHEN, Parameter, SearchType
from store.search.strings import LAST, Match
from store.search.tokens import bare, is_bare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from store.search.criteria import Clause, Filter, Position, Resolved, SearchQuery
    from store.search.quantities import QuantityValue

DRIVING_KEYS_MAX: Final = 200
"""Index entries that a driving clause may name. Each is one more scan to merge; beyond, it only filters."""


@dataclass(frozen=True, slots=True)
class FindPlan:
    """All that `find` needs."""

    filter: Filter
    sort: tuple[tuple[str, int], ...]
    limit: int
    hint: str
    """Name of the index: one of `store.mongo.indexes`."""
    shape: str
    """The query with its values left out, for logs and metrics."""
    matching: Filter = field(default_factory=dict)
    """The filter without the page's position: what `total` counts."""


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


class _Driver(NamedTuple):
    rank: int
    keys: tuple[str, ...]
    clauses: tuple[Clause, ...]
    """Where the keys come from."""
    covered: tuple[Clause, ...]
    """Those of them that the keys decide alone; the others are tested on what was found as well."""
    name: str
    starts: bool = False


class _Keys(NamedTuple):
    entries: tuple[str, ...]
    exact: bool
    """They say the same as the clause; else they find more."""
    starts: bool = False
    """Any entry that starts so will do."""


def plan(tenant: str, query: SearchQuery, *, resolved: Resolved, now: datetime) -> FindPlan:
    """The find for one page; `resolved` holds the targets of each chain, `now` hides what has expired."""
    driver = _driver(query.clauses, resolved)
    covered = driver.covered if driver else ()
    rest = tuple(clause for clause in query.clauses if not any(clause is one for one in covered))
    conditions: list[Filter] = [_condition(clause, resolved) for clause in rest]
    matching: dict[str, object] = {"tenant": tenant, "type": query.type, "expires_at": {"$gt": now}}
    if driver and driver.name == "_id":
        matching["_id"] = {"$in": [document_id(tenant, query.type, one) for one in driver.keys]}
    elif driver and driver.starts:
        conditions = [_any([_starts(entry) for entry in driver.keys]), *conditions]
    elif driver:
        matching["keys"] = driver.keys[0] if len(driver.keys) == 1 else {"$in": list(driver.keys)}
    if conditions:
        matching["$and"] = conditions
    sort = _sort(query)
    backwards = query.position is not None and query.position.backwards
    order = tuple((name, -direction if backwards else direction) for name, direction in sort)
    filtered: Filter = matching
    if query.position is not None:
        filtered = {**matching, "$and": [*conditions, *_after(order, query.position)]}
    return FindPlan(
        filter=filtered,
        matching=matching,
        sort=order,
        limit=query.count + 1,
        hint=_hint(driver, sort),
        shape=_shape(query, driver, rest),
    )


def _starts(entry: str) -> Filter:
    return {"keys": {"$elemMatch": {"$gte": entry, "$lt": entry + LAST}}}


def drives(query: SearchQuery) -> bool:
    """Whether an index entry will drive the search, so that it reads little more than it returns."""
    return any(map(_quick, query.clauses)) and all(map(_resolves_quickly, query.clauses))


def _quick(clause: Clause) -> bool:
    """Whether entries find it: a clause on a keyed parameter can still be one that has none."""
    match clause:
        case Tokens():
            coded = not clause.negated and all(map(bare, clause.spellings))
            return _names_ids(clause) or (_keyable(clause) and coded)
        case Strings():
            return _keyable(clause) and clause.match is Match.START
        case Chain():
            return _keyable(clause) and all(map(bare, clause.identifiers)) and _resolves_quickly(clause)
        case Has() | AnyOf():
            return _resolves_quickly(clause)
        case _:
            return _keyable(clause)


def _resolves_quickly(clause: Clause) -> bool:
    """Whether what has to be found before the search is found by entries too."""
    match clause:
        case Chain():
            return all(_quick(inner) for _, inner in clause.inner)
        case Has():
            return _quick(clause.inner)
        case AnyOf():
            return all(map(_quick, clause.clauses))
        case _:
            return True


def _names_ids(clause: Clause) -> bool:
    return isinstance(clause, Has) or (
        isinstance(clause, Tokens) and clause.parameter.field == "id" and not clause.negated
    )


def document_id(tenant: str, resource_type: str, resource_id: str) -> str:
    """The `_id` under which a resource is stored."""
    return f"{tenant}/{resource_type}/{resource_id}"


def _hint(driver: _Driver | None, sort: Sequence[tuple[str, int]]) -> str:
    if driver:
        return "_id_" if driver.name == "_id" else "keyed"
    return "updated" if sort[0][0] == "updated.lo" else "dated"


def _sort(query: SearchQuery) -> tuple[tuple[str, int], ...]:
    """The sort fields, the id last: the order of pages is total.

    Unless asked otherwise the newest come first, and a poll by `_lastUpdated` in the order of arrival.
    """
    if query.sort:
        fields = [(sort_field(k.parameter), -1 if k.descending else 1) for k in query.sort]
    elif any(map(_polls, query.clauses)) and not any(map(_keyable, query.clauses)):
        fields = [("updated.lo", 1)]
    else:
        fields = [(f"{WHEN}.lo", -1)]
    # Of two keys on one field the first decides, and nothing is left to sort behind the id.
    names = [name for name, _ in fields]
    fields = [one for n, one in enumerate(fields) if not {one[0], "id"} & set(names[:n])]
    if fields[-1][0] == "id":
        return tuple(fields)
    # The id goes the way of the last key, so that one index serves both directions.
    return (*fields, ("id", fields[-1][1]))


def sort_field(parameter: Parameter) -> str:
    """The stored scalar that a parameter sorts by: of an interval its lower end."""
    return f"{parameter.field}.lo" if parameter.type is SearchType.DATE else parameter.field


def _polls(clause: Clause) -> bool:
    return isinstance(clause, Dates) and clause.parameter.field == "updated"


def _keyable(clause: Clause) -> bool:
    """Whether a clause could drive, whatever its chains lead to: the order must not change between pages."""
    if isinstance(clause, AnyOf):
        return all(map(_keyable, clause.clauses))
    return not isinstance(clause, Dates | Missing | Quantities | Has) and bool(clause.parameter.keyed)


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


# --- which clause drives


def _driver(clauses: Sequence[Clause], resolved: Resolved) -> _Driver | None:
    found = [driver for clause in clauses for driver in _alone(clause, resolved)]
    patient = next((d for d in found if d.name == "patient"), None)
    if patient is not None:
        found += [scoped for clause in clauses for scoped in _with_patient(patient, clause)]
    return min(
        (driver for driver in found if len(driver.keys) <= DRIVING_KEYS_MAX or driver.name == "_id"),
        key=lambda driver: (driver.rank, len(driver.keys)),
        default=None,
    )


def _alone(clause: Clause, resolved: Resolved) -> Iterator[_Driver]:
    if _names_ids(clause):
        ids = resolved[clause] if isinstance(clause, Has) else getattr(clause, "spellings", ())
        yield _Driver(0, ids, (clause,), (clause,), "_id")
        return
    keys = _keys_of(clause, resolved)
    if keys is None:
        return
    if isinstance(clause, AnyOf):
        rank, name = 20, "union"
    elif all(entry.startswith("patient") for entry in keys.entries):
        rank, name = 50, "patient"
    else:
        rank, name = clause.parameter.keyed * 10, clause.parameter.name
    yield _Driver(rank, keys.entries, (clause,), (clause,) if keys.exact else (), name, keys.starts)


def _keys_of(clause: Clause, resolved: Resolved) -> _Keys | None:
    """The `keyed` entries without which the clause cannot hold; None when there is no such set."""
    match clause:
        case Tokens():
            if not clause.parameter.keyed or clause.negated:
                return None
            keys = _token_keys(clause.parameter.keyed_as or clause.parameter.name, clause.spellings)
            return keys and _Keys(keys.entries, keys.exact and not clause.parameter.keyed_as)
        case References():
            return _reference_keys(clause.parameter, clause.spellings)
        case Strings():
            if not clause.parameter.keyed or clause.match is not Match.START:
                return None
            entries = tuple(key(clause.parameter.name, value) for value in clause.values)
            return _Keys(entries, exact=True, starts=True)
        case Chain():
            targets = _reference_keys(clause.parameter, resolved[clause])
            own = _token_keys(clause.parameter.identifier_key, clause.identifiers)
            either = _union((targets, own))
            return either and either._replace(exact=either.exact and not clause.only)
        case AnyOf():
            return _union([_keys_of(member, resolved) for member in clause.clauses])
        case Dates() | Quantities() | Missing() | Has():
            return None
        case _:
            assert_never(clause)


def _union(parts: Sequence[_Keys | None]) -> _Keys | None:
    entries: dict[str, None] = {}
    for part in parts:
        if part is None or part.starts:
            return None
        entries |= dict.fromkeys(part.entries)
    return _Keys(tuple(entries), all(part.exact for part in parts if part))


def _token_keys(name: str, spellings: Sequence[str]) -> _Keys | None:
    codes = dict.fromkeys(map(bare, spellings))
    if "" in codes:  # `system|` finds too much to be worth entries.
        return None
    return _Keys(tuple(key(name, code) for code in codes), all(map(is_bare, spellings)))


def _reference_keys(parameter: Parameter, spellings: Sequence[str]) -> _Keys | None:
    if not parameter.keyed:
        return None
    names = (
        parameter.narrower if parameter.narrower and names_patient(s) else parameter.name for s in spellings
    )
    return _Keys(tuple(map(key, names, spellings)), exact=True)


def _with_patient(patient: _Driver, clause: Clause) -> Iterator[_Driver]:
    if not isinstance(clause, Tokens) or not clause.parameter.scoped or clause.negated:
        return
    name = clause.parameter.name
    codes = dict.fromkeys(map(bare, clause.spellings))
    if "" in codes:
        return
    keys = tuple(scoped_key(p, name, code) for p in patient.keys for code in codes)
    covered = (*patient.covered, clause) if all(map(is_bare, clause.spellings)) else patient.covered
    # Code finds fewer than category, category fewer than status.
    rank = patient.rank - {"code": 5, "category": 4}.get(name, 3)
    yield _Driver(rank, keys, (*patient.clauses, clause), covered, f"patient&{name}")


# --- clauses as filters on what was found


def _condition(clause: Clause, resolved: Resolved) -> Filter:  # noqa: PLR0911 -- one for each kind
    match clause:
        case Tokens():
            return {clause.parameter.field: _among(clause.spellings, negated=clause.negated)}
        case References():
            return {clause.parameter.field: _among(clause.spellings)}
        case Dates():
            return _any([dates.to_filter(clause.parameter.field, value) for value in clause.values])
        case Strings():
            return strings.to_filter(clause.parameter.field, clause.values, clause.match)
        case Quantities():
            held = [{clause.parameter.field: {"$elemMatch": q}} for q in map(_quantity, clause.values)]
            return _any(held)
        case Has():
            return {"id": _among(resolved[clause])}
        case Missing():
            return _missing(clause.parameter, missing=clause.missing)
        case Chain():
            parameter = clause.parameter
            either: list[Filter] = [{parameter.field: _among(resolved[clause])}]
            if clause.only:
                typed = [f"{type}>{one}" for type in (clause.only, "") for one in clause.identifiers]
                either.append({parameter.typed_field: _among(typed)})
            elif clause.identifiers:
                either += [
                    {name: _among(clause.identifiers)}
                    for name in (parameter.logical.field, parameter.contained_field)
                ]
            return _any(either)
        case AnyOf():
            return _any([_condition(member, resolved) for member in clause.clauses])
        case _:
            assert_never(clause)


def _quantity(value: QuantityValue) -> Filter:
    return quantities.to_filter("", value)


def _among(spellings: Sequence[str], *, negated: bool = False) -> Filter:
    return {"$nin" if negated else "$in": list(spellings)}


def _any(filters: Sequence[Filter]) -> Filter:
    return filters[0] if len(filters) == 1 else {"$or": list(filters)}


def _missing(parameter: Parameter, *, missing: bool) -> Filter:
    if parameter.type is SearchType.DATE:
        return {f"{parameter.field}.lo": {"$eq" if missing else "$ne": MISSING}}
    fields = [parameter.field]
    if parameter.type is SearchType.TOKEN:
        fields.append(parameter.texts.field)
    if parameter.type is SearchType.REFERENCE:
        fields += [parameter.logical.field, parameter.contained_field, parameter.unspelled_field]
    if missing:
        return {"$and": [{name: {"$exists": False}} for name in fields]}
    return {"$or": [{name: {"$exists": True}} for name in fields]}


# --- the query without its values

_KIND: Final[Mapping[type, Callable[..., str]]] = {
    Tokens: lambda c: f"{c.parameter.name}{':not' if c.negated else ''}={_some(len(c.spellings))}",
    References: lambda c: f"{c.parameter.name}={_some(len(c.spellings))}",
    Dates: lambda c: f"{c.parameter.name}={','.join(v.prefix for v in c.values)}",
    Strings: lambda c: f"{c.parameter.name}:{c.match.value}={_some(len(c.values))}",
    Quantities: lambda c: f"{c.parameter.name}={','.join(v.prefix for v in c.values)}",
    Has: lambda c: f"_has:{c.type}:{c.parameter.name}:({shape_of(c.inner)})",
    Missing: lambda c: f"{c.parameter.name}:missing={str(c.missing).lower()}",
    Chain: lambda c: f"{c.parameter.name}.({'|'.join(shape_of(inner) for _, inner in c.inner)})",
    AnyOf: lambda c: "(" + " or ".join(shape_of(member) for member in c.clauses) + ")",
}


def _some(count: int) -> str:
    return "?" if count == 1 else "?,…"


def shape_of(clause: Clause) -> str:
    """A clause with its values left out."""
    return _KIND[type(clause)](clause)


def _shape(query: SearchQuery, driver: _Driver | None, rest: Sequence[Clause]) -> str:
    parts = [query.type]
    if driver:
        parts.append("by " + " & ".join(shape_of(clause) for clause in driver.clauses))
    rest = [clause for clause in rest if not driver or not any(clause is one for one in driver.clauses)]
    if rest:
        parts.append("filter " + " & ".join(shape_of(clause) for clause in rest))
    parts.append("sort " + ",".join(("-" if down < 0 else "") + name for name, down in _sort(query)[:-1]))
    return " ".join(parts)
