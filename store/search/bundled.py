"""People that a Bundle kept as a resource is about: its patients, and those that its entries refer to. Pure.

R4 has no search parameter for that. Without one a Bundle would be out of reach of erasures, of holds and of
the rule that a search names its patient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.references import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from store.fhir.datatypes import Json, JsonObject

PATIENTS: Final = "patientsOfEntries"
"""The element under which they are shown to the index; a Bundle has none of that name."""
_ABOUT: Final = frozenset({"subject", "patient"})
"""Elements whose identifier is a patient's where nothing says otherwise."""


class Person(NamedTuple):
    """A patient as one place of a Bundle tells of them."""

    references: tuple[JsonObject, ...]
    """Names by reference and by identifier."""
    inside: bool
    """The Patient is in the Bundle."""


class _Place(NamedTuple):
    """An element, and where it stands."""

    name: str
    element: JsonObject
    address: str | None = None
    """Address of the entry that it is the resource of, where that tells a type."""


def with_patients(bundle: JsonObject) -> JsonObject:
    """The Bundle with References to its patients, as the index is to see it."""
    found = {_spelled(one): one for person in people(bundle) for one in person.references}
    own = {name: value for name, value in bundle.items() if name != PATIENTS}
    return {**own, PATIENTS: [found[one] for one in sorted(found)]} if found else own


def people(bundle: JsonObject) -> Iterator[Person]:
    """Each place that tells of a patient; two may tell of one."""
    left = [_Place("", bundle)]  # No recursion: it may be nested deep.
    while left:
        place = left.pop()
        if place.element.get("resourceType") == "Patient":
            yield Person(tuple(_of_patient(place)), inside=True)
        elif references := tuple(_referred(place)):
            yield Person(references, inside=False)
        address = place.element.get("fullUrl")
        known = address if isinstance(address, str) and _type(address) is not None else None
        for name, value in place.element.items():
            values = value if isinstance(value, list) else (value,)
            there = known if name == "resource" else None
            left += [_Place(name, one, there) for one in values if isinstance(one, dict)]


def _of_patient(place: _Place) -> Iterator[JsonObject]:
    own = place.element.get("id")
    if place.address is not None:
        yield {"reference": place.address}
    elif isinstance(own, str) and place.name != "contained":  # There an id is nobody else's.
        yield {"reference": f"Patient/{own}"}
    identifiers = place.element.get("identifier")
    for one in identifiers if isinstance(identifiers, list) else (identifiers,):
        yield from _identified(one)


def _referred(place: _Place) -> Iterator[JsonObject]:
    name, element = place.name, place.element
    if _type(element.get("fullUrl")) == "Patient" and "resource" not in element:
        yield {"reference": element["fullUrl"]}
    reference = element.get("reference")
    kind = _type(reference)
    if kind == "Patient":
        yield {"reference": reference}
    # `urn:uuid:` and `#` do not tell a type.
    if kind == "Patient" or (name in _ABOUT and kind is None and element.get("type", "Patient") == "Patient"):
        yield from _identified(element.get("identifier"))


def _type(reference: Json) -> str | None:
    return parse(reference).type if isinstance(reference, str) else None


def _identified(identifier: Json) -> Iterator[JsonObject]:
    if not isinstance(identifier, dict):
        return
    said = {part: identifier[part] for part in ("system", "value") if isinstance(identifier.get(part), str)}
    if said:
        yield {"type": "Patient", "identifier": said}


def _spelled(reference: JsonObject) -> tuple[str, ...]:
    identifier = reference.get("identifier")
    if not isinstance(identifier, dict):
        return ("", str(reference.get("reference")))
    return ("identifier", str(identifier.get("system", "")), str(identifier.get("value", "")))
