"""Elements that R4 requires of the types that travel with reports. Only strict handling refuses for them.

What search cannot do without is in `validate`. https://hl7.org/fhir/R4/resourcelist.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from store.fhir.datatypes import JsonObject

REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "Composition": ("status", "type", "date", "author", "title"),
    "Condition": ("subject",),
    "DocumentReference": ("status", "content"),
    "Encounter": ("status", "class"),
    "ImagingStudy": ("status", "subject"),
    "Media": ("status", "content"),
    "MedicationRequest": ("status", "intent", "medication[x]", "subject"),
    "MessageHeader": ("event[x]", "source"),
    "Observation": ("status", "code"),
    "Procedure": ("status", "subject"),
    "Provenance": ("target", "recorded", "agent"),
    "RelatedPerson": ("patient",),
    "ServiceRequest": ("status", "intent", "subject"),
    "Task": ("status", "intent"),
}
"""`event[x]`: any element of that name with its type behind it."""


def missing(resource: JsonObject) -> tuple[Issue, ...]:
    """What R4 requires and is not there."""
    resource_type = str(resource.get("resourceType"))
    lacking = [
        name for name in REQUIRED.get(resource_type, ()) if name not in resource and not _has(resource, name)
    ]
    return tuple(
        [
            Issue("required", f"`{resource_type}.{name}` is missing", (f"{resource_type}.{name}",))
            for name in lacking
        ]
    )


def _has(resource: JsonObject, name: str) -> bool:
    if not name.endswith("[x]"):
        return f"_{name}" in resource
    stem = name.removesuffix("[x]")
    return any(one.startswith(stem) and one[len(stem) : len(stem) + 1].isupper() for one in resource)
