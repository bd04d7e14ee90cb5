"""SPM, and OBR-15 of older versions → Specimen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.context import URN, number_of
from ingest.hl7v2.mapping.datatypes.concepts import concept, of_table
from ingest.hl7v2.mapping.datatypes.identifiers import cx, eip
from ingest.hl7v2.mapping.datatypes.people import reference
from ingest.hl7v2.mapping.datatypes.values import unit
from ingest.hl7v2.mapping.segments.notes import as_sent, comments
from ingest.hl7v2.mapping.table import Row, Table, extended, inside, many, moment, one

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.structure import Sample
    from ingest.hl7v2.mapping.table import Put
    from ingest.hl7v2.reader import Segment

_PLACER, _FILLER = eip()
_STATUSES: Final = {"Y": "available", "N": "unavailable"}


def _collected(context: Context, raw: str, resource: Element) -> None:
    parts = context.parts(raw)
    start = context.times(parts[0]) if parts[0] else None
    end = context.times(parts[1]) if len(parts) > 1 and parts[1] else None
    held = resource.setdefault("collection", {})
    if end and end != start:
        held["collectedPeriod"] = {"start": start, "end": end} if start else {"end": end}
    elif start:
        held["collectedDateTime"] = start
    if not held:
        del resource["collection"]


def _amount(context: Context, raw: str) -> Element | None:
    number, _, own = raw.partition(context.component)
    value = number_of(context.plain(number).strip())
    told = unit(context, own.replace(context.subcomponent, context.component)) if own else {}
    return {"value": value, **told} if value else None


def _container(element: str) -> Put:
    def put(context: Context, raw: str, resource: Element) -> None:
        for text in raw.split(context.repetition):
            if made := concept(context, text):
                held = resource.setdefault("container", [{}])[0]
                if element == "type":
                    held["type"] = made
                else:
                    held.setdefault("additive", []).append(made)

    return put


def _additive(context: Context, raw: str, resource: Element) -> None:
    texts = [text for text in raw.split(context.repetition) if text]
    made = [found for text in texts if (found := concept(context, text))]
    if made:
        held = resource.setdefault("container", [{}])[0]
        held["additiveCodeableConcept"] = made[0]


def _described(context: Context, raw: str, resource: Element) -> None:
    if text := context.first(raw):
        resource.setdefault("note", []).append({"text": text})


def _received(context: Context, raw: str, resource: Element) -> None:
    if when := context.times(raw):
        resource["receivedTime"] = when


def _remarked(context: Context, raw: str, resource: Element) -> None:
    for text in context.repetitions(raw):
        code, *words = context.parts(text)[:2]
        if told := context.plain(words[0] if words and words[0] else code).strip():
            resource.setdefault("note", []).append({"text": told})


def _available(context: Context, raw: str, resource: Element) -> None:
    if status := _STATUSES.get(context.first(raw).upper()):
        resource["status"] = status


def _parents(context: Context, raw: str, resource: Element) -> None:
    for text in raw.split(context.repetition):
        if number := _FILLER(context, text) or _PLACER(context, text):
            resource.setdefault("parent", []).append({"type": "Specimen", "identifier": number})


SPM: Final = Table(
    "SPM",
    "Specimen",
    (
        Row(
            "SPM-2",
            "identifier",
            "EIP → Identifier",
            many("identifier", _FILLER),
            "the filler's number, type `FILL`",
        ),
        Row(
            "SPM-2",
            "identifier",
            "EIP → Identifier",
            many("identifier", _PLACER),
            "the placer's number, type `PLAC`",
        ),
        Row("SPM-3", "parent.identifier", "EIP → Identifier", _parents),
        Row("SPM-4", "type", "CWE → CodeableConcept", one("type", of_table("0487"))),
        Row(
            "SPM-5",
            "extension(urn:dod:hl7v2:SPM-5)",
            "CWE → CodeableConcept",
            extended(f"{URN}SPM-5", "CodeableConcept", concept),
            "type modifier",
        ),
        Row("SPM-6", "container.additiveCodeableConcept", "CWE → CodeableConcept", _additive),
        Row(
            "SPM-7",
            "collection.method",
            "CWE → CodeableConcept",
            inside("collection", "method", of_table("0488")),
        ),
        Row(
            "SPM-8", "collection.bodySite", "CWE → CodeableConcept", inside("collection", "bodySite", concept)
        ),
        Row("SPM-12", "collection.quantity", "CQ → Quantity", inside("collection", "quantity", _amount)),
        Row("SPM-14", "note.text", "ST → markdown", _described),
        Row(
            "SPM-17",
            "collection.collectedDateTime",
            "DR → dateTime",
            _collected,
            "collectedPeriod where it ends at another time",
        ),
        Row("SPM-18", "receivedTime", "DTM → dateTime", moment("receivedTime", lambda c, raw: c.times(raw))),
        Row("SPM-20", "status", "ID → code", _available),
        Row(
            "SPM-21",
            "extension(urn:dod:hl7v2:SPM-21)",
            "CWE → CodeableConcept",
            extended(f"{URN}SPM-21", "CodeableConcept", of_table("0490")),
            "reject reason",
        ),
        Row("SPM-24", "condition", "CWE → CodeableConcept", many("condition", of_table("0493"))),
        Row("SPM-27", "container.type", "CWE → CodeableConcept", _container("type")),
        Row(
            "SPM-30",
            "accessionIdentifier",
            "CX → Identifier",
            one("accessionIdentifier", cx("ACSN", patient=False)),
        ),
        Row("SPM-31", "identifier", "CX → Identifier", many("identifier", cx(patient=False))),
    ),
)
_BESIDE: Final = "no SPM, and OBR-15 is valued"
OLD: Final = (
    Row("OBR-15", "type, collection.bodySite", "SPS → CodeableConcept", lambda *_: None, "no SPM"),
    Row("OBR-9", "collection.quantity", "CQ → Quantity", inside("collection", "quantity", _amount), _BESIDE),
    Row(
        "OBR-10",
        "collection.collector",
        "XCN → Reference(Practitioner)",
        inside("collection", "collector", reference),
        _BESIDE,
    ),
    Row("OBR-14", "receivedTime", "DTM → dateTime", _received, _BESIDE),
    Row("OBR-39", "note.text", "CWE → markdown", _remarked, _BESIDE),
)
_BESIDE_OLD: Final = Table("OBR", "Specimen", OLD[1:])


def specimen(context: Context, sample: Sample, subject: Element, mark: str) -> Element:
    """The Specimen of an SPM."""
    made: Element = {"resourceType": "Specimen"}
    SPM.apply(context, sample.spm, made)
    if notes := comments(context, sample.notes):
        made.setdefault("note", []).extend(notes)
    if sample.others:
        made.setdefault("extension", []).extend(as_sent(sample.others, mark))
    made["subject"] = subject
    return made


def old_specimen(context: Context, obr: Segment, subject: Element) -> Element | None:
    """The Specimen of OBR-15, as messages before version 2.5 have it; None: there is none."""
    fields = obr.fields
    raw = fields[15] if len(fields) > 15 else ""  # noqa: PLR2004 -- OBR-15
    parts = context.parts(raw.partition(context.repetition)[0])
    context.segment, context.field = obr, 15
    told = concept(context, parts[0].replace(context.subcomponent, context.component)) if parts[0] else None
    made: Element = {"resourceType": "Specimen"}
    if told:
        made["type"] = told
    if len(parts) > 3 and parts[3]:  # noqa: PLR2004 -- SPS.4
        site = concept(context, parts[3].replace(context.subcomponent, context.component))
        made["collection"] = {"bodySite": site}
    if len(made) == 1:
        return None
    _BESIDE_OLD.apply(context, obr, made)
    made["subject"] = subject
    return made
