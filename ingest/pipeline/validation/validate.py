"""Rules that a resource must fulfil to be kept: every issue found, each with its FHIRPath.

Only what makes a resource findable and identifiable is asked for. Elements that search looks into are
checked by `store.search.index`. https://hl7.org/fhir/R4/diagnosticreport.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.pipeline.bundle_entries import CARRIED_OUT
from ingest.pipeline.validation.statuses import REPORT_STATUSES
from ingest.pipeline.validation.structure import decoded_length
from store.errors import Category, ServiceError
from store.fhir.datatypes import listed
from store.fhir.issues import Issue
from store.fhir.references import ID
from store.near import near
from store.search.parameters import TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from store.fhir.datatypes import Json, JsonObject

_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {"DiagnosticReport": ("status", "code")}
"""Elements without which a search would answer wrong."""
_SUBSETTED: Final = "SUBSETTED"
_SUBSET_SYSTEMS: Final = frozenset(
    {
        "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
        "http://hl7.org/fhir/v3/ObservationValue",
    }
)
"""R4's name of the code system, and STU3's."""
UNKEPT: Final[Mapping[str, str]] = {
    "Subscription": "a Subscription is made by itself, by `POST {base}/Subscription` or `PUT"
    " {base}/Subscription/{id}`: within a Bundle, a message or a file it would be kept and never carried out",
}
"""Types that are kept by interactions of their own alone, each with the reason that a push of one is told."""
_BUNDLES: Final = frozenset(
    {"document", "collection", "searchset", "history", "batch-response", "transaction-response"}
)
"""Types of Bundles that are kept; https://hl7.org/fhir/R4/valueset-bundle-type.html has `CARRIED_OUT` too."""


def validate(resource: JsonObject) -> tuple[Issue, ...]:
    """Issues of one resource; empty: it may be kept."""
    return tuple(_issues(resource))


def _issues(resource: JsonObject) -> Iterator[Issue]:
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str):
        yield Issue("required", "`resourceType` is missing", ("resourceType",))
        return
    if resource_type not in TYPES:
        text = f"`resourceType` is not a type that is kept here{near(resource_type, TYPES)}"
        yield Issue("not-supported", text, ("resourceType",))
        return
    if resource_type in UNKEPT:
        yield Issue("not-supported", UNKEPT[resource_type], ("resourceType",))
        return
    resource_id = resource.get("id")
    if resource_id is not None and not _is_id(resource_id):
        path = f"{resource_type}.id"
        rule = "must be 1 to 64 letters, digits, `-` or `.` (no `_`), not dots alone"
        yield Issue("value", f"`{path}` {rule}", (path,))
    meta = resource.get("meta")
    if meta is not None and not isinstance(meta, dict):
        yield Issue("structure", f"`{resource_type}.meta` must be an object", (f"{resource_type}.meta",))
    for name in _REQUIRED.get(resource_type, ()):
        if name not in resource:
            path = f"{resource_type}.{name}"
            yield Issue("required", f"`{path}` is missing", (path,))
    status = resource.get("status")
    if resource_type == "DiagnosticReport" and status is not None and not _is_report_status(status):
        path = "DiagnosticReport.status"
        codes = ", ".join(sorted(REPORT_STATUSES))
        hint = near(status, REPORT_STATUSES) if isinstance(status, str) else ""
        text = f"`{path}` must be a code of diagnostic-report-status: {codes}{hint}"
        yield Issue("code-invalid", text, (path,))
    if resource_type == "Binary" and "data" in resource:
        yield from _of_data(resource["data"])
    if resource_type == "Bundle":
        yield from _of_bundle(resource)
    if "effectiveDateTime" in resource and "effectivePeriod" in resource:
        path = f"{resource_type}.effective"
        yield Issue("structure", f"`{path}[x]` may be given once", (path,))


def refuse_subset(resource: JsonObject) -> None:
    """Raise ServiceError for a resource that a server made a part of (`_summary`, `_elements`).

    In place of the whole one it would be the loss of the rest. https://hl7.org/fhir/R4/search.html#elements
    """
    meta = resource.get("meta")
    tags = meta.get("tag") if isinstance(meta, dict) else None
    for tag in listed(tags):
        if isinstance(tag, dict) and tag.get("code") == _SUBSETTED and tag.get("system") in _SUBSET_SYSTEMS:
            path = f"{resource.get('resourceType')}.meta.tag"
            text = f"`{path}` says that this is a part of the resource (SUBSETTED): update with the whole one"
            raise ServiceError(Category.UNPROCESSABLE, Issue("business-rule", text, (path,)))


def _of_data(data: Json) -> Iterator[Issue]:
    """A document that is no Base64 could be acknowledged, and never read."""
    if not isinstance(data, str) or decoded_length(data) is None:
        path = "Binary.data"
        text = f"`{path}` must be Base64, without a prefix such as `data:…;base64,`"
        yield Issue("value", text, (path,))


def _of_bundle(bundle: JsonObject) -> Iterator[Issue]:
    kind, place = bundle.get("type"), ("Bundle.type",)
    if kind is None:
        yield Issue("required", "`Bundle.type` is missing", place)
    elif isinstance(kind, str) and kind in CARRIED_OUT:
        text = f"a Bundle of type `{kind}` is posted to {CARRIED_OUT[kind]}: kept here, it would not be done"
        yield Issue("not-supported", text, place)
    elif not (isinstance(kind, str) and kind in _BUNDLES):
        yield Issue("code-invalid", "`Bundle.type` must be a code of bundle-type", place)


def _is_report_status(status: Json) -> bool:
    return isinstance(status, str) and status in REPORT_STATUSES


def _is_id(value: Json) -> bool:
    """Whether it is an id: one of dots alone would be, and every client takes `Patient/..` for a path up."""
    return isinstance(value, str) and ID.fullmatch(value) is not None and bool(value.strip("."))
