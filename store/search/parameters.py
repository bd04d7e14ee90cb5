"""The table everything is one of: which types there are, and what each can be searched by.

Indexing, parsing, planning, `/metadata`, the docs and the tests walk it. Another resource type or parameter
is a row. https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final

from store.fhir.datatypes import Path
from store.fhir.resource_types import RESOURCE_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SP: Final = "http://hl7.org/fhir/SearchParameter/"
_PRACTITIONERS: Final = ("Practitioner", "PractitionerRole", "Organization", "CareTeam")
_SUBJECTS: Final = ("Patient", "Group", "Device", "Location")


class SearchType(StrEnum):
    """The FHIR search types that the table knows, and `special` for those with rules of their own."""

    TOKEN = "token"  # noqa: S105 -- a FHIR search type
    REFERENCE = "reference"
    DATE = "date"
    STRING = "string"
    URI = "uri"
    QUANTITY = "quantity"
    SPECIAL = "special"


@dataclass(frozen=True, eq=False)
class Parameter:
    """One row; there is one of each, so rows are compared by identity."""

    name: str
    type: SearchType
    expression: str
    """Element paths under the resource, joined by ` | `; arrays are walked through."""
    definition: str = ""
    """Canonical URL of the SearchParameter; empty for ours."""
    targets: tuple[str, ...] = ()
    """References: the types it may point at; what a bare id and an untyped chain are tried on."""
    only: str | None = None
    """References: indexes just those to this type (`patient`)."""
    narrower: str | None = None
    """References: the parameter under which references to a Patient are keyed (`subject` → `patient`)."""
    aliases: tuple[str, ...] = ()
    """Upstream's names for it (decision D13)."""
    system: str | None = None
    """Tokens of type code: the system their binding implies."""
    folded: bool = True
    """Tokens: compared without case. Identifiers and ids are not."""
    plain: bool = False
    """Tokens without a system: ids, booleans."""
    keyed: int = 0
    """Has its own entries in the `keyed` index; smaller numbers find fewer resources. 0: none."""
    keyed_as: str = ""
    """The name of its entries when others share them: then they find more than the parameter asks."""
    scoped: bool = False
    """Tokens: also keyed together with the patient, for `patient=…&code=…`."""
    when: bool = False
    """Dates: the clinical date of its type, by which it is ordered; stored under the same field for all."""
    members: tuple[str, ...] = ()
    """Special: matches when one of these parameters, or chains, does (`order`)."""
    stored_as: str = ""
    """Where its values are stored, when not under its name."""
    documentation: str = ""

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The expression, compiled."""
        return tuple(Path(path) for path in self.expression.split(" | ")) if self.expression else ()

    @cached_property
    def field(self) -> str:
        """Where its values are stored."""
        return self.stored_as or (WHEN if self.when else f"index.{self.name}")

    @cached_property
    def sortable(self) -> bool:
        """Whether `_sort` takes it: it has one scalar for each resource."""
        return self.type is SearchType.DATE or self.name == "_id"

    @cached_property
    def logical(self) -> Parameter:
        """References: `Reference.identifier` as a token parameter, what `:identifier` asks."""
        return Parameter(
            self.name,
            SearchType.TOKEN,
            "",
            folded=False,
            stored_as=f"index.{self.name}:identifier",
            keyed=self.keyed,
            keyed_as=self.identifier_key,
        )

    @cached_property
    def texts(self) -> Parameter:
        """Tokens: text and displays beside the codes as a string parameter, what `:text` asks."""
        return Parameter(self.name, SearchType.STRING, "", stored_as=f"index.{self.name}:text")

    @cached_property
    def of_type(self) -> Parameter:
        """Identifiers: `type-system|type-code|value`, what `:of-type` asks."""
        return Parameter(
            self.name, SearchType.TOKEN, "", folded=False, stored_as=f"index.{self.name}:of-type"
        )

    @cached_property
    def identifier_key(self) -> str:
        """References: the key name of identifiers within the reference, or of a contained target."""
        return f"{self.name}.identifier"

    @cached_property
    def contained_field(self) -> str:
        """References: where the identifiers of contained targets are stored."""
        return f"index.{self.name}>identifier"

    @cached_property
    def typed_field(self) -> str:
        """References: those identifiers again, each behind the type of what carries it, as far as told."""
        return f"index.{self.name}>typed"

    @cached_property
    def unspelled_field(self) -> str:
        """References: there when one says something that no search can spell, such as a display alone."""
        return f"index.{self.name}:unspelled"


WHEN: Final = "when"
"""Where the clinical date of a resource is stored, whatever its type calls it: the default order."""


@dataclass(frozen=True, eq=False)
class ResourceType:
    """A type and its parameters, by name and by alias."""

    name: str
    parameters: tuple[Parameter, ...] = ()

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """Rows by name and alias, the common ones included."""
        rows = (*self.parameters, *COMMON)
        return {name: row for row in rows for name in (row.name, *row.aliases)}

    @cached_property
    def keyed(self) -> tuple[Parameter, ...]:
        """The rows with entries in the `keyed` index."""
        return tuple(row for row in self.rows if row.keyed or row.scoped)

    @cached_property
    def by_element(self) -> Mapping[str, Sequence[tuple[Parameter, Path]]]:
        """What looks into an element of the resource, by the element's name."""
        found: dict[str, list[tuple[Parameter, Path]]] = {}
        for row in self.rows:
            for path in row.paths:
                found.setdefault(path.names[0], []).append((row, path))
        return found

    @cached_property
    def dates(self) -> tuple[Parameter, ...]:
        """The date rows, which store something for every resource."""
        return tuple(row for row in self.rows if row.type is SearchType.DATE and row.paths)

    @cached_property
    def rows(self) -> tuple[Parameter, ...]:
        """The type's own rows, then the common ones."""
        return (*self.parameters, *COMMON)


