"""ORC, OBR and TQ1 → ServiceRequest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.context import URN, codes, extension
from ingest.hl7v2.mapping.datatypes.concepts import concept
from ingest.hl7v2.mapping.datatypes.identifiers import ei, eip
from ingest.hl7v2.mapping.datatypes.people import call, reference
from ingest.hl7v2.mapping.table import Row, Table, many, moment, one, whole_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.structure import Order

_STATUSES: Final = codes(
    "CA=revoked CM=completed DC=revoked ER=entered-in-error HD=on-hold IP=active RP=revoked SC=active "
    "A=active"
)
"""HL7 table 0038."""
_CONTROLS: Final = codes(
    "CA=revoked CR=revoked DC=revoked DF=revoked DR=revoked OC=revoked OD=revoked RP=active RO=active "
    "HD=on-hold HR=on-hold OH=on-hold NW=active OK=active RL=active PR=active RQ=active SN=active "
    "XO=active"
)
"""HL7 table 0119, without ORC-5."""
_PRIORITIES: Final = {
    "S": "stat",
    "STAT": "stat",
    "A": "asap",
    "ASAP": "asap",
    "R": "routine",
    "ROUTINE": "routine",
}
_PLACER, _FILLER = eip()
_CALLBACK: Final = "http://hl7.org/fhir/StructureDefinition/servicerequest-order-callback-phone-number"


def _authored(context: Context, raw: str, resource: Element) -> None:
    if when := context.times(raw):
        resource["authoredOn"] = when


def _callback(context: Context, raw: str, resource: Element) -> None:
    made = call(context, raw.partition(context.repetition)[0])
    told = resource.setdefault("extension", [])
    if made and all(known["url"] != _CALLBACK for known in told):
        told.append(extension(_CALLBACK, "ContactPoint", made))
    if not told:
        del resource["extension"]


def _priority(context: Context, raw: str, resource: Element) -> None:
    code = context.first(raw).upper()
    if known := _PRIORITIES.get(code):
        resource["priority"] = known


def _old_priority(context: Context, raw: str, resource: Element) -> None:
    parts = context.parts(raw.partition(context.repetition)[0])
    if len(parts) > 5:  # noqa: PLR2004 -- TQ.6
        _priority(context, parts[5], resource)


def _occurrence(context: Context, raw: str, resource: Element) -> None:
    if when := context.times(raw):
        resource.setdefault("occurrenceDateTime", when)


def _numbered(context: Context, raw: str, resource: Element) -> None:
    """Add an alternate number behind those of the order itself."""
    many("identifier", ei("PLAC"))(context, raw, resource)


def _parent(context: Context, raw: str, resource: Element) -> None:
    number = _FILLER(context, raw) or _PLACER(context, raw)
    if number and "basedOn" not in resource:
        resource["basedOn"] = [{"type": "ServiceRequest", "identifier": number}]


def _group(context: Context, raw: str) -> Element | None:
    return ei("PGN", nested=context.subcomponent in raw.partition(context.component)[0])(context, raw)


ORC: Final = Table(
    "ORC",
    "ServiceRequest",
    (
        Row("ORC-2", "identifier", "EI → Identifier", many("identifier", ei("PLAC")), "type `PLAC`"),
        Row("ORC-3", "identifier", "EI → Identifier", many("identifier", ei("FILL")), "type `FILL`"),
        Row("ORC-4", "requisition", "EI → Identifier", one("requisition", _group), "type `PGN`"),
        Row("ORC-8", "basedOn.identifier", "EIP → Identifier", _parent, "the parent order"),
        Row("ORC-9", "authoredOn", "DTM → dateTime", _authored, "ORC-1 is NW"),
        Row("ORC-12", "requester", "XCN → Reference(Practitioner)", one("requester", reference)),
        Row("ORC-14", "extension(order-callback-phone-number)", "XTN → ContactPoint", _callback),
        Row("ORC-15", "occurrenceDateTime", "DTM → dateTime", _occurrence),
        Row("ORC-29", "locationCode", "CWE → CodeableConcept", many("locationCode", concept)),
    ),
)

OBR: Final = Table(
    "OBR",
    "ServiceRequest",
    (
        Row("OBR-2", "identifier", "EI → Identifier", many("identifier", ei("PLAC")), "type `PLAC`"),
        Row("OBR-3", "identifier", "EI → Identifier", many("identifier", ei("FILL")), "type `FILL`"),
        Row("OBR-4", "code", "CWE → CodeableConcept", one("code", concept)),
        Row("OBR-5", "priority", "ID → code", _priority, "HL7 table 0485; TQ1-9 and OBR-27.6 come after it"),
        Row("OBR-6", "occurrenceDateTime", "DTM → dateTime", _occurrence, "the requested time"),
        Row(
            "OBR-13",
            "patientInstruction",
            "CWE → string",
            one("patientInstruction", whole_text),
            "relevant clinical information",
        ),
        Row("OBR-16", "requester", "XCN → Reference(Practitioner)", one("requester", reference)),
        Row("OBR-17", "extension(order-callback-phone-number)", "XTN → ContactPoint", _callback),
        Row("OBR-27", "priority", "TQ.6 → code", _old_priority),
        Row("OBR-29", "basedOn.identifier", "EIP → Identifier", _parent, "the parent order"),
        Row("OBR-31", "reasonCode", "CWE → CodeableConcept", many("reasonCode", concept)),
        Row("OBR-46", "orderDetail", "CWE → CodeableConcept", many("orderDetail", concept)),
        Row("OBR-47", "orderDetail", "CWE → CodeableConcept", many("orderDetail", concept)),
        Row("OBR-53", "identifier", "CX → Identifier", _numbered, "alternate placer number, type `PLAC`"),
        Row("OBR-54", "basedOn.identifier", "EIP → Identifier", _parent, "v2.8: the parent order"),
    ),
)

TQ1: Final = Table(
    "TQ1",
    "ServiceRequest",
    (
        Row(
            "TQ1-7",
            "occurrenceDateTime",
            "DTM → dateTime",
            moment("occurrenceDateTime", lambda c, raw: c.times(raw)),
        ),
        Row("TQ1-9", "priority", "CWE → code", _priority),
    ),
)


def order(context: Context, sent: Order, subject: Element, encounter: Element | None) -> Element:
    """The ServiceRequest of an ORC and OBR, or of either."""
    made: Element = {"resourceType": "ServiceRequest", "status": _status(context, sent), "intent": "order"}
    if sent.orc is not None:
        ORC.apply(context, sent.orc, made)
        if context.first(_field(sent.orc.fields, 1)) != "NW":
            made.pop("authoredOn", None)
    if sent.obr is not None:
        OBR.apply(context, sent.obr, made)
    for timing in sent.timings:
        TQ1.apply(context, timing, made)
    made["subject"] = subject
    if encounter:
        made["encounter"] = encounter
    return made


def _status(context: Context, sent: Order) -> str:
    """HL7 table 0038, else the order control; an order of which results come is under way or done."""
    if sent.orc is not None:
        fields = sent.orc.fields
        told = _STATUSES.get(context.first(_field(fields, 5)).upper())
        told = told or _CONTROLS.get(context.first(_field(fields, 1)).upper())
        if told:
            return told
    result = context.first(_field(sent.obr.fields, 25)).upper() if sent.obr is not None else ""
    return {"F": "completed", "C": "completed", "X": "revoked"}.get(
        result, "unknown" if sent.obr is None else "active"
    )


def _field(fields: Sequence[str], number: int) -> str:
    return fields[number] if len(fields) > number else ""


CONTROL: Final = f"{URN}ORC-1"
"""Extension with the order control, which no element has."""
