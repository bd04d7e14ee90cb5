"""Stored bytes → those of a subset: `_summary` and `_elements`. Only here is a found resource parsed.

What is mandatory or a modifier in R4 stays in each subset; the tag SUBSETTED says that the rest is missing.
https://hl7.org/fhir/R4/search.html#summary, https://hl7.org/fhir/R4/search.html#elements
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from api.search.contained import with_contained
from ingest.pipeline.decode import decode
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.pages import Entry
from store.search.criteria import Summary
from store.search.parsing import subsets
from store.search.parsing.query_text import value_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.resources.pages import Page
    from store.resources.versions import Stored
    from store.search.criteria import SearchQuery

SUBSETTED: Final[Mapping[str, str]] = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}
"""The tag of a resource that was cut: whoever stores or updates from it would lose the rest."""
_ALWAYS: Final = frozenset(("resourceType", "id", "meta", "implicitRules", "modifierExtension"))
_DATATYPES: Final = (
    "Base64Binary Boolean Canonical Date DateTime Decimal Id Instant Integer Markdown Oid"
    " PositiveInt String Time UnsignedInt Uri Url Uuid Address Age Annotation Attachment CodeableConcept"
    " Coding ContactPoint Count Distance Duration HumanName Identifier Money Period Quantity Range Ratio"
    " Reference SampledData Signature Timing ContactDetail Contributor DataRequirement Expression"
    " ParameterDefinition RelatedArtifact TriggerDefinition UsageContext Dosage Meta"
)
_CHOICE: Final = re.compile(f"(.+?)(?:{'|'.join(_DATATYPES.split())})")
"""`effectiveDateTime` and its base name; the longest datatype wins. No choice in ELEMENTS is a `code`, and
`conclusionCode` is none."""


class _Elements(NamedTuple):
    """The root elements of a type that R4 singles out; choices by their base name."""

    always: frozenset[str]
    """Mandatory elements and modifiers."""
    summary: frozenset[str]
    """Elements with `isSummary`, and the above."""
    parts: Mapping[str, frozenset[str]]
    """Elements within the summary that stay in it, by path; an element that is not here stays whole."""


def _row(summary: str, **parts: str) -> _Elements:
    """`!` marks what is mandatory or a modifier; `__` stands for the dot of a path."""
    names = summary.split()
    return _Elements(
        always=_ALWAYS | {name.rstrip("!") for name in names if name.endswith("!")},
        summary=_ALWAYS | {name.rstrip("!") for name in names},
        parts={
            path.replace("__", "."): frozenset((*kept.split(), "id", "modifierExtension"))
            for path, kept in parts.items()
        },
    )


_ATTACHMENT: Final = "contentType language url size hash title creation"
"""Parts of an Attachment but its `data`."""
_SAMPLED: Final = "origin period factor lowerLimit upperLimit dimensions"
"""Parts of SampledData but its `data`."""

ELEMENTS: Final[Mapping[str, _Elements]] = {
    "AllergyIntolerance": _row(
        "identifier clinicalStatus! verificationStatus! type category criticality code patient! asserter"
    ),
    "Bundle": _row("identifier type! timestamp total link entry signature"),
    "CarePlan": _row(
        "identifier instantiatesCanonical instantiatesUri basedOn replaces partOf status! intent!"
        " category title description subject! encounter period created author addresses"
    ),
    "CareTeam": _row("identifier status! category name subject encounter period managingOrganization"),
    "Composition": _row(
        "identifier status! type! category subject encounter date! author! title! confidentiality custodian"
        " event"
    ),
    "Condition": _row(
        "identifier clinicalStatus! verificationStatus! code bodySite subject! encounter onset"
        " recordedDate recorder asserter"
    ),
    "Device": _row("udiCarrier status! safety", udiCarrier="deviceIdentifier carrierAIDC carrierHRF"),
    "DiagnosticReport": _row(
        "identifier status! category code! subject encounter effective issued performer"
        " resultsInterpreter media",
        media="link",
    ),
    "DocumentReference": _row(
        "masterIdentifier identifier status! docStatus type category subject date author relatesTo"
        " description securityLabel content! context",
        relatesTo="code target",
        content="attachment format",
        content__attachment=_ATTACHMENT,
        context="period",
    ),
    "Encounter": _row(
        "identifier status! class! type serviceType subject episodeOfCare participant appointment"
        " reasonCode reasonReference diagnosis",
        participant="type individual",
        diagnosis="condition",
    ),
    "Endpoint": _row(
        "identifier status! connectionType! name managingOrganization period payloadType! payloadMimeType"
        " address!"
    ),
    "Group": _row("identifier active type! actual! code name quantity managingEntity"),
    "ImagingStudy": _row(
        "identifier status! modality subject! encounter started basedOn referrer interpreter endpoint"
        " numberOfSeries numberOfInstances procedureReference procedureCode location reasonCode"
        " reasonReference note description series",
        series="uid number modality description numberOfInstances endpoint bodySite laterality specimen"
        " started performer",
        series__performer="function actor",
    ),
    "Immunization": _row(
        "status! vaccineCode! patient! occurrence! primarySource performer note isSubpotent!",
        performer="function actor",
    ),
    "List": _row("status! mode! title code subject date source"),
    "Location": _row(
        "identifier status! operationalStatus name description mode type physicalType managingOrganization"
    ),
    "Media": _row(
        "identifier basedOn partOf status! type modality view subject encounter created issued operator"
        " reasonCode bodySite deviceName device height width frames duration content!",
        content=_ATTACHMENT,
    ),
    "Medication": _row("identifier code status! manufacturer amount"),
    "MedicationRequest": _row(
        "status! intent! priority doNotPerform! reported medication! subject! authoredOn requester"
        " performerType instantiatesCanonical instantiatesUri basedOn groupIdentifier"
    ),
    "MolecularSequence": _row(
        "identifier type coordinateSystem! patient specimen device performer quantity referenceSeq variant"
        " observedSeq quality readCoverage repository pointer structureVariant"
    ),
    "Observation": _row(
        "identifier basedOn partOf status! code! subject focus encounter effective issued performer value"
        " hasMember derivedFrom component",
        valueSampledData=_SAMPLED,
        component="code value",
        component__valueSampledData=_SAMPLED,
    ),
    "Organization": _row("identifier active! type name partOf"),
    "Patient": _row(
        "identifier active! name telecom gender birthDate deceased! address managingOrganization link!",
        link="other type",
    ),
    "Practitioner": _row("identifier active name telecom address gender birthDate"),
    "PractitionerRole": _row(
        "identifier active period practitioner organization code specialty location telecom"
    ),
    "Procedure": _row(
        "identifier instantiatesCanonical instantiatesUri basedOn partOf status! statusReason category"
        " code subject! encounter performed recorder asserter performer location reasonCode"
        " reasonReference bodySite outcome",
        performer="function actor",
    ),
    "Provenance": _row("target! recorded! agent!", agent="type who"),
    "QuestionnaireResponse": _row(
        "identifier basedOn partOf questionnaire status! subject encounter authored author source"
    ),
    "RelatedPerson": _row("identifier active! patient! relationship name telecom gender birthDate address"),
    "ServiceRequest": _row(
        "identifier instantiatesCanonical instantiatesUri basedOn replaces requisition status! intent!"
        " category priority doNotPerform! code orderDetail quantity subject! encounter occurrence asNeeded"
        " authoredOn requester performerType performer locationCode locationReference reasonCode"
        " reasonReference specimen bodySite patientInstruction"
    ),
    "Specimen": _row("identifier accessionIdentifier status! type subject receivedTime condition"),
    "Task": _row(
        "instantiatesCanonical instantiatesUri basedOn groupIdentifier partOf status! statusReason"
        " businessStatus intent! code description focus for encounter executionPeriod lastModified"
        " requester owner location"
    ),
}
"""R4 4.0.1, for the types that have search parameters of their own. Resources of other types stay whole,
which R4 allows; only `_summary=data` cuts them."""


def is_trimmed(query: SearchQuery) -> bool:
    """Whether a search asks for less than the resources as they are."""
    return query.summary is not Summary.FALSE or bool(query.elements)


def trim(page: Page, query: SearchQuery) -> Page:
    """The page cut down as the query asks; `_elements` speaks of the matches alone."""
    if not is_trimmed(query):
        return page
    return replace(
        page,
        entries=tuple(cut(entry, query.summary, query.elements) for entry in page.entries),
        included=tuple(cut(entry, query.summary) for entry in page.included),
    )


def cut_as_asked(stored: Stored, query: str) -> bytes:
    """Stored bytes of a read, cut down as its query asks: R4 has both parameters for all interactions.

    Raises ServiceError. https://hl7.org/fhir/R4/http.html#parameters
    """
    summary, elements = value_of(query, "_summary"), value_of(query, "_elements")
    if summary is None and elements is None:
        return stored.raw
    try:
        asked = subsets.summary(summary or Summary.FALSE.value, None)
    except ValueError as error:
        raise _refused("_summary", str(error)) from None
    try:
        named = tuple(subsets.elements(elements or "", stored.key.type))
    except ValueError as error:
        raise _refused("_elements", str(error)) from None
    if asked is Summary.COUNT:
        raise _refused("_summary", "`count` counts the matches of a search: a read has none")
    for name, rule in subsets.contradictions(asked, named, ()):
        raise _refused(name, rule)
    return cut(Entry(stored.key, stored.raw), asked, named).raw


def _refused(name: str, rule: str) -> ServiceError:
    return ServiceError(Category.INCORRECT, Issue("invalid", f"`{name}`: {rule}", (name,)))


def cut(entry: Entry, summary: Summary, elements: Sequence[str] = ()) -> Entry:
    """Resource of a page, cut down."""
    row = ELEMENTS.get(entry.key.type)
    if summary is not Summary.DATA and (row is None or (summary is Summary.FALSE and not elements)):
        return entry
    whole = decode(entry.raw)
    if row is None or summary is Summary.DATA:
        kept = {name: value for name, value in whole.items() if name != "text"}
    elif summary is Summary.TRUE:
        shown = ((name, value) for name, value in whole.items() if _is_one_of(name, row.summary))
        kept = {name: _narrowed(value, name, row.parts) for name, value in shown}
    else:
        names = row.always.union(elements or ("text",))
        kept = {name: value for name, value in whole.items() if _is_one_of(name, names)}
    return entry._replace(raw=dump(_tagged(with_contained(kept, whole))))


def _narrowed(value: Json, path: str, parts: Mapping[str, frozenset[str]]) -> Json:
    """A part of the summary without what is not; whole when nothing would be left, for JSON has no `{}`."""
    names = parts.get(path)
    if names is None:
        return value
    if isinstance(value, list):
        return [_narrowed(item, path, parts) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {
        name: _narrowed(child, f"{path}.{name}", parts)
        for name, child in value.items()
        if _is_one_of(name, names)
    }
    return kept or value


def _is_one_of(key: str, names: frozenset[str]) -> bool:
    """Whether a key is one of these elements, its extensions (`_status`), or a choice of one."""
    name = key.removeprefix("_")
    return name in names or _base(name) in names


@lru_cache(maxsize=1024)
def _base(name: str) -> str | None:
    choice = _CHOICE.fullmatch(name)
    return choice[1] if choice else None


def _tagged(resource: JsonObject) -> JsonObject:
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    tags = meta.get("tag", [])
    tags = tags if isinstance(tags, list) else [tags]
    if any(isinstance(tag, dict) and SUBSETTED.items() <= tag.items() for tag in tags):
        return resource
    return {**resource, "meta": {**meta, "tag": [*tags, SUBSETTED]}}