def _token(name: str, expression: str, definition: str = "", **more: object) -> Parameter:
    return Parameter(name, SearchType.TOKEN, expression, definition and _SP + definition, **more)  # type: ignore[arg-type]


def _identifier(definition: str) -> Parameter:
    return _token("identifier", "identifier", definition, folded=False, keyed=1)


def _reference(
    name: str, expression: str, definition: str, targets: tuple[str, ...], **more: object
) -> Parameter:
    return Parameter(
        name,
        SearchType.REFERENCE,
        expression,
        _SP + definition,
        targets=targets,
        **more,  # type: ignore[arg-type]
    )


def _patient(expression: str, definition: str = "clinical-patient") -> Parameter:
    return _reference("patient", expression, definition, ("Patient",), only="Patient", keyed=5)


def _date(name: str, expression: str, definition: str, *, when: bool = False) -> Parameter:
    return Parameter(name, SearchType.DATE, expression, _SP + definition, when=when)


def _string(name: str, expression: str, definition: str, *, keyed: int = 0) -> Parameter:
    return Parameter(name, SearchType.STRING, expression, _SP + definition, keyed=keyed)


def _uri(name: str, expression: str, definition: str) -> Parameter:
    return Parameter(name, SearchType.URI, expression, _SP + definition)


def _quantity(name: str, expression: str, definition: str) -> Parameter:
    return Parameter(name, SearchType.QUANTITY, expression, _SP + definition)


def _addresses(definition: str) -> tuple[Parameter, ...]:
    """`address` and its parts; `definition` is the part before `-address`."""
    parts = {"city": "city", "country": "country", "postalcode": "postalCode", "state": "state"}
    return (
        _string("address", "address", f"{definition}-address"),
        *(_string(f"address-{n}", f"address.{at}", f"{definition}-address-{n}") for n, at in parts.items()),
        _token("address-use", "address.use", f"{definition}-address-use"),
    )


def _telecoms(definition: str) -> tuple[Parameter, ...]:
    """`telecom` and its two most common kinds."""
    return (
        _token("telecom", "telecom", f"{definition}-telecom", plain=True),
        _token("phone", "telecom[system=phone]", f"{definition}-phone", plain=True),
        _token("email", "telecom[system=email]", f"{definition}-email", plain=True),
    )


