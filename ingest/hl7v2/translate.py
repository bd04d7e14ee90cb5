"""HL7 v2 messages as FHIR message Bundles, by the tables of `ingest/hl7v2/mapping`. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.hl7v2.faults import (
    REQUIRED,
    SEQUENCE,
    UNSUPPORTED_EVENT,
    UNSUPPORTED_PROCESSING,
    UNSUPPORTED_TYPE,
    Fault,
)
from ingest.hl7v2.mapping import assembly
from ingest.hl7v2.mapping.context import Context
from ingest.hl7v2.mapping.structure import grouped
from ingest.hl7v2.mapping.systems import V2
from ingest.pipeline.completion import Partial

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ingest.hl7v2.mapping.context import Element
    from ingest.hl7v2.mapping.structure import PatientGroup
    from ingest.hl7v2.profile import SourceProfile
    from ingest.hl7v2.reader import Header, Message
    from store.fhir.datatypes import JsonObject


class Subject(Enum):
    """The subject matter of a message."""

    RESULTS = auto()
    DOCUMENT = auto()
    PATIENT = auto()
    MERGE = auto()
    WITHIN = auto()
    """Accounts or visits of one patient, merged or moved: nothing that tells who is who."""
    ORDERS = auto()
    NOTHING = auto()
    """Taken and not stored: it changes nothing that is kept here."""


EVENTS: Final[Mapping[tuple[str, str], Subject]] = {
    **{("ORU", event): Subject.RESULTS for event in ("R01", "R30", "R31", "R32")},
    **{("OUL", event): Subject.RESULTS for event in ("R21", "R22", "R23", "R24")},
    **{("MDM", f"T{number:02}"): Subject.DOCUMENT for number in range(1, 12)},
    **{("ADT", event): Subject.PATIENT for event in ("A01", "A04", "A08", "A31")},
    **{("ADT", event): Subject.MERGE for event in ("A18", "A30", "A34", "A36", "A39", "A40", "A47")},
    **{("ADT", event): Subject.WITHIN for event in ("A35", "A41", "A42", "A45")},
    **{("ADT", event): Subject.NOTHING for event in ("A11", "A12", "A13")},
    ("ORM", "O01"): Subject.ORDERS,
    ("OML", "O21"): Subject.ORDERS,
}
"""Types and events that are taken."""
_TYPES: Final = frozenset(kind for kind, _ in EVENTS)


class Merge(NamedTuple):
    """A number that another one replaces (ADT A34, A40 …), as FHIR identifiers.

    They hold a patient's numbers: never to be logged.
    """

    surviving: JsonObject
    retired: JsonObject


@dataclass(frozen=True, slots=True)
class Translation:
    """A message in FHIR."""

    bundle: JsonObject | None
    """A Bundle of type `message` for the message pipeline; None: there is nothing to store."""
    faults: tuple[Fault, ...] = ()
    """The reader's faults and the mapping's; of severity `E`: the message is refused, AE."""
    merges: tuple[Merge, ...] = ()
    """Merges, for the audit: the Bundle says the same, so that the pipeline links the records."""
    unsupported: bool = False
    """The type or event is not for this service: AR."""
    partials: tuple[Partial, ...] = ()
    """Entries whose stored resources keep what the message does not speak of."""

    @property
    def refused(self) -> bool:
        """Whether a fault refuses the message."""
        return any(one.severity == "E" for one in self.faults)


def translate(message: Message, profile: SourceProfile) -> Translation:
    """Map a message to FHIR. Nothing raises: faults say what is wrong."""
    header = message.header
    subject = EVENTS.get(header.type)
    if subject is None:
        return Translation(None, (*message.faults, _unsupported(header)), unsupported=True)
    if header.processing_id and header.processing_id not in profile.processing:
        rule = "MSH-11 is a processing id that this source's profile does not take: P, T, D, N or V"
        fault = Fault("MSH", 1, 11, 1, UNSUPPORTED_PROCESSING, rule)
        return Translation(None, (*message.faults, fault), unsupported=True)
    if subject is Subject.NOTHING:
        return Translation(None, message.faults)
    context = Context(header, profile)
    context.entries.append({"fullUrl": f"{context.uuids}{0:012x}", "resource": None})
    groups = grouped(message)
    parts = assembly.Parts(context, header.type[1])
    faults = [*_missing(subject, groups), *_surplus(message, groups)]
    if not faults:
        for group in groups:
            _PARTS[subject](parts, group)
    faults = [*message.faults, *faults, *context.faults]
    if any(one.severity == "E" for one in faults):
        return Translation(None, tuple(faults))
    context.entries[0]["resource"] = _header(context, header, parts.focus)
    return Translation(
        _bundle(context, header),
        tuple(faults),
        tuple(Merge(*one) for one in parts.merges),
        partials=tuple(Partial(*one) for one in parts.partials),
    )


_PARTS: Final = {
    Subject.RESULTS: assembly.Parts.results,
    Subject.DOCUMENT: assembly.Parts.document,
    Subject.PATIENT: assembly.Parts.person,
    Subject.MERGE: assembly.Parts.merge,
    Subject.WITHIN: assembly.Parts.within,
    Subject.ORDERS: assembly.Parts.orders,
}


def _unsupported(header: Header) -> Fault:
    if header.type[0] not in _TYPES:
        rule = f"messages of this type are not taken; those that are: {', '.join(sorted(_TYPES))}"
        return Fault("MSH", 1, 9, 1, UNSUPPORTED_TYPE, rule)
    events = sorted(event for kind, event in EVENTS if kind == header.type[0])
    rule = f"this event is not taken; those that are: {', '.join(events)}"
    return Fault("MSH", 1, 9, 2, UNSUPPORTED_EVENT, rule)


def _missing(subject: Subject, groups: list[PatientGroup]) -> list[Fault]:
    """Segments that a message of its kind cannot do without."""
    found: list[Fault] = []
    for number, group in enumerate(groups, 1):
        if group.pid is None:
            rule = "PID is missing: nobody could tell whose the content is"
            found.append(Fault("PID", number, 0, 0, SEQUENCE, rule))
        if subject in (Subject.MERGE, Subject.WITHIN) and not group.merged:
            rule = "MRG is missing: it names what was merged or moved"
            found.append(Fault("MRG", number, 0, 0, SEQUENCE, rule))
        if subject is Subject.DOCUMENT and group.document is None:
            rule = "TXA is missing: it says what the document is"
            found.append(Fault("TXA", number, 0, 0, SEQUENCE, rule))
        if subject is Subject.RESULTS and not any(one.obr for one in group.orders):
            rule = "OBR is missing: it says what the results are a report of"
            found.append(Fault("OBR", number, 0, 0, SEQUENCE, rule))
        if subject is Subject.ORDERS and not group.orders:
            found.append(Fault("ORC", number, 0, 0, REQUIRED, "ORC is missing: it is the order"))
    return found


def _surplus(message: Message, groups: list[PatientGroup]) -> Iterator[Fault]:
    """Faults of what no message can say: a second document, or that it goes on in another one.

    See DECISIONS.md#parts-of-messages.
    """
    for one in (segment for group in groups for segment in group.surplus):
        rule = "a second TXA: a message is about one document; send each by itself"
        yield Fault("TXA", one.sequence, 0, 0, SEQUENCE, rule)
    for one in message.segments:
        if one.name == "DSC" and len(one.fields) > 1 and one.fields[1].strip():
            rule = "the message goes on in another one, and a part of a report is none: send it as a whole"
            yield Fault("DSC", one.sequence, 1, 0, SEQUENCE, rule)


def _header(context: Context, header: Header, focus: list[str]) -> Element:
    source: Element = {"endpoint": context.endpoint} if context.endpoint else {}
    name = " ".join(one for one in (header.sending_application, header.sending_facility) if one)
    if name:
        source = {"name": name, **source}
    made: Element = {
        "resourceType": "MessageHeader",
        "eventCoding": {"system": f"{V2}0003", "code": header.type[1]},
        **({"source": source} if source else {}),
    }
    receiver = " ".join(one for one in (header.receiving_application, header.receiving_facility) if one)
    if receiver:
        made["destination"] = [
            {"name": receiver, "endpoint": f"urn:dod:hl7v2:destination:{_quoted(receiver)}"}
        ]
    if focus:
        made["focus"] = [{"reference": url} for url in focus]
    return made


def _quoted(text: str) -> str:
    return assembly.quote(text, safe="")


def _bundle(context: Context, header: Header) -> JsonObject:
    made: Element = {"resourceType": "Bundle", "type": "message"}
    if header.control_id:
        system = {"system": context.endpoint} if context.endpoint else {}
        made["identifier"] = {**system, "value": header.control_id}
    context.segment, context.field = None, 7
    when = context.times(header.fields[7]) if len(header.fields) > 7 else None  # noqa: PLR2004 -- MSH-7
    if when and "T" in when:
        made["timestamp"] = when
    made["entry"] = context.entries
    return made
