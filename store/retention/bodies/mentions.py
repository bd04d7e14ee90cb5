"""Names of patients in bodies that were refused, which may be anything, and in the text of a search. Pure.

Rather a name too many is found than one too few: a letter about a patient who was erased must not be kept.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

import orjson

from store.retention.bodies import er7
from store.retention.bodies.plain import in_utf8, unescaped
from store.retention.erased_names import KEY, NUMBER, PATIENT, Name, is_whole, json_text, references
from store.retention.subjects import identifier
from store.search.values.escapes import split

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXT: Final = rb'"((?:[^"\\]|\\.){1,500})"'
_TOLD: Final = rb'(?>"?((?<=")(?:[^"\\]|\\.){1,500}|(?<!")-?[0-9][0-9.]{0,40}))'
"""A string, or a number where a string should be: the body may have been refused for just that."""
_SYSTEM: Final = rb'"[Ss]ystem"\s*:\s*'
_VALUE_OF: Final = rb'"[Vv]alue"\s*:\s*' + _TOLD
_BETWEEN: Final = rb"[^{}\[\]]{0,500}?"
_SYSTEM_VALUE: Final = re.compile(_SYSTEM + _TEXT + _BETWEEN + _VALUE_OF)
_VALUE_SYSTEM: Final = re.compile(_VALUE_OF + _BETWEEN + _SYSTEM + _TEXT)
_VALUE: Final = re.compile(rb'"[Vv]alue"\s*:\s*' + _TEXT)
_QUOTED: Final = re.compile(rb'"([^"\\]{0,100}[0-9][^"\\]{0,100})"')
_CONDITION: Final = re.compile(rb'"(?:[^"\\]{0,500}/)?Patient\?((?:[^"\\]|\\.){1,500})"')
_IDENTIFIERS: Final = re.compile(rb'"[Ii]dentifiers"\s*:\s*[\[{]([^\]]{0,20000})')
_ID: Final = re.compile(rb'"(?:ID|Id|id)"\s*:\s*' + _TOLD)
_SSN: Final = re.compile(rb'"(?:SSN|Ssn|ssn)"\s*:\s*' + _TOLD)
_PATIENT: Final = re.compile(r"(?:.*/)?(Patient/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_SOMEWHERE: Final = re.compile(rb"[Pp]atient/(?<![A-Za-z0-9][Pp]atient/)([A-Za-z0-9\-.]{1,64})")
"""A patient's reference with something before or behind it: blanks, a fragment, a search."""
_ASKED_MAX: Final = 1_000
"""Parameters of a query that are looked at; with more it is none."""
_IDENTIFIER: Final = frozenset({"identifier", "Identifier"})
_BROKEN: Final = object()
"""Stands for a body that is no JSON."""


def names_in(body: bytes, path: str = "") -> frozenset[Name]:
    """The names that a refused body may be about: Patients, identifiers, and what it puts itself.

    Where no Patient is named, all that it refers to.
    """
    where, _, query = path.partition("?")
    body = in_utf8(body)
    is_er7 = er7.is_er7(body)
    body = body if is_er7 else unescaped(body)
    found = {Name(KEY, one) for one in references(b'"' + unquote(where).encode() + b'"')}
    referred = set(references(body))
    patients = {one for one in referred if one.startswith("Patient/")}
    found |= {Name(KEY, one) for one in patients or referred}
    found |= {Name(KEY, f"Patient/{one.decode()}") for one in _SOMEWHERE.findall(body)}
    found |= {Name(PATIENT, one) for one in _identifiers(body)}
    found |= {Name(NUMBER, one.text.partition("/")[2]) for one in found if one.text.startswith("Patient/")}
    told = _BROKEN if is_er7 else _parsed(body)
    numbers = er7.numbers_in(body) if is_er7 else _numbers(body, told)
    found |= {Name(NUMBER, one) for number in numbers for one in (number, number.strip())}
    found |= names_asked(query)
    for condition in _CONDITION.findall(body):  # A search in the place of a reference.
        found |= names_asked(json_text(condition))
    for resource in _resources(told):
        resource_type, resource_id = resource.get("resourceType"), resource.get("id")
        if isinstance(resource_type, str) and isinstance(resource_id, str):
            found.add(Name(KEY, f"{resource_type}/{resource_id}"))
    return frozenset(found)


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _BROKEN


def _pairs(body: bytes) -> set[tuple[str, str]]:
    pairs = [(system, value) for system, value in _SYSTEM_VALUE.findall(body)]
    pairs += [(system, value) for value, system in _VALUE_SYSTEM.findall(body)]
    return {(json_text(system), json_text(value)) for system, value in pairs}


def _identifiers(body: bytes) -> set[str]:
    told = _pairs(body)
    trimmed = {(system.strip(), value.strip()) for system, value in told}
    return {identifier(system, value) for system, value in told | trimmed}


def _numbers(body: bytes, told: object) -> set[str]:
    """Numbers that no system is told to: in upstream's Data Model, in identifiers without one.

    In what is no JSON it may be any text with a digit.
    """
    if told is _BROKEN:
        return {json_text(one[1]) for one in islice(_QUOTED.finditer(body), er7.NUMBERS_MAX)}
    alone = {json_text(one) for one in _VALUE.findall(body)} - {value for _, value in _pairs(body)}
    return alone | _of_data_model(body) | set(_unquoted(told))


def _unquoted(told: object) -> Iterator[str]:
    """The values of identifiers that are numbers; those of quantities are numbers of nobody."""
    left = [(told, False)]
    while left:
        one, is_identifier = left.pop()
        if isinstance(one, list):
            left += [(inner, is_identifier) for inner in one]
        elif isinstance(one, dict):
            value = one.get("value")
            if is_identifier and isinstance(value, int):
                yield str(value)
            left += [(inner, name in _IDENTIFIER) for name, inner in one.items()]


def _of_data_model(body: bytes) -> set[str]:
    found = {json_text(one) for listed in _IDENTIFIERS.findall(body) for one in _ID.findall(listed)}
    return found | {json_text(one) for one in _SSN.findall(body)}


def _resources(told: object) -> Iterator[dict[str, Any]]:
    if not isinstance(told, dict):
        return
    yield told
    entries = told.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield entry["resource"]


# --- searches


def names_asked(query: str) -> frozenset[Name]:
    """The patients that the text of a search may name: `system|value`, a number alone, `Patient/id`."""
    found: set[Name] = set()
    for name, text in parse_qsl(query, max_num_fields=_ASKED_MAX) if query.count("&") < _ASKED_MAX else ():
        try:
            parts = split(text, ",")
        except ValueError:
            parts = text.split(",")
        for part in parts:
            found |= _asked(name, part)
    return frozenset(found)


def _asked(name: str, part: str) -> set[Name]:
    if is_whole(part):
        return {Name(PATIENT, part)}
    target = _PATIENT.fullmatch(part)
    if target is not None:
        return {Name(KEY, target[1])}
    last = name.rpartition(".")[2].partition(":")[0]
    if last == "identifier" or ":identifier" in name:
        return {Name(NUMBER, part.rpartition("|")[2])}
    return {Name(KEY, f"Patient/{part}")} if last in ("_id", "patient", "subject") else set()