def _person(definition: str) -> tuple[Parameter, ...]:
    """What a person is called and reached by."""
    return (
        _string("family", "name.family", f"{definition}-family", keyed=7),
        _string("given", "name.given", f"{definition}-given"),
        *_telecoms(definition),
        *_addresses(definition),
    )


COMMON: Final = (
    _token("_id", "", "Resource-id", folded=False, plain=True, stored_as="id"),
    Parameter("_lastUpdated", SearchType.DATE, "", _SP + "Resource-lastUpdated", stored_as="updated"),
    _token("_tag", "meta.tag", "Resource-tag"),
    _token("_security", "meta.security", "Resource-security"),
    _uri("_profile", "meta.profile", "Resource-profile"),
    _uri("_source", "meta.source", "Resource-source"),
)

DIAGNOSTIC_REPORT: Final = ResourceType(
    "DiagnosticReport",
    (
        _reference(
            "based-on",
            "basedOn",
            "DiagnosticReport-based-on",
            (
                "ServiceRequest",
                "CarePlan",
                "ImmunizationRecommendation",
                "MedicationRequest",
                "NutritionOrder",
            ),
            keyed=2,
        ),
        _token("category", "category", "DiagnosticReport-category", scoped=True),
        _token("code", "code", "clinical-code", keyed=8, scoped=True),
        _token("conclusion", "conclusionCode", "DiagnosticReport-conclusion"),
        _date("date", "effectiveDateTime | effectivePeriod", "clinical-date", when=True),
        _reference(
            "encounter", "encounter", "clinical-encounter", ("Encounter",), aliases=("context",), keyed=4
        ),
        _identifier("clinical-identifier"),
        _date("issued", "issued", "DiagnosticReport-issued"),
        _reference("media", "media.link", "DiagnosticReport-media", ("Media",)),
        _patient("subject"),
        _reference("performer", "performer", "DiagnosticReport-performer", _PRACTITIONERS),
        _reference("result", "result", "DiagnosticReport-result", ("Observation",)),
        _reference(
            "results-interpreter",
            "resultsInterpreter",
            "DiagnosticReport-results-interpreter",
            _PRACTITIONERS,
            aliases=("resultsInterpreter",),
        ),
        _reference("specimen", "specimen", "DiagnosticReport-specimen", ("Specimen",), keyed=3),
        _token(
            "status",
            "status",
            "DiagnosticReport-status",
            system="http://hl7.org/fhir/diagnostic-report-status",
            scoped=True,
        ),
        _reference("subject", "subject", "DiagnosticReport-subject", _SUBJECTS, narrower="patient", keyed=6),
        Parameter(
            "order",
            SearchType.SPECIAL,
            "",
            members=("based-on", "based-on.identifier", "identifier"),
            documentation="Upstream's name: the order, as a reference or by its number, or the order number"
            " among the report's own identifiers.",
        ),
    ),
)

_OBSERVATION: Final = ResourceType(
    "Observation",
    (
        _reference("based-on", "basedOn", "Observation-based-on", ("ServiceRequest",), keyed=2),
        _token("category", "category", "Observation-category", scoped=True),
        _token("code", "code", "clinical-code", keyed=8, scoped=True),
        _date(
            "date",
            "effectiveDateTime | effectivePeriod | effectiveInstant | effectiveTiming",
            "clinical-date",
            when=True,
        ),
        _reference("encounter", "encounter", "clinical-encounter", ("Encounter",), keyed=4),
        _identifier("clinical-identifier"),
        _patient("subject"),
        _reference("performer", "performer", "Observation-performer", (*_PRACTITIONERS, "Patient")),
        _reference("specimen", "specimen", "Observation-specimen", ("Specimen",), keyed=3),
        _token("status", "status", "Observation-status", system="http://hl7.org/fhir/observation-status"),
        _token("combo-code", "code | component.code", "Observation-combo-code"),
        _token("component-code", "component.code", "Observation-component-code"),
        _token("data-absent-reason", "dataAbsentReason", "Observation-data-absent-reason"),
        _token("method", "method", "Observation-method"),
        _token("value-concept", "valueCodeableConcept", "Observation-value-concept"),
        _string("value-string", "valueString", "Observation-value-string"),
        _date("value-date", "valueDateTime | valuePeriod", "Observation-value-date"),
        _quantity("value-quantity", "valueQuantity", "Observation-value-quantity"),
        _quantity(
            "component-value-quantity", "component.valueQuantity", "Observation-component-value-quantity"
        ),
        _quantity(
            "combo-value-quantity",
            "valueQuantity | component.valueQuantity",
            "Observation-combo-value-quantity",
        ),
        _reference(
            "derived-from", "derivedFrom", "Observation-derived-from", ("Observation", "DocumentReference")
        ),
        _reference("device", "device", "Observation-device", ("Device", "DeviceMetric")),
        _reference("has-member", "hasMember", "Observation-has-member", ("Observation", "MolecularSequence")),
        _reference("subject", "subject", "Observation-subject", _SUBJECTS, narrower="patient", keyed=6),
    ),
)

