"""The entries of the `keyed` index: which spellings of a resource are worth one, compiled once per type.

They repeat what `fields` hold as `name=spelling`, alone and together with the patient, so that one index
serves all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.references import parse as parse_reference
from store.search.parameters import TYPES, Parameter, SearchType
from store.search.values import tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

    from store.search.readers import Fields

_QUOTED: Final = re.compile(r"\\(.)", re.DOTALL)
_WHOLE: Final = re.compile(r"(?:[^\\&]|\\.)*", re.DOTALL)
CONTAINED: Final = "contained"
"""The name of the entries that say which types a resource contains."""


_OF_PATIENT: Final = frozenset({"patient", "patient.identifier"})
"""Names of entries that say which patient a resource is about: others have them as their beginning."""


def key(name: str, spelling: str) -> str:
    """An entry of the `keyed` index."""
    return f"{name}={quoted(spelling)}" if name in _OF_PATIENT else f"{name}={spelling}"


def quoted(spelling: str) -> str:
    r"""A patient's spelling so that no `&` in it is taken for what parts it from a code.

    A number may be `7&code=8`; its entry must not be the one of number `7` and code `8`.
    """
    plain = "&" not in spelling and "\\" not in spelling
    return spelling if plain else spelling.replace("\\", "\\\\").replace("&", "\\&")


def unquoted(text: str) -> str | None:
    """The spelling in an entry that names a patient; None: the entry says more than its patient."""
    if "\\" not in text:
        return None if "&" in text else text
    return _QUOTED.sub(r"\1", text) if _WHOLE.fullmatch(text) else None


def scoped_key(patient_key: str, name: str, spelling: str) -> str:
    """An entry that holds the patient too."""
    return f"{patient_key}&{name}={spelling}"


class _Keyed(NamedTuple):
    """A row with entries."""

    name: str
    start: str
    """`name=`; empty when there are only entries together with the patient."""
    scoped: str
    """`&name=`; empty when there are none of those."""
    tokens: bool


class _KeyedReference(NamedTuple):
    """Reference parameter that makes entries."""

    name: str
    start: str
    narrowed: bool
    """Whether what points at a Patient has its entries under another parameter."""
    identified: str
    """Prefix of entries of identifiers."""
    held: tuple[str, str]
    """Place of those identifiers."""
    quotes: bool
    """Whether its spellings are quoted: its entries are the beginning of others."""


class _KeyPlan(NamedTuple):
    patient: _KeyedReference | None
    """Parameter whose entries come first, and into those that hold the patient too."""
    others: Sequence[_Keyed | _KeyedReference]


@cache
def _plan(resource_type: str) -> _KeyPlan:
    """The table's rows for a type, compiled once."""
    row = TYPES[resource_type]
    patient = row.by_name.get("patient")
    others = [
        _of_reference(one) if one.type is SearchType.REFERENCE else _of(one)
        for one in row.keyed
        if one is not patient
    ]
    return _KeyPlan(None if patient is None else _of_reference(patient), others)


def _of(row: Parameter) -> _Keyed:
    start = key(row.name, "") if row.keyed else ""
    scoped = scoped_key("", row.name, "") if row.scoped else ""
    return _Keyed(row.name, start, scoped, row.type is SearchType.TOKEN)


def _of_reference(row: Parameter) -> _KeyedReference:
    held = (f"{row.name}:identifier", f"{row.name}>identifier")
    narrowed = row.narrower is not None
    quotes = row.name in _OF_PATIENT
    return _KeyedReference(row.name, key(row.name, ""), narrowed, key(row.identifier_key, ""), held, quotes)


def keys_of(resource_type: str, fields: Fields) -> list[str]:
    """The entries of a resource with these fields."""
    patient, others = _plan(resource_type)
    patients = [] if patient is None else _reference_keys(patient, fields)
    keys = list(patients)
    for row in others:
        if isinstance(row, _KeyedReference):
            keys += _reference_keys(row, fields)
        elif row.name in fields:
            held = fields[row.name]
            codes = _codes(held) if row.tokens else [str(one) for one in held]
            if row.start:
                keys += [row.start + code for code in codes]
            if row.scoped:
                keys += [one + row.scoped + code for one in patients for code in codes]
    return keys


def _codes(spellings: Iterable[object]) -> list[str]:
    """The codes among the spellings of a token, each without its system."""
    # Where nothing is escaped, a bar parts system and code.
    return [
        s for s in spellings if isinstance(s, str) and ("|" not in s or ("\\" in s and tokens.is_bare(s)))
    ]


def _reference_keys(row: _KeyedReference, fields: Fields) -> list[str]:
    keys = [
        row.start + (quoted(spelling) if row.quotes else spelling)
        for spelling in fields.get(row.name, ())
        if isinstance(spelling, str) and not (row.narrowed and names_patient(spelling))
    ]
    for held in row.held:
        if held in fields:
            # With the system as well: they are few, and a chain then needs no second look.
            spelled = [str(s) for s in fields[held] if tokens.bare(str(s))]
            keys += [row.identified + (quoted(s) if row.quotes else s) for s in spelled]
    return keys


def names_patient(spelling: str) -> bool:
    """Whether a reference's spelling says that it points at a Patient."""
    # As `patient` itself is indexed; the first test spares most others the second.
    return "Patient/" in spelling and parse_reference(spelling).type == "Patient"
