"""OBR and ORC → DiagnosticReport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.hl7v2.faults import DATA_TYPE, NOT_IN_TABLE, REQUIRED
from ingest.hl7v2.mapping.context import AS_SENT, URN, codes, extension
from ingest.hl7v2.mapping.datatypes.concepts import concept
from ingest.hl7v2.mapping.datatypes.identifiers import ei, kind
from ingest.hl7v2.mapping.datatypes.people import ndl
from ingest.hl7v2.mapping.systems import V2, V3, coding_system
from ingest.hl7v2.mapping.table import Row, Table, extended, many, one
from ingest.pipeline.validation.structure import is_reversed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.structure import Order
    from ingest.hl7v2.mapping.table import Put

STATUSES: Final = codes(
    "O=registered I=registered S=registered N=registered A=partial R=partial P=preliminary "
    "M=preliminary F=final C=corrected X=cancelled"
)
"""HL7 table 0123. `Y` and `Z` (no such order, no such patient) are answers to a query: refused."""
_PLAIN: Final = frozenset("OISRPFCX")
"""Codes that the status says completely."""
STATUS: Final = f"{URN}OBR-25"
"""Extension of the status with the code that it was made from, where it says more."""
ENDED: Final = f"{URN}OBR-8"
"""Extension of the time with an end that makes no period of it."""
_FUNCTION: Final = "http://hl7.org/fhir/StructureDefinition/event-performerFunction"
_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_SETTLED: Final = frozenset({"final", "amended", "corrected", "cancelled", "entered-in-error"})


def _category(context: Context, raw: str) -> Element | None:
    parts = context.parts(raw)
    code = context.plain(parts[0]).strip()
    if not code:
        return None
    named = context.plain(parts[2]).strip() if len(parts) > 2 else ""  # noqa: PLR2004 -- CWE.3
    system = coding_system(context, named) if named else V2 + "0074"
    coding: Element = {"system": system, "code": code}
    if len(parts) > 1 and parts[1]:
        coding["display"] = context.plain(parts[1]).strip()
    return {"coding": [coding]}


def _issued(context: Context, raw: str, resource: Element) -> None:
    when = context.times(raw)
    if when and "T" in when:
        resource["issued"] = when
    elif when:  # An instant has a time of day; what has none is a date of its own.
        resource["_issued"] = {"extension": [extension(f"{URN}OBR-22", "DateTime", when)]}
    elif text := context.first(raw):
        resource["_issued"] = {"extension": [extension(AS_SENT, "String", text)]}


def _performer(code: str, element: str = "performer") -> Put:
    def convert(context: Context, raw: str) -> Element | None:
        found = ndl(context, raw)
        if found is None:
            return None
        function = {"coding": [{"system": V3 + "ParticipationType", "code": code}]}
        return {"extension": [extension(_FUNCTION, "CodeableConcept", function)], **found}

    return many(element, convert)


def _parent(context: Context, raw: str) -> str | None:
    """The parent result (PRL) in words: code, sub-id and text of the observation."""
    return context.plain(raw).strip() or None


OBR: Final = Table(
    "OBR",
    "DiagnosticReport",
    (
        Row(
            "OBR-2",
            "identifier",
            "EI → Identifier",
            many("identifier", ei("PLAC")),
            "type `PLAC`; ORC-2 where OBR-2 is empty",
        ),
        Row(
            "OBR-3",
            "identifier",
            "EI → Identifier",
            many("identifier", ei("FILL")),
            "type `FILL`; ORC-3 where OBR-3 is empty",
        ),
        Row("OBR-4", "code", "CWE → CodeableConcept", one("code", concept)),
        Row("OBR-22", "issued", "DTM → instant", _issued, "a date without time is an extension of `issued`"),
        Row("OBR-24", "category", "ID → CodeableConcept", many("category", _category), "HL7 table 0074"),
        Row(
            "OBR-26",
            "extension(urn:dod:hl7v2:OBR-26)",
            "PRL → string",
            extended(f"{URN}OBR-26", "String", _parent),
            "parent result; its number is in `Observation.derivedFrom`",
        ),
        Row("OBR-32", "resultsInterpreter", "NDL → Reference(Practitioner)", many("resultsInterpreter", ndl)),
        Row(
            "OBR-33",
            "resultsInterpreter",
            "NDL → Reference(Practitioner)",
            many("resultsInterpreter", ndl),
            "assistants, behind the principal",
        ),
        Row("OBR-34", "performer", "NDL → Reference(Practitioner)", _performer("SPRF"), "function `SPRF`"),
        Row("OBR-35", "performer", "NDL → Reference(Practitioner)", _performer("TRANS"), "function `TRANS`"),
        Row(
            "OBR-44",
            "extension(urn:dod:hl7v2:OBR-44)",
            "CNE → CodeableConcept",
            extended(f"{URN}OBR-44", "CodeableConcept", concept),
        ),
    ),
)

WHOLE: Final = (
    Row(
        "OBR-7",
        "effectiveDateTime",
        "DTM → dateTime",
        lambda *_: None,
        "OBR-8 is not valued, else effectivePeriod.start",
    ),
    Row(
        "OBR-8",
        "effectivePeriod.end",
        "DTM → dateTime",
        lambda *_: None,
        "before OBR-7, or a time of that day: the extension urn:dod:hl7v2:OBR-8 of effectiveDateTime",
    ),
    Row(
        "OBR-25",
        "status",
        "ID → code",
        lambda *_: None,
        "HL7 table 0123; without it the profile's `missing_report_status`",
    ),
    Row(
        "OBR-18",
        "identifier",
        "ST → Identifier",
        lambda *_: None,
        "type `ACSN`, where the profile's `accession` names it",
    ),
    Row("ORC-2", "identifier", "EI → Identifier", lambda *_: None, "OBR-2 is empty"),
    Row("ORC-3", "identifier", "EI → Identifier", lambda *_: None, "OBR-3 is empty"),
)
"""Rows that take more than one field to decide: functions of this module."""


def report(context: Context, sent: Order, subject: Element, encounter: Element | None) -> Element:
    """The DiagnosticReport of an OBR, without its results."""
    obr = sent.obr
    assert obr is not None  # noqa: S101 -- the caller has looked
    made: Element = {"resourceType": "DiagnosticReport"}
    OBR.apply(context, obr, made)
    _numbers(context, sent, made)
    if "category" not in made and context.profile.category:
        made["category"] = [{"coding": [{"system": V2 + "0074", "code": context.profile.category}]}]
    if "code" not in made:
        context.field = 4
        context.fault(REQUIRED, "OBR-4 says what was asked for: without it the report has no code")
        made["code"] = {"extension": [extension(_ABSENT, "Code", "unknown")]}
    _time(context, obr.fields, made)
    made["subject"] = subject
    if encounter:
        made["encounter"] = encounter
    return made


def _numbers(context: Context, sent: Order, made: Element) -> None:
    numbers = made.get("identifier", [])
    for code, at in (("PLAC", 2), ("FILL", 3)):
        if sent.orc is None or any(one["type"]["coding"][0]["code"] == code for one in numbers):
            continue
        raw = _field(sent.orc.fields, at).partition(context.repetition)[0]
        if found := ei(code)(context, raw):
            numbers.append(found)
    accession = context.profile.accession
    if accession and sent.obr is not None:
        raw = _field(sent.obr.fields, int(accession.partition("-")[2]))
        if value := context.first(raw):
            system = context.profile.default_order_authority
            numbers.append({"type": kind("ACSN"), **({"system": system} if system else {}), "value": value})
    if numbers:
        made["identifier"] = sorted(numbers, key=_filler_first)


def _filler_first(number: Element) -> bool:
    return bool(number["type"]["coding"][0]["code"] != "FILL")


def _time(context: Context, fields: Sequence[str], made: Element) -> None:
    """OBR-7 and OBR-8: one moment, or a period where they differ. What makes none is kept as sent."""
    start, end = _field(fields, 7), _field(fields, 8)
    context.field = 7
    began = context.times(start) if start else None
    context.field = 8
    ended = context.times(end) if end else None
    unread = [extension(AS_SENT, "String", text)] if began is None and (text := context.first(start)) else []
    beside = [extension(ENDED, "String", text)] if ended is None and (text := context.first(end)) else []
    if began and ended and ended != began and is_reversed(began, ended):
        rule = "OBR-8 is before OBR-7, or a time of the day that is OBR-7: it is kept beside that"
        context.fault(DATA_TYPE, rule)
        beside, ended = [extension(ENDED, "DateTime", ended)], began
    if ended and ended != began:
        made["effectivePeriod"] = {"start": began, "end": ended} if began else {"end": ended}
        if unread:
            made["effectivePeriod"]["_start"] = {"extension": unread}
        return
    if began:
        made["effectiveDateTime"] = began
    if unread or beside:
        made["_effectiveDateTime"] = {"extension": [*unread, *beside]}


def effective(made: Element) -> dict[str, Any]:
    """The clinical time of a report, for results that have none of their own."""
    return {name: made[name] for name in ("effectiveDateTime", "effectivePeriod") if name in made}


def set_status(context: Context, sent: Order, made: Element, results: Iterable[str]) -> None:
    """The status by OBR-25, the profile's own codes first; `results` are the statuses of the results."""
    obr = sent.obr
    raw = _field(obr.fields, 25) if obr is not None else ""
    code = context.first(raw)
    profile = context.profile
    context.segment, context.field = obr, 25
    known = profile.report_statuses.get(code) or STATUSES.get(code.upper())
    if known is None and not code:
        known = _missing(context, list(results))
    elif known is None:
        known = "unknown"
        rule = (
            "this is no status of a report that can be told: a code of HL7 table 0123 but Y and Z, or one of"
            " the source's own in its profile's `report_statuses`"
        )
        context.fault(NOT_IN_TABLE, rule, "E")
    made["status"] = known
    if code and code not in _PLAIN:
        made["_status"] = {"extension": [extension(STATUS, "String", code)]}


def _missing(context: Context, results: list[str]) -> str:
    told = context.profile.missing_report_status
    rule = "OBR-25, the status of the report, is missing"
    context.fault(REQUIRED, rule, "E" if told == "refuse" else "W")
    if told == "from-results":
        settled = [one in _SETTLED for one in results]
        return "final" if settled and all(settled) else "partial" if any(settled) else "preliminary"
    return "unknown" if told == "refuse" else told


def _field(fields: Sequence[str], number: int) -> str:
    return fields[number] if len(fields) > number else ""


__all__ = ["OBR", "STATUSES", "WHOLE", "effective", "report", "set_status"]