_SERVICE_REQUEST: Final = ResourceType(
    "ServiceRequest",
    (
        _date("authored", "authoredOn", "ServiceRequest-authored", when=True),
        _token("code", "code", "clinical-code", keyed=8, scoped=True),
        _reference("encounter", "encounter", "clinical-encounter", ("Encounter",), keyed=4),
        _identifier("clinical-identifier"),
        _patient("subject"),
        _reference(
            "requester", "requester", "ServiceRequest-requester", (*_PRACTITIONERS, "Patient", "Device")
        ),
        _token("requisition", "requisition", "ServiceRequest-requisition", folded=False, keyed=1),
        _token("status", "status", "ServiceRequest-status", system="http://hl7.org/fhir/request-status"),
        _token("category", "category", "ServiceRequest-category"),
        _token("intent", "intent", "ServiceRequest-intent", system="http://hl7.org/fhir/request-intent"),
        _token(
            "priority", "priority", "ServiceRequest-priority", system="http://hl7.org/fhir/request-priority"
        ),
        _reference(
            "performer", "performer", "ServiceRequest-performer", (*_PRACTITIONERS, "Patient", "Device")
        ),
        _reference("specimen", "specimen", "ServiceRequest-specimen", ("Specimen",)),
        _reference("subject", "subject", "ServiceRequest-subject", _SUBJECTS, narrower="patient", keyed=6),
    ),
)

_ENCOUNTER: Final = ResourceType(
    "Encounter",
    (
        _token("class", "class", "Encounter-class"),
        _token("type", "type", "clinical-type"),
        _reference("location", "location.location", "Encounter-location", ("Location",)),
        _reference(
            "participant",
            "participant.individual",
            "Encounter-participant",
            ("Practitioner", "PractitionerRole"),
        ),
        _reference("service-provider", "serviceProvider", "Encounter-service-provider", ("Organization",)),
        _date("date", "period", "clinical-date", when=True),
        _identifier("clinical-identifier"),
        _patient("subject"),
        _token("status", "status", "Encounter-status", system="http://hl7.org/fhir/encounter-status"),
        _reference(
            "subject", "subject", "Encounter-subject", ("Patient", "Group"), narrower="patient", keyed=6
        ),
    ),
)

_PATIENT: Final = ResourceType(
    "Patient",
    (
        _token("active", "active", "Patient-active", plain=True),
        _date("birthdate", "birthDate", "individual-birthdate"),
        _token("gender", "gender", "individual-gender", system="http://hl7.org/fhir/administrative-gender"),
        _identifier("Patient-identifier"),
        _reference("organization", "managingOrganization", "Patient-organization", ("Organization",)),
        _reference(
            "general-practitioner",
            "generalPractitioner",
            "Patient-general-practitioner",
            ("Practitioner", "PractitionerRole", "Organization"),
        ),
        _reference("link", "link.other", "Patient-link", ("Patient", "RelatedPerson")),
        _token("language", "communication.language", "Patient-language"),
        _date("death-date", "deceasedDateTime", "Patient-death-date"),
        _string("name", "name", "Patient-name", keyed=7),
        *_person("individual"),
    ),
)

