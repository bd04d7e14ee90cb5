"""TXA → DocumentReference, for MDM messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from ingest.hl7v2.mapping.context import codes, extension
from ingest.hl7v2.mapping.datatypes.concepts import of_table
from ingest.hl7v2.mapping.datatypes.identifiers import ei
from ingest.hl7v2.mapping.datatypes.people import reference
from ingest.hl7v2.mapping.table import Row, Table, many, one, text

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.table import Put
    from ingest.hl7v2.reader import Segment

_DOC_STATUSES: Final = codes(
    "AU=final LA=final DO=preliminary IN=preliminary PA=preliminary IP=preliminary DI=preliminary"
)
"""HL7 table 0271."""
_STATUSES: Final = {"AV": "current", "CA": "entered-in-error", "OB": "superseded", "UN": "current"}
"""HL7 table 0273."""
CANCELLED: Final = "T11"
_REPLACES: Final = "replaces"
_RELATIONS: Final = {"T05": "appends", "T06": "appends", "T09": _REPLACES, "T10": _REPLACES}


def _date(context: Context, raw: str, resource: Element) -> None:
    when = context.times(raw)
    if when and "T" in when:
        resource.setdefault("date", when)
    elif when and "date" not in resource:
        resource["_date"] = {"extension": [extension("urn:dod:hl7v2:TXA-6", "DateTime", when)]}


def _coded(element: str, table: dict[str, str]) -> Put:
    def put(context: Context, raw: str, resource: Element) -> None:
        if known := table.get(context.first(raw).upper()):
            resource[element] = known

    return put


def _related(code: str) -> Put:
    def put(context: Context, raw: str, resource: Element) -> None:
        for one_raw in raw.split(context.repetition):
            if number := ei(code)(context, one_raw):
                held = resource.setdefault("context", {}).setdefault("related", [])
                held.append({"type": "ServiceRequest", "identifier": number})

    return put


def loose(attachment: Element, subject: Element) -> Element:
    """A document in OBX that belongs to no report."""
    return {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": subject,
        "content": [{"attachment": attachment}],
    }


TXA: Final = Table(
    "TXA",
    "DocumentReference",
    (
        Row("TXA-2", "type", "CWE → CodeableConcept", one("type", of_table("0270"))),
        Row(
            "TXA-6",
            "date",
            "DTM → instant",
            _date,
            "else TXA-4; a date without time is an extension of `date`",
        ),
        Row("TXA-4", "date", "DTM → instant", _date),
        Row("TXA-9", "author", "XCN → Reference(Practitioner)", many("author", reference)),
        Row("TXA-10", "authenticator", "XCN → Reference(Practitioner)", one("authenticator", reference)),
        Row("TXA-12", "masterIdentifier, identifier", "EI → Identifier", many("identifier", ei())),
        Row("TXA-14", "context.related.identifier", "EI → Identifier", _related("PLAC"), "type `PLAC`"),
        Row("TXA-15", "context.related.identifier", "EI → Identifier", _related("FILL"), "type `FILL`"),
        Row("TXA-17", "docStatus", "ID → code", _coded("docStatus", _DOC_STATUSES), "HL7 table 0271"),
        Row("TXA-18", "securityLabel", "ID → CodeableConcept", many("securityLabel", of_table("0272"))),
        Row(
            "TXA-19",
            "status",
            "ID → code",
            _coded("status", _STATUSES),
            "HL7 table 0273; T11: entered-in-error",
        ),
        Row(
            "TXA-13",
            "relatesTo",
            "EI → Identifier",
            lambda *_: None,
            "T05, T06: appends; T09, T10: replaces, and the document of this number is superseded",
        ),
        Row("TXA-25", "description", "ST → string", one("description", text)),
    ),
)


def document(  # noqa: PLR0913 -- what a document is made of
    context: Context,
    txa: Segment,
    event: str,
    contents: list[Element],
    subject: Element,
    encounter: Element | None,
) -> Element:
    """The DocumentReference of a TXA."""
    made: Element = {"resourceType": "DocumentReference", "status": "current"}
    TXA.apply(context, txa, made)
    if event == CANCELLED:
        made["status"] = "entered-in-error"
    if numbers := made.get("identifier"):
        made["masterIdentifier"] = numbers[0]
        made["id"] = _id_of(numbers[0])
    made["subject"] = subject
    if event in _RELATIONS and (number := _parent(context, txa)):
        target = {"type": "DocumentReference", "identifier": number}
        made["relatesTo"] = [{"code": _RELATIONS[event], "target": target}]
    if contents:
        made["content"] = [{"attachment": one} for one in contents]
    if encounter:
        made.setdefault("context", {})["encounter"] = [encounter]
    return made


def replaced(context: Context, txa: Segment, made: Element) -> Element | None:
    """The document that this one replaces, of which no more is told than that it is obsolete; None: none.

    DECISIONS.md#replaced-is-superseded
    """
    relations = [one["code"] for one in made.get("relatesTo", ())]
    number = _parent(context, txa) if _REPLACES in relations else None
    if number is None or number in made.get("identifier", ()):
        return None
    told = {"masterIdentifier": number, "identifier": [number], "subject": made["subject"]}
    return {"resourceType": "DocumentReference", "id": _id_of(number), "status": "superseded", **told}


def _id_of(number: Element) -> str:
    """The id of a document: never another one's, whatever later notifications say of its type."""
    return str(uuid5(NAMESPACE_URL, f"TXA-12 {number.get('system', '')}|{number['value']}"))


def _parent(context: Context, txa: Segment) -> Element | None:
    return ei()(context, txa.fields[13]) if len(txa.fields) > 13 else None  # noqa: PLR2004 -- TXA-13
