"""Builders of rows: a function for each search type, and for what many types have alike.

A definition is given where R4 registers one for several types; the others are `<Type>-<name>`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from store.fhir.resource_types import RESOURCE_TYPES
from store.search.rows.parameter import Parameter, SearchType

_SP: Final = "http://hl7.org/fhir/SearchParameter/"
_FHIR: Final = "http://hl7.org/fhir/"

ANY: Final = tuple(sorted(RESOURCE_TYPES))
"""Targets of a reference to any resource."""


def registered(row: Parameter, resource_type: str) -> Parameter:
    """The row under its own definition, unless it shares one, or is not of R4."""
    if row.definition or row.type is SearchType.SPECIAL:
        return row
    return replace(row, definition=f"{_SP}{resource_type}-{row.name}")


def token(name: str, expression: str, shared: str = "", **more: object) -> Parameter:
    """Codes, Codings, CodeableConcepts, Identifiers, booleans."""
    return Parameter(name, SearchType.TOKEN, expression, shared and _SP + shared, **more)  # type: ignore[arg-type]


def code(name: str, expression: str, system: str, shared: str = "", **more: object) -> Parameter:
    """An element of type code; its system is one of FHIR itself unless it is written out."""
    return token(name, expression, shared, system=system if ":" in system else _FHIR + system, **more)


def reference(
    name: str, expression: str, targets: str | tuple[str, ...], shared: str = "", **more: object
) -> Parameter:
    """References; `targets` with blanks between them.

    They are those of the registry that the element itself allows: `clinical-encounter` names EpisodeOfCare,
    to which only a DocumentReference can point.
    """
    listed = tuple(targets.split()) if isinstance(targets, str) else targets
    return Parameter(
        name,
        SearchType.REFERENCE,
        expression,
        shared and _SP + shared,
        targets=listed,
        **more,  # type: ignore[arg-type]
    )


def date(name: str, expression: str, shared: str = "", **more: object) -> Parameter:
    """Dates, instants, Periods, Timings."""
    return Parameter(name, SearchType.DATE, expression, shared and _SP + shared, **more)  # type: ignore[arg-type]


def string(name: str, expression: str, shared: str = "", *, keyed: int = 0) -> Parameter:
    """Texts, HumanNames, Addresses."""
    return Parameter(name, SearchType.STRING, expression, shared and _SP + shared, keyed=keyed)


def uri(name: str, expression: str, shared: str = "", *, canonical: bool = False) -> Parameter:
    """URIs."""
    return Parameter(name, SearchType.URI, expression, shared and _SP + shared, canonical=canonical)


def quantity(name: str, expression: str) -> Parameter:
    """Quantities, Durations."""
    return Parameter(name, SearchType.QUANTITY, expression)


def words(name: str, expression: str, shared: str) -> Parameter:
    """The words of a narrative, or without an expression of the whole resource."""
    return Parameter(name, SearchType.WORDS, expression, _SP + shared)


def composite(name: str, *components: Parameter, expression: str = "") -> Parameter:
    """Several parameters of one resource, or of one repetition of the element at `expression`."""
    return Parameter(name, SearchType.COMPOSITE, expression, components=components)


def either(name: str, *members: str) -> Parameter:
    """Row for any of several composites."""
    return Parameter(name, SearchType.COMPOSITE, "", members=members)


def part(name: str, search_type: SearchType, expression: str, *, targets: tuple[str, ...] = ()) -> Parameter:
    """Row for what a composite looks for within its element."""
    return Parameter(name, search_type, expression, targets=targets, stored_as=name)


# --- what many types have alike


def identifier(name: str = "identifier", expression: str = "", shared: str = "") -> Parameter:
    """Row for the identifiers of a resource."""
    return token(name, expression or name, shared, folded=False, keyed=1)


def clinical_identifier(expression: str = "identifier") -> Parameter:
    """The one that R4 registers once for the clinical types."""
    return identifier("identifier", expression, "clinical-identifier")


def patient(expression: str = "subject", shared: str = "clinical-patient") -> Parameter:
    """Row for subjects that are patients: its expression leaves out Group, which the registry lists."""
    return reference("patient", expression, "Patient", shared, only="Patient", keyed=5)


def subject(targets: str | tuple[str, ...] = "Patient Group", expression: str = "subject") -> Parameter:
    """Row for a subject, beside a `patient` over the same element, which has the keys of the patients."""
    return reference("subject", expression, targets, narrower="patient", keyed=6)


def encounter(shared: str = "", **more: object) -> Parameter:
    """The visit."""
    return reference("encounter", "encounter", "Encounter", shared, keyed=4, **more)


def clinical_code(expression: str = "code") -> Parameter:
    """Row for the code of a resource; asked together with the patient."""
    return token("code", expression, "clinical-code", keyed=8, scoped=True)


def gender() -> Parameter:
    """Administrative gender."""
    return code("gender", "gender", "administrative-gender", "individual-gender")


def active() -> Parameter:
    """Whether the record is in use."""
    return token("active", "active", plain=True, boolean=True)


def addresses(shared: str = "") -> tuple[Parameter, ...]:
    """`address` and its parts; `shared` is the definition's part before `-address`."""
    of = f"{shared}-address" if shared else ""
    parts = {"city": "city", "country": "country", "postalcode": "postalCode", "state": "state"}
    return (
        string("address", "address", of),
        *(string(f"address-{n}", f"address.{at}", of and f"{of}-{n}") for n, at in parts.items()),
        code("address-use", "address.use", "address-use", of and f"{of}-use"),
    )


def telecoms() -> tuple[Parameter, ...]:
    """`telecom` and its two most common kinds."""
    return (
        token("telecom", "telecom", "individual-telecom", plain=True),
        token("phone", "telecom[system=phone]", "individual-phone", plain=True),
        token("email", "telecom[system=email]", "individual-email", plain=True),
    )


def reached() -> tuple[Parameter, ...]:
    """Rows for the ways in which a person is reached."""
    return (*telecoms(), *addresses("individual"))


def called() -> tuple[Parameter, ...]:
    """Rows for the names of a person, by their parts too."""
    return (
        string("name", "name", keyed=7),
        string("family", "name.family", "individual-family", keyed=7),
        string("given", "name.given", "individual-given"),
    )
