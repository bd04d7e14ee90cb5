"""The patient scope rule: whether a search names its patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, assert_never

from store.fhir.resource_types import NOT_ABOUT_PATIENTS
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
from store.search.values import references, tokens
from store.search.values.strings import Match

if TYPE_CHECKING:
    from collections.abc import Mapping


_NAMING: Final[Mapping[str, tuple[str, ...]]] = {
    "Patient": ("identifier",),
    "Provenance": ("target", "patient"),
}
"""Parameters that bound a search where they are neither `patient` nor `subject`."""


def bounded_by_patient(query: SearchQuery) -> bool:
    """Whether a search names its patient, or the resource itself; or the type is not about patients."""
    if query.type in NOT_ABOUT_PATIENTS:
        return True
    naming = _NAMING.get(query.type, ("patient", "subject"))
    clauses = list(flat(query.clauses))
    named = any(_names(clause, naming) or _names_itself(clause) for clause in clauses)
    return named or (query.type == "Patient" and _describes_a_person(clauses))


def _describes_a_person(clauses: Sequence[Clause]) -> bool:
    """A name with a day of birth, phone number or e-mail address: how someone without number is found."""
    names = {c.parameter.name for c in clauses if isinstance(c, Strings) and c.match is not Match.CONTAINS}
    reached = {c.parameter.name for c in clauses if isinstance(c, Tokens) and not c.negated}
    born = any(
        isinstance(c, Dates) and c.parameter.name == "birthdate" and all(v.prefix == "eq" for v in c.values)
        for c in clauses
    )
    return bool(names & {"name", "family"}) and (born or bool(reached & {"telecom", "phone", "email"}))


def _names(clause: Clause, names: Sequence[str]) -> bool:
    match clause:
        case Tokens():
            whole = all(map(tokens.bare, clause.spellings))  # `system|` names everyone.
            return clause.parameter.name in names and whole and not clause.negated
        case References():
            return clause.parameter.name in names and _may_be_a_patient(clause)
        case Chain():
            whole = bool(clause.identifiers) and all(map(tokens.bare, clause.identifiers))
            elsewhere = clause.parameter.name == "subject" and clause.only not in ("", "Patient")
            return clause.parameter.name in names and whole and not elsewhere
        case Has() | AnyOf():
            return False
        case Dates() | Strings() | Quantities() | Words() | Missing() | Together() | All():
            return False
        case _:
            assert_never(clause)


def _may_be_a_patient(clause: References) -> bool:
    """Whether each `subject` may be a patient: a ward or a group is none, and all of it would be found, also
    beside a patient. An absolute reference that tells no type may be one.
    """
    if clause.parameter.name != "subject":
        return True
    spelled = frozenset(clause.spellings)
    # A bare id stands for that of each type, and beside them.
    return all(
        references.type_of(one) in (None, "Patient") or one.rpartition("/")[2] in spelled for one in spelled
    )


def _names_itself(clause: Clause) -> bool:
    return isinstance(clause, Tokens) and clause.parameter.field == "id" and not clause.negated
