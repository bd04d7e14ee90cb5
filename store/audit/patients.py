"""The patients that an access is about: by what was asked, or by the resources that were answered. Pure.

Nothing is parsed: a search that names its patient tells by itself, stored bytes are looked through for
references. Names are `Patient/id`, or `system|value` where only an identifier is told.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from store.audit.records import PATIENTS_MAX
from store.fhir.references import RELATIVE
from store.retention.erased_names import KEY, identifiers_in, is_whole, patients_of
from store.search.criteria import Chain, References, Tokens, flat

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.search.criteria import Clause, SearchQuery

_PATIENT: Final = re.compile(rb'Patient/([A-Za-z0-9\-.]{1,64})["/]')
"""A reference to a Patient within stored bytes, at whatever base and version."""
_SUBJECTS: Final = frozenset({"patient", "subject"})
_SUBJECT: Final = re.compile(rb'"(?:subject|patient)"\s*:\s*\{')
_IDENTIFIER: Final = re.compile(rb'"identifier"\s*:\s*\{([^{}]{0,600})')
_NAME: Final = b'"identifier"'
_REACH: Final = 600
"""Bytes within a subject before its identifier: a coding may stand there, a list does not."""


def asked_for(query: SearchQuery) -> tuple[str, ...]:
    """The patients that a search names itself; none: it names its matches in another way."""
    found: dict[str, None] = {}
    for clause in flat(query.clauses):
        found |= dict.fromkeys(_named(clause, query.type))
    return tuple(found)[:PATIENTS_MAX]


def tells_all(query: SearchQuery) -> bool:
    """Whether all that a search can answer is about the patients that it names.

    Each alternative of one of its clauses names one then, and nothing comes along.
    """
    return not query.includes and any(_names_each(one, query.type) for one in flat(query.clauses))


def _names_each(clause: Clause, resource_type: str) -> bool:
    match clause:
        case References() | Tokens():
            alternatives = len(clause.spellings)
        case Chain():
            alternatives = len(clause.identifiers)
        case _:
            return False
    return 0 < alternatives == len(list(_named(clause, resource_type)))


def _named(clause: Clause, resource_type: str) -> Iterable[str]:
    if resource_type == "Patient" and isinstance(clause, Tokens) and not clause.negated:
        name = clause.parameter.name
        if name == "_id":
            return [f"Patient/{one}" for one in clause.spellings if "|" not in one]
        return filter(is_whole, clause.spellings) if name == "identifier" else ()
    if clause_name(clause) not in _SUBJECTS:
        return ()
    match clause:
        case References():
            return [name for one in clause.spellings if (name := _reference(one))]
        case Chain():
            return filter(is_whole, clause.identifiers)
        case Tokens(negated=False):
            return filter(is_whole, clause.spellings)
        case _:
            return ()


def clause_name(clause: Clause) -> str:
    """The name of the parameter of a clause; empty: it has none of its own."""
    parameter = getattr(clause, "parameter", None)
    return "" if parameter is None else str(parameter.name)


def _reference(spelling: str) -> str:
    """`Patient/id` of a spelling of a reference; empty: it is to something else."""
    head, _, patient = spelling.rpartition("Patient/")
    if not patient or (head and not head.endswith("/")) or not RELATIVE.fullmatch(f"Patient/{patient}"):
        return ""
    return f"Patient/{patient}"


def answered_with(resource_type: str, resource_id: str, raw: bytes) -> tuple[str, ...]:
    """The patients that a stored resource is about."""
    if resource_type == "Patient":
        return (f"Patient/{resource_id}",)
    found = dict.fromkeys(_PATIENT.findall(raw))
    if found:
        return tuple([f"Patient/{one.decode()}" for one in found])[:PATIENTS_MAX]
    identifier = _identifier_of_subject(raw)
    return () if identifier is None else tuple(filter(is_whole, identifiers_in(b"{%b}" % identifier)))


def _identifier_of_subject(raw: bytes) -> bytes | None:
    """The identifier of a subject that is named by nothing else.

    It is looked for, not matched: an expression would try each byte behind each of many thousand subjects.
    """
    tried = 0  # Up to here none is.
    for subject in _SUBJECT.finditer(raw):
        start = subject.end()
        listed = raw.find(b"[", start, start + _REACH)
        until = (listed if listed >= 0 else start + _REACH) + len(_NAME)
        at = raw.find(_NAME, max(start, tried), until)
        while at >= 0:
            found = _IDENTIFIER.match(raw, at)
            if found is not None:
                return found[1]
            tried = at + 1
            at = raw.find(_NAME, tried, until)
    return None


def of_keys(resource_type: str, resource_id: str, keys: Iterable[str]) -> tuple[str, ...]:
    """The patients that a resource about to be stored is about, by its entries of the `keyed` index."""
    if resource_type == "Patient":
        return (f"Patient/{resource_id}",)
    names = patients_of(keys)
    told = sorted(one.text for one in names if one.kind == KEY and one.text.startswith("Patient/"))
    return tuple(told or sorted(one.text for one in names))[:PATIENTS_MAX]
