"""Deviations of a message's envelope: no header, an operation that does not fit, a focus that is not there.

Lenient handling stores what is there and names the deviation, strict handling refuses with all of them.
https://hl7.org/fhir/R4/messaging.html#mh
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from store.fhir.datatypes import Malformed, objects_of
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ingest.pipeline.bundle_entries import BundleEntry
    from store.fhir.datatypes import JsonObject


class Operation(NamedTuple):
    """Demands of an operation on the message that is posted to it."""

    type: str
    """Type of which there must be one."""
    events: tuple[str, ...]
    """Events that the header may name, when the event is one of upstream's."""


OPERATIONS: Final[Mapping[str, Operation]] = {
    "$diagnosticreport-create": Operation("DiagnosticReport", ("DiagnosticReportCreate", "ResultCreated")),
    "$diagnosticreport-amend": Operation("DiagnosticReport", ("DiagnosticReportAmend",)),
    "$write": Operation("DiagnosticReport", ("DiagnosticReport-New",)),
    "$observation-create": Operation("Observation", ("ObservationCreate",)),
}
"""`$process-message` takes any message."""
_EVENTS: Final = frozenset(event for row in OPERATIONS.values() for event in row.events)
_ENTRY: Final = "Bundle.entry[0].resource"


def deviations(entries: Sequence[BundleEntry], operation: str) -> Iterator[tuple[str, Issue]]:
    """Each deviation's name, and what a refusal would say."""
    header = entries[0].resource or {}
    headed = header.get("resourceType") == "MessageHeader"
    if not headed:
        # bdl-12 wants the header first; upstream takes messages without, so do we, and say so.
        text = "the first entry of a message must be its MessageHeader"
        yield "no-message-header", Issue("required", f"`{_ENTRY}`: {text}", (_ENTRY,))
    row = OPERATIONS.get(operation)
    if row is not None:
        yield from _misfit(row, entries, operation, _event(header) if headed else "")
    if headed:
        yield from _dangling(header, entries)


def _misfit(
    row: Operation, entries: Sequence[BundleEntry], operation: str, event: str
) -> Iterator[tuple[str, Issue]]:
    if all((entry.resource or {}).get("resourceType") != row.type for entry in entries):
        text = f"`Bundle.entry`: `{operation}` wants a {row.type}, and there is none"
        yield "operation-mismatch", Issue("invalid", text, ("Bundle.entry",))
    if event in _EVENTS and event not in row.events:
        path = f"{_ENTRY}.event"
        yield "operation-mismatch", Issue("invalid", f"`{path}` is not the event of `{operation}`", (path,))


def _event(header: JsonObject) -> str:
    coding, uri = header.get("eventCoding"), header.get("eventUri")
    code = coding.get("code") if isinstance(coding, dict) else None
    named = uri if isinstance(uri, str) else code if isinstance(code, str) else ""
    return named.rpartition("/")[2]


def _dangling(header: JsonObject, entries: Sequence[BundleEntry]) -> Iterator[tuple[str, Issue]]:
    there = set()
    for entry in entries:
        if entry.resource is not None:
            there |= {entry.full_url, f"{entry.resource.get('resourceType')}/{entry.resource.get('id')}"}
    try:
        focus = list(objects_of(header, "focus", "MessageHeader"))
    except Malformed:
        focus = [{"reference": None}]  # It points at nothing, whatever it is.
    for number, one in enumerate(focus):
        reference = one.get("reference")
        if not isinstance(reference, str) or reference.partition("/_history/")[0] not in there:
            path = f"{_ENTRY}.focus[{number}]"
            text = f"`{path}` does not point at an entry of the message"
            yield "dangling-focus", Issue("not-found", text, (path,))
