"""Which stored resource a pushed one is: the natural key of a message's resource and its stable id.

The key is the business identifier within the tenant, else the source's own id within that source. The id
is derived from the key with the tenants' secret, so that simultaneous twins meet at one id and nobody can
guess an identifier from an id.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.datatypes import Malformed, objects_of, text_of
from store.resources import Identified
from store.search.escapes import escape
from store.search.tokens import spellings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.fhir.datatypes import JsonObject
    from store.tenancy import Tenant

_PREFERRED: Final[Mapping[str, tuple[str, ...]]] = {
    "DiagnosticReport": ("FILL", "ACSN"),
    "Patient": ("MR", "PI"),
    "ServiceRequest": ("PLAC",),
    "Practitioner": ("NPI",),
}
"""Identifier types (v2-0203) that name the resource best; else the first identifier with a system."""
_SHARED: Final = frozenset({"PLAC", "PGN"})
"""Order numbers, which several reports of one order carry: the report's code tells those apart."""


class Identity(NamedTuple):
    """A natural key."""

    name: str
    """Unique within the tenant."""
    identifier: Identified | None = None
    """Set when a resource that is stored already may carry it under an id of its own."""


def identity(resource: JsonObject, *, source: str, fallback: str) -> Identity:
    """The natural key of a resource; `fallback` names it when it has no identifier and no id."""
    resource_type = str(resource["resourceType"])
    for kind, spelling in _identifiers(resource, resource_type):
        if resource_type == "DiagnosticReport" and kind in _SHARED:
            return Identity(f"{resource_type} {spelling}|{escape(_code(resource))}")
        return Identity(f"{resource_type} {spelling}", Identified(resource_type, spelling))
    return of_source(resource, source=source, fallback=fallback)


def of_source(resource: JsonObject, *, source: str, fallback: str) -> Identity:
    """The key within the source, for a resource without a business identifier."""
    resource_id = resource.get("id")
    own = resource_id if isinstance(resource_id, str) else fallback
    return Identity(f"{resource['resourceType']} {source} {own}")


def stable_id(tenant: Tenant, name: str, secret: bytes) -> str:
    """The UUID (version 8) that a natural key always has in this tenant."""
    keyed = bytearray(hmac.digest(secret, f"{tenant} {name}".encode(), sha256)[:16])
    keyed[6] = keyed[6] & 0x0F | 0x80
    keyed[8] = keyed[8] & 0x3F | 0x80
    digits = keyed.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _identifiers(resource: JsonObject, resource_type: str) -> list[tuple[str, str]]:
    """(type code, `system|value`) of the identifiers that can be a key, the best first."""
    found: list[tuple[str, str]] = []
    try:
        for identifier in objects_of(resource, "identifier", resource_type):
            system = text_of(identifier, "system", "identifier")
            value = text_of(identifier, "value", "identifier")
            if system and value:
                found.append((_kind(identifier), spellings(system, value, folded=False)[1]))
    except Malformed:
        return []  # The index says so with its place when the resource is prepared.
    preferred = _PREFERRED.get(resource_type, ())
    return sorted(found, key=lambda one: preferred.index(one[0]) if one[0] in preferred else len(preferred))


def _kind(identifier: JsonObject) -> str:
    kind = identifier.get("type")
    codings = objects_of(kind, "coding", "identifier.type") if isinstance(kind, dict) else ()
    return next((str(coding.get("code", "")) for coding in codings), "")


def _code(resource: JsonObject) -> str:
    code = resource.get("code")
    if not isinstance(code, dict):
        return ""
    try:
        codings = list(objects_of(code, "coding", "code"))
    except Malformed:
        return ""  # The index says so with its place when the resource is prepared.
    return next((str(c["code"]) for c in codings if "code" in c), str(code.get("text", "")))
