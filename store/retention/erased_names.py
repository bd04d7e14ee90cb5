"""Erased names: keyed digests of names, by which nothing of an erasure comes back. Pure.

A push is asked for the names it bears: its own key, its patient, its identifiers.
`store.mongo.rules.erased_names` knows which of them were erased. Without the deployment's secret a digest
tells nothing, and no name can be tried on it.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.retention.subjects import identifier
from store.search.keys import unquoted
from store.search.parameters import TYPES

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


# --- bytes


_SYSTEM_VALUE: Final = re.compile(
    rb'"system"\s*:\s*"((?:[^"\\]|\\.){1,500})"[^{}\[\]]{0,500}?"value"\s*:\s*"((?:[^"\\]|\\.){1,500})"'
)
_VALUE_SYSTEM: Final = re.compile(
    rb'"value"\s*:\s*"((?:[^"\\]|\\.){1,500})"[^{}\[\]]{0,500}?"system"\s*:\s*"((?:[^"\\]|\\.){1,500})"'
)


def identifiers_in(raw: bytes) -> set[str]:
    """`system|value` of what looks like an identifier in a resource as it is stored."""
    pairs = [(system, value) for system, value in _SYSTEM_VALUE.findall(raw)]
    pairs += [(system, value) for value, system in _VALUE_SYSTEM.findall(raw)]
    return {identifier(json_text(system), json_text(value)) for system, value in pairs}


def json_text(inner: bytes) -> str:
    """Text of a JSON string, by the bytes between its quotes."""
    try:
        return str(orjson.loads(b'"' + inner + b'"'))
    except orjson.JSONDecodeError:
        return inner.decode(errors="replace")