_SPECIMEN: Final = ResourceType(
    "Specimen",
    (
        _token("accession", "accessionIdentifier", "Specimen-accession", folded=False, keyed=1),
        _identifier("Specimen-identifier"),
        _patient("subject", "Specimen-patient"),
        _reference(
            "subject", "subject", "Specimen-subject", (*_SUBJECTS, "Substance"), narrower="patient", keyed=6
        ),
        _token("type", "type", "Specimen-type"),
        _token("bodysite", "collection.bodySite", "Specimen-bodysite"),
        _date("collected", "collection.collectedDateTime | collection.collectedPeriod", "Specimen-collected"),
        _reference("parent", "parent", "Specimen-parent", ("Specimen",)),
    ),
)

_PROVENANCE: Final = ResourceType(
    "Provenance",
    (
        _date("recorded", "recorded", "Provenance-recorded", when=True),
        _reference(
            "target", "target", "Provenance-target", ("DiagnosticReport", "Observation", "Patient"), keyed=2
        ),
    ),
)


_CLINICAL: Final = frozenset(
    ("CarePlan", "CareTeam", "Condition", "DocumentReference", "ImagingStudy", "Procedure")
)
"""Types whose `identifier` R4 registers once for all of them."""


def _identified(name: str, *more: Parameter) -> ResourceType:
    """A type with `identifier`, and what else is worth a row."""
    owner = "clinical" if name in _CLINICAL else name
    return ResourceType(name, (_identifier(f"{owner}-identifier"), *more))


_OTHERS: Final = (
    _identified("CareTeam", _patient("subject")),
    _identified("Device", _token("type", "type", "Device-type"), _patient("patient", "Device-patient")),
    _identified(
        "DocumentReference",
        _patient("subject"),
        _date("date", "date", "DocumentReference-date", when=True),
        _token("type", "type", "clinical-type"),
    ),
    _identified("Group"),
    _identified(
        "ImagingStudy",
        _patient("subject"),
        _date("started", "started", "ImagingStudy-started", when=True),
        _reference("basedon", "basedOn", "ImagingStudy-basedon", ("ServiceRequest",), keyed=2),
    ),
    _identified("Location", _string("name", "name | alias", "Location-name"), *_addresses("Location")),
    _identified(
        "Media",
        _patient("subject", "Media-patient"),
        _date("created", "createdDateTime | createdPeriod", "Media-created", when=True),
    ),
    _identified(
        "Organization",
        _token("type", "type", "Organization-type"),
        _string("name", "name | alias", "Organization-name", keyed=7),
        _reference("partof", "partOf", "Organization-partof", ("Organization",)),
        *_addresses("Organization"),
    ),
    _identified(
        "Practitioner",
        _token("gender", "gender", "individual-gender", system="http://hl7.org/fhir/administrative-gender"),
        _string("name", "name", "Practitioner-name", keyed=7),
        *_person("individual"),
    ),
    _identified(
        "PractitionerRole",
        _reference(
            "practitioner", "practitioner", "PractitionerRole-practitioner", ("Practitioner",), keyed=2
        ),
        _reference("organization", "organization", "PractitionerRole-organization", ("Organization",)),
    ),
    _identified("RelatedPerson", _patient("patient", "RelatedPerson-patient")),
    _identified("Condition", _patient("subject")),
    _identified("Procedure", _patient("subject")),
    _identified("CarePlan", _patient("subject")),
    _identified("Task"),
)

_ROWS: Final = {
    row.name: row
    for row in (
        DIAGNOSTIC_REPORT,
        _OBSERVATION,
        _PATIENT,
        _SERVICE_REQUEST,
        _ENCOUNTER,
        _SPECIMEN,
        _PROVENANCE,
        *_OTHERS,
    )
}

TYPES: Final[Mapping[str, ResourceType]] = {
    **_ROWS,
    **{name: ResourceType(name) for name in sorted(RESOURCE_TYPES) if name not in _ROWS},
}
"""What can be pushed, read and searched: the types with rows of their own first, then all others of R4,
which a bundle may carry along, by the common parameters."""
