"""Erased names: keyed digests of names, by which nothing of an erasure comes back. Pure.

A push is asked for the names it bears: its own key, its patient, its identifiers.
`store.mongo.rules.erased_names` knows which of them were erased. Without the deployment's secret a digest
tells nothing, and no name can be tried on it.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl

import orjson

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention import er7
from store.retention.subjects import identifier
from store.search.keys import unquoted
from store.search.parameters import TYPES
from store.search.values.escapes import split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from store.resources.resource_keys import ResourceKey
    from store.search.readers import Field

SECRET: Final = "erasures"  # noqa: S105 -- the name of one
KEY: Final = "key"
"""A name that is `Type/id`, or another spelling of a reference to a patient."""
PATIENT: Final = "patient"
"""A name that is an identifier of a patient, `system|value`."""
NUMBER: Final = "number"
"""A name that is the value of a patient's identifier alone, for what tells no system: HL7 v2 that nobody
could read, upstream's Data Model, a search by a number.
"""
OWN: Final = "own"
"""A name that is an identifier of a resource: `Type system|value`."""
_REFERENCE: Final = re.compile(
    rb'"(?:[^"\\]{0,500}/)?([A-Z][A-Za-z]{2,40}/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?"'
)


class Name(NamedTuple):
    """Name by which something is known."""

    kind: str
    text: str


class Names(NamedTuple):
    """The names that a resource bears."""

    strong: frozenset[Name]
    """Any of them erased, and the resource is refused."""
    weak: frozenset[Name] = frozenset()
    """Names that count if nothing says which patient it is about: order numbers are used again, specimens
    shared.
    """


CLOSED: Final = Issue("deleted", "this tenant was closed; nothing was stored")
"""Reason of a refusal for a tenant that has left."""


def refusal() -> ServiceError:
    """Refusal of a push that would bring back what was erased."""
    text = "it was erased on purpose, or is about a patient who was: it is not stored again"
    return ServiceError(Category.GONE, Issue("deleted", text))


def closed_tenant() -> ServiceError:
    """Refusal of a push for a tenant that has left meanwhile."""
    return ServiceError(Category.GONE, CLOSED)


def digest(secret: bytes, tenant: str, name: Name) -> str:
    """Digest that stands for an erased name."""
    return hmac.digest(secret, f"{tenant}\0{name.kind}\0{name.text}".encode(), sha256).hex()


def names_of(own: ResourceKey, fields: Mapping[str, Field], keys: Iterable[str], raw: bytes) -> Names:
    """The names of a resource about to be stored, by its search side and its bytes."""
    strong = {Name(KEY, str(own))}
    identifiers = [one for one in _texts(fields.get("identifier")) if is_whole(one)]
    if own.type == "Patient":
        return Names(frozenset(strong | {Name(PATIENT, one) for one in identifiers}))
    patients = patients_of(keys)
    if patients and "patient" in TYPES[own.type].by_name:
        return Names(frozenset(strong | patients))  # Nearly all: 11 µs instead of 26 with their bytes.
    referred = set(references(raw)) - {str(own)}
    if "patient" not in TYPES[own.type].by_name:  # Nothing of it is indexed: its bytes tell.
        patients |= {Name(KEY, one) for one in referred if one.startswith("Patient/")}
    weak = {Name(OWN, f"{own.type} {one}") for one in identifiers} | {Name(KEY, one) for one in referred}
    return Names(frozenset(strong | patients), frozenset() if patients else frozenset(weak))


def patients_of(keys: Iterable[str]) -> set[Name]:
    """The patients that entries of the `keyed` index name."""
    found = set()
    for one in keys:
        name, _, spelled = one.partition("=")
        kind = _KINDS.get(name)
        text = unquoted(spelled) if kind else None
        if kind and text is not None and (kind == KEY or is_whole(text)):
            found.add(Name(kind, text))
    return found


_KINDS: Final = {"patient": KEY, "patient.identifier": PATIENT}
"""Entries of the index that name a patient; others say more than that: `patient=Patient/1&code=…`."""


def is_whole(spelling: str) -> bool:
    """Whether a spelling of an identifier has a system and a value."""
    system, bar, value = spelling.partition("|")
    return bool(bar and system and value)


def references(raw: bytes) -> Iterator[str]:
    """`Type/id` of all that bytes refer to, at whatever base."""
    for found in _REFERENCE.findall(raw):
        text = found.decode()
        if text.partition("/")[0] in TYPES:
            yield text


def _texts(field: Field | None) -> list[str]:
    return [one for one in field if isinstance(one, str)] if isinstance(field, list) else []


# --- bodies that were refused, which may be anything


_SYSTEM_VALUE: Final = re.compile(
    rb'"system"\s*:\s*"((?:[^"\\]|\\.){1,500})"[^{}\[\]]{0,500}?"value"\s*:\s*"((?:[^"\\]|\\.){1,500})"'
)
_VALUE_SYSTEM: Final = re.compile(
    rb'"value"\s*:\s*"((?:[^"\\]|\\.){1,500})"[^{}\[\]]{0,500}?"system"\s*:\s*"((?:[^"\\]|\\.){1,500})"'
)


def names_in(body: bytes, path: str = "") -> frozenset[Name]:
    """The names that a refused body may be about: Patients, identifiers, and what it puts itself.

    Where no Patient is named, all that it refers to.
    """
    found = {Name(KEY, one) for one in references(b'"' + path.partition("?")[0].encode() + b'"')}
    referred = set(references(body))
    patients = {one for one in referred if one.startswith("Patient/")}
    found |= {Name(KEY, one) for one in patients or referred}
    found |= {Name(PATIENT, one) for one in identifiers_in(body)}
    found |= {Name(NUMBER, one.text.partition("/")[2]) for one in found if one.text.startswith("Patient/")}
    told = _parsed(body)
    found |= {Name(NUMBER, one) for one in _numbers(body, is_json=told is not _BROKEN)}
    found |= names_asked(path.partition("?")[2])
    for condition in _CONDITION.findall(body):  # A search in the place of a reference.
        found |= names_asked(_text(condition))
    for resource in _resources(told):
        resource_type, resource_id = resource.get("resourceType"), resource.get("id")
        if isinstance(resource_type, str) and isinstance(resource_id, str):
            found.add(Name(KEY, f"{resource_type}/{resource_id}"))
    return frozenset(found)


_BROKEN: Final = object()
"""Stands for a body that is no JSON."""


def _parsed(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _BROKEN


def _numbers(body: bytes, *, is_json: bool) -> set[str]:
    """Numbers that no system is told to: in HL7 v2, in upstream's Data Model, in identifiers without one.

    In what is no JSON it may be any text with a digit.
    """
    if er7.is_er7(body):
        return er7.numbers_in(body)
    if not is_json:
        return {_text(one[1]) for one in islice(_QUOTED.finditer(body), er7.NUMBERS_MAX)}
    paired = {value for _, value in _SYSTEM_VALUE.findall(body)}
    paired |= {value for value, _ in _VALUE_SYSTEM.findall(body)}
    alone = {_text(one) for one in set(_VALUE.findall(body)) - paired}
    return alone | _of_data_model(body)


def _of_data_model(body: bytes) -> set[str]:
    if b'"Identifiers"' not in body:
        return set()
    found = {_text(one) for listed in _IDENTIFIERS.findall(body) for one in _ID.findall(listed)}
    return found | {_text(one) for one in _SSN.findall(body)}


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


_VALUE: Final = re.compile(rb'"value"\s*:\s*"((?:[^"\\]|\\.){1,500})"')
_QUOTED: Final = re.compile(rb'"([^"\\]{0,100}[0-9][^"\\]{0,100})"')
_CONDITION: Final = re.compile(rb'"(?:[^"\\]{0,500}/)?Patient\?((?:[^"\\]|\\.){1,500})"')
_IDENTIFIERS: Final = re.compile(rb'"Identifiers"\s*:\s*[\[{]([^\]]{0,20000})')
_ID: Final = re.compile(rb'"ID"\s*:\s*"((?:[^"\\]|\\.){1,500})"')
_SSN: Final = re.compile(rb'"SSN"\s*:\s*"((?:[^"\\]|\\.){1,500})"')
_PATIENT: Final = re.compile(r"(?:.*/)?(Patient/[A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_ASKED_MAX: Final = 1_000
"""Parameters of a query that are looked at; with more it is none."""


def identifiers_in(body: bytes) -> set[str]:
    """`system|value` of what looks like an identifier, also in what is no JSON."""
    pairs = [(system, value) for system, value in _SYSTEM_VALUE.findall(body)]
    pairs += [(system, value) for value, system in _VALUE_SYSTEM.findall(body)]
    return {identifier(_text(system), _text(value)) for system, value in pairs}


def _text(inner: bytes) -> str:
    """Text of a JSON string, by the bytes between its quotes."""
    try:
        return str(orjson.loads(b'"' + inner + b'"'))
    except orjson.JSONDecodeError:
        return inner.decode(errors="replace")


def _resources(told: object) -> Iterator[dict[str, Any]]:
    if not isinstance(told, dict):
        return
    yield told
    entries = told.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("resource"), dict):
            yield entry["resource"]
