"""Choice of the leading clause: its entries in the `keyed` index find the fewest resources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from store.search.criteria import (
    All,
    AnyOf,
    Chain,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    Strings,
    Together,
    Tokens,
    Words,
    flat,
)
from store.search.index import key, names_patient, scoped_key
from store.search.planning.joins import PLACE
from store.search.values.strings import Match
from store.search.values.tokens import bare, is_bare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from store.search.criteria import Clause, Resolved, SearchQuery
    from store.search.parameters import Parameter

DRIVING_KEYS_MAX: Final = 200
"""Index entries that a driving clause may name. Each is one more scan to merge; beyond, it only filters."""


class Driver(NamedTuple):
    """Beginning of a search: the entries that lead it."""

    rank: int
    keys: tuple[str, ...]
    clauses: tuple[Clause, ...]
    """Clauses that the keys come from."""
    covered: tuple[Clause, ...]
    """Clauses that the keys decide alone; the others are tested on what was found as well."""
    name: str
    starts: bool = False


class _Keys(NamedTuple):
    entries: tuple[str, ...]
    exact: bool
    """Whether the entries say the same as the clause; else they find more."""
    starts: bool = False
    """Any entry that starts so will do."""


def driver_of(clauses: Sequence[Clause], resolved: Resolved) -> Driver | None:
    """The clause that finds the fewest; None when each only filters."""
    found = [driver for clause in clauses for driver in _alone(clause, resolved)]
    patient = next((d for d in found if d.name == "patient"), None)
    if patient is not None:
        found += [scoped for clause in clauses for scoped in _with_patient(patient, clause)]
    return min(
        (driver for driver in found if len(driver.keys) <= DRIVING_KEYS_MAX or driver.name == "_id"),
        key=lambda driver: (driver.rank, len(driver.keys)),
        default=None,
    )


def _alone(clause: Clause, resolved: Resolved) -> Iterator[Driver]:
    if _names_ids(clause):
        ids = resolved[clause] if isinstance(clause, Has) else getattr(clause, "spellings", ())
        yield Driver(0, ids, (clause,), (clause,), "_id")
        return
    keys = _keys_of(clause, resolved)
    if keys is None:
        return
    if isinstance(clause, AnyOf | All):
        rank, name = _rank_of_any(clause), "union"
    elif all(entry.startswith("patient") for entry in keys.entries):
        rank, name = 50, "patient"
    else:
        rank, name = clause.parameter.keyed * 10, clause.parameter.name
    yield Driver(rank, keys.entries, (clause,), (clause,) if keys.exact else (), name, keys.starts)


def _rank_of_any(clause: AnyOf | All) -> int:
    """The rank of alternatives: as many as the worst of them finds."""
    ranks = [one.parameter.keyed * 10 for one in clause.clauses if not isinstance(one, AnyOf | All)]
    return max([20, *ranks])


def _keys_of(clause: Clause, resolved: Resolved) -> _Keys | None:
    """The `keyed` entries without which the clause cannot hold; None when there is no such set."""
    match clause:
        case Tokens():
            return _token_keys(clause)
        case References():
            return _reference_keys(clause.parameter, clause.spellings)
        case Strings():
            if not clause.parameter.keyed or clause.match is not Match.START:
                return None
            entries = tuple(key(clause.parameter.name, value) for value in clause.values)
            return _Keys(entries, exact=True, starts=True)
        case Chain():
            targets = _reference_keys(clause.parameter, resolved[clause])
            own = _whole_keys(clause.parameter.identifier_key, clause.identifiers)
            either = _union((targets, own))
            return either and either._replace(exact=either.exact and not clause.only)
        case AnyOf():
            return _union([_keys_of(member, resolved) for member in clause.clauses])
        case Dates() | Quantities() | Words() | Missing() | Has() | Together() | All():
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


def _token_keys(clause: Tokens) -> _Keys | None:
    parameter, spellings = clause.parameter, clause.spellings
    if not parameter.keyed or clause.negated:
        return None
    if parameter.keyed_as:
        keys = _whole_keys(parameter.keyed_as, spellings)
        return keys and keys._replace(exact=False)
    codes = dict.fromkeys(map(bare, spellings))
    if "" in codes:  # `system|` finds too much to be worth entries.
        return None
    return _Keys(tuple(key(parameter.name, code) for code in codes), all(map(is_bare, spellings)))


def _whole_keys(name: str, spellings: Sequence[str]) -> _Keys | None:
    """Entries of identifiers within references, which hold the system too."""
    if not all(map(bare, spellings)):
        return None
    return _Keys(tuple(key(name, spelling) for spelling in spellings), exact=True)


def _reference_keys(parameter: Parameter, spellings: Sequence[str]) -> _Keys | None:
    if not parameter.keyed:
        return None
    narrower = parameter.narrower
    names = (narrower if narrower and _names_patient(s) else parameter.name for s in spellings)
    return _Keys(tuple(map(key, names, spellings)), exact=True)


def _names_patient(spelling: str) -> bool:
    return spelling == f"Patient/{PLACE}" or names_patient(spelling)


def _with_patient(patient: Driver, clause: Clause) -> Iterator[Driver]:
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
    yield Driver(rank, keys, (*patient.clauses, clause), covered, f"patient&{name}")


# --- before anything is resolved


def drives(query: SearchQuery) -> bool:
    """Whether an index entry will drive the search, so that it reads little more than it returns."""
    clauses = list(flat(query.clauses))
    return any(map(_quick, clauses)) and all(map(_resolves_quickly, clauses))


def _quick(clause: Clause) -> bool:
    """Whether entries find it: a clause on a keyed parameter can still be one that has none."""
    match clause:
        case Tokens():
            coded = not clause.negated and all(map(bare, clause.spellings))
            return _names_ids(clause) or (keyable(clause) and coded)
        case Strings():
            return keyable(clause) and clause.match is Match.START
        case Chain():
            return keyable(clause) and all(map(bare, clause.identifiers)) and _resolves_quickly(clause)
        case Has() | AnyOf():
            return _resolves_quickly(clause)
        case All():
            return any(map(_quick, clause.clauses)) and _resolves_quickly(clause)
        case _:
            return keyable(clause)


def _resolves_quickly(clause: Clause) -> bool:
    """Whether what has to be found before the search is found by entries too."""
    match clause:
        case Chain():
            return all(_quick(inner) for _, inner in clause.inner)
        case Has():
            return _quick(clause.inner)
        case AnyOf():
            return all(map(_quick, clause.clauses))
        case All():
            return all(map(_resolves_quickly, clause.clauses))
        case _:
            return True


def _names_ids(clause: Clause) -> bool:
    return isinstance(clause, Has) or (
        isinstance(clause, Tokens) and clause.parameter.field == "id" and not clause.negated
    )


def keyable(clause: Clause) -> bool:
    """Whether a clause could drive, whatever its chains lead to: the order must not change between pages."""
    if isinstance(clause, AnyOf):
        return all(map(keyable, clause.clauses))
    if isinstance(clause, Dates | Missing | Quantities | Words | Has | Together | All):
        return False
    return bool(clause.parameter.keyed)
