"""The elements that R4 defines: what each type has, of which datatype, once or as a list, required or not.

Read from `r4_elements.txt` when it is first asked for. https://hl7.org/fhir/R4/resourcelist.html
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPEN_TYPES: Final = (
    "base64Binary boolean canonical code date dateTime decimal id instant integer markdown oid positiveInt"
    " string time unsignedInt uri url uuid Address Age Annotation Attachment CodeableConcept Coding"
    " ContactDetail ContactPoint Contributor Count DataRequirement Distance Dosage Duration Expression"
    " HumanName Identifier Meta Money ParameterDefinition Period Quantity Range Ratio Reference"
    " RelatedArtifact SampledData Signature Timing TriggerDefinition UsageContext"
).split()
"""Datatypes of an extension's value."""
RESOURCE: Final = "Resource"
"""The type of an element that holds any resource."""
_BASES: Final[Mapping[str, str]] = {
    "Element": "id:string extension*:Extension",
    "BackboneElement": "id:string extension*:Extension modifierExtension*:Extension",
    "Resource": "resourceType:code id:id meta:Meta implicitRules:uri language:code",
    "DomainResource": "resourceType:code id:id meta:Meta implicitRules:uri language:code text:Narrative"
    " contained*:Resource extension*:Extension modifierExtension*:Extension",
}
"""Elements that types have of their base."""


class Element:
    """Element of a type."""

    __slots__ = ("definition", "many", "type")

    def __init__(self, type: str, *, many: bool) -> None:
        """`type` is its datatype; `definition` stays None for primitives, and for a resource of any type."""
        self.type = type
        self.many = many
        self.definition: Definition | None = None


class Definition:
    """Definition of a type: a resource, a datatype, or an element with elements of its own."""

    __slots__ = ("elements", "name", "required")

    def __init__(self, name: str) -> None:
        """Empty as yet."""
        self.name = name
        self.elements: dict[str, Element] = {}
        """Elements by the name that JSON has, so that a choice has one for each of its types."""
        self.required: list[tuple[str, tuple[str, ...]]] = []
        """R4's name of each required element, and the names that it has in JSON."""


@cache
def definitions() -> Mapping[str, Definition]:
    """All types by name, such as `Patient`, `Patient.contact`, `HumanName`."""
    found: dict[str, Definition] = {}
    text = (files("store.fhir") / "r4_elements.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        head, _, rest = line.partition(" ")
        name, base = head.split(":")
        made = found[name] = Definition(name)
        for spelled in f"{_BASES[base]} {rest}".split():
            _add(made, spelled)
    for made in found.values():
        for element in made.elements.values():
            element.definition = found.get(element.type)
    return found


def _add(made: Definition, spelled: str) -> None:
    """Add an element as the table spells it: `name*!:type`."""
    marked, types = spelled.split(":")
    name = marked.rstrip("*!")
    spellings = tuple(_spellings(name, types))
    for spelling, datatype in spellings:
        made.elements[spelling] = Element(datatype, many="*" in marked[len(name) :])
    if "!" in marked:
        made.required.append((name, tuple(spelling for spelling, _ in spellings)))


def _spellings(name: str, types: str) -> Iterator[tuple[str, str]]:
    """(name in JSON, datatype) of each form that an element has."""
    if not name.endswith("[x]"):
        yield name, types
        return
    for datatype in OPEN_TYPES if types == "*" else types.split("|"):
        yield f"{name[:-3]}{datatype[0].upper()}{datatype[1:]}", datatype
