"""The patient scope rule: whether a search names its patient, and what it asks then.

A ward, a group, a laboratory, which many patients share, names none of them: a search that only such a thing
bounds tells of whoever has to do with it. So each way that may lead to both is kept to patients here.
`DECISIONS.md#patient-scope`
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from store.fhir.instants import DAY
from store.fhir.references import ID
from store.fhir.resource_types import NOT_ABOUT_PATIENTS, SHARED
from store.search.criteria import (
    All,
    AnyOf,
    Chain,
    Clause,
    Dates,
    Has,
    Missing,
    Quantities,
    References,
    SearchQuery,
    Strings,
    Together,
    Tokens,
    Words,
    flat,
)
from store.search.parameters import TYPES
from store.search.values import references, tokens
from store.search.values.strings import Match

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_NAMING: Final[Mapping[str, tuple[str, ...]]] = {
    "Patient": ("identifier",),
    "Provenance": ("target", "patient"),
}
"""Parameters that bound a search where they are neither `patient` nor `subject`."""


def bounded(query: SearchQuery) -> SearchQuery | None:
    """The search as its patient bounds it; None: it names none, nor the resource itself.

    What may name a patient or something else, as a bare id in `subject`, names a patient where nothing else
    bounds the search.
    """
    asked = [_kept(query.type, clause) for clause in flat(query.clauses)]
    clauses = tuple(one for one in asked if one is not None)
    if len(clauses) < len(asked):
        return None
    kept = replace(query, clauses=clauses, of_a_patient=True)
    if query.type in NOT_ABOUT_PATIENTS:
        return kept
    naming = [_naming(query.type, clause) for clause in clauses]
    itself = any(isinstance(c, Tokens) and c.parameter.field == "id" and not c.negated for c in clauses)
    described = query.type == "Patient" and _describes_a_person(clauses)
    if itself or described or any(named is clause for named, clause in zip(naming, clauses, strict=True)):
        return kept
    if not any(naming):
        return None
    read = tuple(named or clause for named, clause in zip(naming, clauses, strict=True))
    return replace(kept, clauses=read)


def _describes_a_person(clauses: Sequence[Clause]) -> bool:
    """A name with a day of birth, phone number or e-mail address: how someone without number is found."""
    names = {c.parameter.name for c in clauses if isinstance(c, Strings) and c.match is not Match.CONTAINS}
    reached = {c.parameter.name for c in clauses if isinstance(c, Tokens) and not c.negated}
    born = any(isinstance(c, Dates) and c.parameter.name == "birthdate" and _is_a_day(c) for c in clauses)
    return bool(names & {"name", "family"}) and (born or bool(reached & {"telecom", "phone", "email"}))


def _is_a_day(clause: Dates) -> bool:
    """Whether one day is asked for: a year, or several days, would list whoever was born then."""
    intervals = {(one.prefix, one.interval) for one in clause.values}
    return (
        all(prefix == "eq" and at.end - at.start <= DAY for prefix, at in intervals) and len(intervals) == 1
    )


# --- what names a patient


def _naming(resource_type: str, clause: Clause) -> Clause | None:
    """The clause as far as it names a patient; itself when it names nothing else, None when it names none."""
    names = _NAMING.get(resource_type, ("patient", "subject"))
    match clause:
        case Tokens():
            whole = all(map(tokens.bare, clause.spellings))  # `system|` names everyone.
            if clause.parameter.name not in names or clause.negated or not whole:
                return None
            if clause.parameter.name in ("patient", "identifier"):
                return clause
            if clause.parameter.name == "target":  # An identifier alone does not tell whose it is.
                return None
            return replace(clause, parameter=TYPES[resource_type].by_name["patient"].logical)
        case References():
            return _of_references(clause) if clause.parameter.name in names else None
        case Chain():
            whole = bool(clause.identifiers) and all(map(tokens.bare, clause.identifiers))
            return _of_chain(resource_type, clause) if clause.parameter.name in names and whole else None
        case Dates() | Strings() | Quantities() | Words() | Missing() | Together() | All() | Has() | AnyOf():
            return None
        case _:
            assert_never(clause)


def _of_references(clause: References) -> References | None:
    """The patients among these; None when something else is named: it is not to be found beside them."""
    if clause.parameter.name == "patient":
        return clause
    spelled = frozenset(clause.spellings)
    bare = {one for one in spelled if ID.fullmatch(one)}  # They stand beside what they stand for.
    named, kept = True, []
    for one in clause.spellings:
        names_one = _names_a_patient(clause.parameter.name, references.type_of(one))
        if names_one:
            kept.append(one)
        elif one not in bare and one.rpartition("/")[2] not in bare:
            named = False
    if not (named and kept):
        return None
    return clause if len(kept) == len(clause.spellings) else replace(clause, spellings=tuple(kept))


def _of_chain(resource_type: str, clause: Chain) -> Chain | None:
    if clause.parameter.name == "patient":
        return clause
    if clause.parameter.name == "target":
        return clause if _names_a_patient("target", clause.only or None) else None
    if clause.only:
        return None  # `subject:Patient` is `patient` by now.
    inner = tuple(one for one in clause.inner if one[0] == "Patient")
    return replace(clause, parameter=TYPES[resource_type].by_name["patient"], inner=inner)


def _names_a_patient(name: str, type: str | None) -> bool:
    """Whether a reference to the type names a patient; as the target of a Provenance, what is one's."""
    return type == "Patient" if name == "subject" else type is not None and type not in SHARED


# --- what must not be asked around it


def _kept(resource_type: str, clause: Clause) -> Clause | None:
    """The clause, kept to patients; None when a way leads from something shared to any of them.

    `_has:Patient:general-practitioner:family=…` would tell of a patient by way of a practitioner, and
    `member.family=…` by way of a group.
    """
    match clause:
        case Has():
            shared = resource_type in SHARED and clause.type not in NOT_ABOUT_PATIENTS
            inner = _behind(clause.type, clause.inner, naming=shared)
            return None if inner is None else replace(clause, inner=inner)
        case Chain():
            # The patient of a device is the one whom it names.
            shared = resource_type in SHARED and clause.parameter.name != "patient"
            ways = [
                (target, _behind(target, inner, naming=shared and target not in SHARED))
                for target, inner in clause.inner
            ]
            kept = tuple((target, inner) for target, inner in ways if inner is not None)
            return replace(clause, inner=kept) if len(kept) == len(ways) else None
        case AnyOf() | All():
            parts = [_kept(resource_type, one) for one in clause.clauses]
            whole = tuple(one for one in parts if one is not None)
            return replace(clause, clauses=whole) if len(whole) == len(parts) else None
        case Tokens() | References() | Dates() | Strings() | Quantities() | Words() | Missing() | Together():
            return clause
        case _:
            assert_never(clause)


def _behind(resource_type: str, clause: Clause, *, naming: bool) -> Clause | None:
    """The clause on what a way leads to; `naming`: it has to name its patient."""
    if naming:
        asked = bounded(SearchQuery(resource_type, (clause,)))
        if asked is None:
            return None
        [clause] = asked.clauses
    return _kept(resource_type, clause)
