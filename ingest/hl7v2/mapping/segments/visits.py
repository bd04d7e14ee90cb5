"""PV1 and PV2 → Encounter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.datatypes.concepts import concept, of_table
from ingest.hl7v2.mapping.datatypes.identifiers import cx
from ingest.hl7v2.mapping.datatypes.people import reference
from ingest.hl7v2.mapping.systems import V2, V3, coding_system
from ingest.hl7v2.mapping.table import Row, Table, inside, many, one

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.table import Convert, Put
    from ingest.hl7v2.reader import Segment

_CLASSES: Final = {"E": "EMER", "I": "IMP", "O": "AMB", "P": "PRENC"}
"""HL7 table 0004 in v3-ActCode; others stay as they are."""
_STATUSES: Final = {"A01": "in-progress", "A04": "planned"}


def _class(context: Context, raw: str, resource: Element) -> None:
    parts = context.parts(raw)
    code = context.plain(parts[0]).strip()
    if not code:
        return
    known = _CLASSES.get(code.upper())
    if known:
        resource["class"] = {"system": V3 + "ActCode", "code": known}
    elif len(parts) > 2 and parts[2]:  # noqa: PLR2004 -- CWE.3
        resource["class"] = {"system": coding_system(context, context.plain(parts[2]).strip()), "code": code}
    else:
        resource["class"] = {"system": V2 + "0004", "code": code}


def place(context: Context, raw: str) -> str:
    """A location (PL) in words: facility, building, floor, point of care, room, bed."""
    parts = context.parts(raw)
    told = [
        context.plain(parts[at].partition(context.subcomponent)[0]).strip()
        for at in (3, 6, 7, 0, 1, 2, 8)
        if len(parts) > at
    ]
    return ", ".join(one for one in told if one)


def _location(status: str) -> Convert:
    def convert(context: Context, raw: str) -> Element | None:
        words = place(context, raw)
        return {"location": {"display": words}, "status": status} if words else None

    return convert


def _participant(code: str) -> Put:
    def convert(context: Context, raw: str) -> Element | None:
        found = reference(context, raw)
        if found is None:
            return None
        coding = {"system": V3 + "ParticipationType", "code": code}
        return {"type": [{"coding": [coding]}], "individual": found}

    return many("participant", convert)


def _period(element: str) -> Put:
    def put(context: Context, raw: str, resource: Element) -> None:
        when = context.times(raw)
        if when:
            resource.setdefault("period", {})[element] = when

    return put


PV1: Final = Table(
    "PV1",
    "Encounter",
    (
        Row(
            "PV1-19",
            "identifier",
            "CX → Identifier",
            many("identifier", cx("VN", patient=False)),
            "type `VN` where none is sent",
        ),
        Row(
            "PV1-50",
            "identifier",
            "CX → Identifier",
            many("identifier", cx("VN", use="secondary", patient=False)),
        ),
        Row("PV1-2", "class", "CWE → Coding", _class, "HL7 table 0004"),
        Row("PV1-3", "location", "PL → location.display", many("location", _location("active"))),
        Row("PV1-4", "type", "CWE → CodeableConcept", many("type", of_table("0007"))),
        Row(
            "PV1-5",
            "hospitalization.preAdmissionIdentifier",
            "CX → Identifier",
            inside("hospitalization", "preAdmissionIdentifier", cx(patient=False)),
        ),
        Row("PV1-6", "location", "PL → location.display", many("location", _location("completed"))),
        Row("PV1-7", "participant", "XCN → Reference(Practitioner)", _participant("ATND")),
        Row("PV1-8", "participant", "XCN → Reference(Practitioner)", _participant("REF")),
        Row("PV1-9", "participant", "XCN → Reference(Practitioner)", _participant("CON")),
        Row("PV1-10", "serviceType", "CWE → CodeableConcept", one("serviceType", of_table("0069"))),
        Row(
            "PV1-14",
            "hospitalization.admitSource",
            "CWE → CodeableConcept",
            inside("hospitalization", "admitSource", of_table("0023")),
        ),
        Row("PV1-17", "participant", "XCN → Reference(Practitioner)", _participant("ADM")),
        Row(
            "PV1-36",
            "hospitalization.dischargeDisposition",
            "CWE → CodeableConcept",
            inside("hospitalization", "dischargeDisposition", of_table("0112")),
        ),
        Row("PV1-44", "period.start", "DTM → dateTime", _period("start")),
        Row("PV1-45", "period.end", "DTM → dateTime", _period("end")),
    ),
)

PV2: Final = Table(
    "PV2",
    "Encounter",
    (Row("PV2-3", "reasonCode", "CWE → CodeableConcept", many("reasonCode", concept)),),
)


def encounter(
    context: Context, pv1: Segment, pv2: Segment | None, subject: Element, event: str
) -> Element | None:
    """The Encounter of a PV1; None: it says nothing of a visit."""
    made: Element = {"resourceType": "Encounter"}
    PV1.apply(context, pv1, made)
    if pv2 is not None:
        PV2.apply(context, pv2, made)
    if len(made) == 1:
        return None
    code = made.setdefault("class", {"system": V3 + "NullFlavor", "code": "UNK"})["code"]
    ended = "end" in made.get("period", {})
    status = "finished" if ended else "planned" if code == "PRENC" else _STATUSES.get(event, "unknown")
    return {"resourceType": "Encounter", "status": status, **made, "subject": subject}
