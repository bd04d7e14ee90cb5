"""OBX → Observation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ingest.hl7v2.faults import NOT_IN_TABLE, REQUIRED
from ingest.hl7v2.mapping.context import URN, extension
from ingest.hl7v2.mapping.datatypes import result_status
from ingest.hl7v2.mapping.datatypes.concepts import concept, interpretation, of_table
from ingest.hl7v2.mapping.datatypes.identifiers import ei, eip
from ingest.hl7v2.mapping.datatypes.people import (
    address,
    organization,
    person,
    producer,
    reference,
)
from ingest.hl7v2.mapping.datatypes.values import (
    is_whole,
    put_value,
    reference_range,
    unit,
    unit_as_sent,
)
from ingest.hl7v2.mapping.segments.notes import as_sent, comments
from ingest.hl7v2.mapping.systems import V2
from ingest.hl7v2.mapping.table import Row, Table, extended, many, one

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.structure import Result

_PLAIN: Final = frozenset("FPCX")
"""Codes that the status says completely."""
STATUS: Final = f"{URN}OBX-11"
"""Extension of the status with the code that it was made from, where it says more."""
_ABSENT: Final = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_REASONS: Final = {"X": "error", "N": "not-asked", "I": "temp-unknown"}
"""Reasons why there is no value, by OBX-11."""
_DATA_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
SUB_ID: Final = "http://hl7.org/fhir/StructureDefinition/observation-v2-subid"
ANALYSIS: Final = "http://hl7.org/fhir/StructureDefinition/observation-analysis-date-time"
NATURE: Final = "http://hl7.org/fhir/StructureDefinition/observation-nature-of-abnormal-test"
NUMBER: Final = f"{URN}result"
"""System of the number by which a result with a sub-id is found again in its report."""
_DEVICES: Final = "Device"


def _device(context: Context, raw: str) -> Element | None:
    key = f"OBX-18 {raw}"
    if key not in context.known:
        number = ei()(context, raw)
        if number is None:
            text_of = context.plain(raw.replace(context.component, " ")).strip()
            number = {"value": text_of} if text_of else None
        if number is None:
            return None
        context.shared(key, {"resourceType": _DEVICES, "identifier": [number]})
    return {"reference": context.known[key]}


def _category(context: Context, raw: str) -> Element | None:
    code = context.first(raw)
    return {"coding": [{"system": V2 + "0936", "code": code}]} if code else None


_SPECIMEN_PLACER, _SPECIMEN_FILLER = eip()


def _specimen(context: Context, raw: str, resource: Element) -> None:
    text_of = raw.partition(context.repetition)[0]
    if number := _SPECIMEN_FILLER(context, text_of) or _SPECIMEN_PLACER(context, text_of):
        resource["specimen"] = {"type": "Specimen", "identifier": number}


OBX: Final = Table(
    "OBX",
    "Observation",
    (
        Row("OBX-3", "code", "CWE → CodeableConcept", one("code", concept)),
        Row(
            "OBX-8",
            "interpretation",
            "CWE → CodeableConcept",
            many("interpretation", interpretation),
            "v3-ObservationInterpretation, else HL7 table 0078",
        ),
        Row(
            "OBX-10",
            "extension(observation-nature-of-abnormal-test)",
            "ID → CodeableConcept",
            extended(NATURE, "CodeableConcept", of_table("0080")),
        ),
        Row(
            "OBX-15",
            "performer",
            "CWE → Reference(Organization)",
            many("performer", producer),
            "OBX-23 is not valued",
        ),
        Row("OBX-16", "performer", "XCN → Reference(Practitioner)", many("performer", reference)),
        Row("OBX-17", "method", "CWE → CodeableConcept", one("method", concept)),
        Row("OBX-18", "device", "EI → Reference(Device)", one("device", _device)),
        Row(
            "OBX-19",
            "extension(observation-analysis-date-time)",
            "DTM → dateTime",
            extended(ANALYSIS, "DateTime", lambda c, raw: c.times(raw)),
        ),
        Row("OBX-20", "bodySite", "CWE → CodeableConcept", one("bodySite", concept)),
        Row("OBX-21", "identifier", "EI → Identifier", many("identifier", ei("FILL"))),
        Row("OBX-29", "category", "ID → CodeableConcept", many("category", _category), "HL7 table 0936"),
        Row(
            "OBX-33",
            "specimen.identifier",
            "EIP → Identifier",
            _specimen,
            "no SPM",
        ),
    ),
)
WHOLE: Final = (
    Row("OBX-2", "value[x]", "ID", lambda *_: None, "the type of OBX-5"),
    Row(
        "OBX-4",
        "identifier, extension(observation-v2-subid)",
        "ST, OG → Identifier, string",
        lambda *_: None,
        "the number is that of the report, the code and the sub-id",
    ),
    Row(
        "OBX-5",
        "value[x]",
        "by OBX-2",
        lambda *_: None,
        "see values; several repetitions that are no text are components",
    ),
    Row(
        "OBX-6",
        "valueQuantity.unit, .code, .system",
        "CWE → Quantity",
        lambda *_: None,
        "a power that was not escaped (`10^3/uL`) is of the unit",
    ),
    Row(
        "OBX-7",
        "referenceRange.text, .low, .high",
        "ST → BackboneElement",
        lambda *_: None,
        "bounds where it is `low-high`, `<high` or `>low`",
    ),
    Row(
        "OBX-11",
        "status",
        "ID → code",
        lambda *_: None,
        "HL7 table 0085; `X`, `N` and `I` without a value: dataAbsentReason; without it the profile's"
        " `missing_result_status`",
    ),
    Row("OBX-14", "effectiveDateTime", "DTM → dateTime", lambda *_: None, "without it OBR-7 and OBR-8"),
    Row("OBX-23", "performer", "XON → Reference(Organization)", lambda *_: None, "with OBX-24 as address"),
    Row(
        "OBX-25",
        "performer",
        "XCN → Reference(PractitionerRole)",
        lambda *_: None,
        "medical director, with the organization of OBX-23",
    ),
)
"""Rows that take more than one field to decide: functions of this module."""


class Surroundings:
    """Circumstances that the results of one report have in common."""

    __slots__ = ("effective", "encounter", "mark", "number", "parent", "specimen", "status", "subject")

    def __init__(  # noqa: PLR0913 -- what a report is made of
        self,
        *,
        subject: Element,
        encounter: Element | None = None,
        effective: dict[str, Any] | None = None,
        specimen: Element | None = None,
        number: str = "",
        status: str = "",
        parent: Element | None = None,
        mark: str = "|",
    ) -> None:
        self.subject = subject
        self.encounter = encounter
        self.effective = effective or {}
        self.specimen = specimen
        self.number = number
        """The report's own number, which those of its results start with."""
        self.status = status
        """The report's status as far as it is known."""
        self.parent = parent
        """The number of the result that this report goes on from."""
        self.mark = mark


def observation(context: Context, result: Result, around: Surroundings) -> Element:
    """The Observation of an OBX."""
    fields = result.obx.fields
    count = len(fields)
    made: Element = {"resourceType": "Observation"}
    OBX.apply(context, result.obx, made)
    if "code" not in made:
        context.field = 3
        context.fault(REQUIRED, "OBX-3 says what was observed: without it the result has no code")
        made["code"] = {"extension": [extension(_DATA_ABSENT, "Code", "unknown")]}
    _set_status(context, fields, made, around)
    measured = unit(context, fields[6]) if count > 6 and fields[6] else {}  # noqa: PLR2004 -- OBX-6
    if count > 5 and fields[5]:  # noqa: PLR2004 -- OBX-5
        context.field = 5
        put_value(context, _type(context, fields), fields[5], measured, made)
        if any(name.startswith("value") for name in made):
            made.pop("dataAbsentReason", None)  # R4's obs-6: a text says why, and is a value.
    if "unit" in measured:
        _keep_unit(context, fields[6], measured, made)
    if count > 7 and fields[7]:  # noqa: PLR2004 -- OBX-7
        found = reference_range(context, fields[7], measured)
        if found:
            made["referenceRange"] = [found]
    _set_time(context, fields, made, around)
    if count > 4 and fields[4]:  # noqa: PLR2004 -- OBX-4
        _set_sub_id(context, fields, made, around)
    if count > 23:  # noqa: PLR2004 -- OBX-23 and what follows
        _set_performer(context, fields, made)
    _set_rest(context, result, made, around)
    return made


def _keep_unit(context: Context, raw: str, measured: Element, made: Element) -> None:
    """Keep OBX-6 beside a value that does not say it as a whole."""
    is_told = ("valueQuantity" in made or "valueRange" in made) and is_whole(context, raw, measured)
    if not is_told:
        told = extension(f"{URN}OBX-6", "CodeableConcept", unit_as_sent(context, raw))
        made.setdefault("extension", []).append(told)


def _type(context: Context, fields: Sequence[str]) -> str:
    """Type of the value (OBX-2); without it CWE for a value of several components, ST for any other."""
    sent = context.first(fields[2]).upper()
    if sent:
        return sent
    return "CWE" if context.component in fields[5] else "ST"


def _set_status(context: Context, fields: Sequence[str], made: Element, around: Surroundings) -> None:
    code, known = result_status.told(context, fields)
    context.field = 11
    if known is None and not code:
        told = context.profile.missing_result_status
        known = (
            around.status or "unknown" if told == "from-report" else "unknown" if told == "refuse" else told
        )
        rule = "OBX-11, the status of the result, is missing"
        context.fault(REQUIRED, rule, "E" if told == "refuse" else "W")
    elif known is None:
        known = "unknown"
        rule = "this is no status of HL7 table 0085: the result is kept with the status `unknown`"
        context.fault(NOT_IN_TABLE, rule)
    made["status"] = (
        known if known in _RESULT_STATUSES else "amended" if known == "appended" else "preliminary"
    )
    if code and code not in _PLAIN:
        made["_status"] = {"extension": [extension(STATUS, "String", code)]}
    if reason := _REASONS.get(code.upper()):
        made["dataAbsentReason"] = {"coding": [{"system": _ABSENT, "code": reason}]}


_RESULT_STATUSES: Final = frozenset(
    "registered preliminary final amended corrected cancelled entered-in-error unknown".split()
)


def _set_time(context: Context, fields: Sequence[str], made: Element, around: Surroundings) -> None:
    context.field = 14
    sent = fields[14] if len(fields) > 14 else ""  # noqa: PLR2004 -- OBX-14
    when = context.times(sent.partition(context.repetition)[0]) if sent else None
    if when:
        made["effectiveDateTime"] = when
    elif told := context.first(sent):
        made["_effectiveDateTime"] = {"extension": [extension(f"{URN}text", "String", told)]}
    else:
        made.update(around.effective)


def _set_sub_id(context: Context, fields: Sequence[str], made: Element, around: Surroundings) -> None:
    sub_id = context.plain(fields[4].replace(context.component, ".")).strip(". ")
    if not sub_id or sub_id == '""':
        return
    told: Element = {"url": SUB_ID, "extension": [extension("original-sub-identifier", "String", sub_id)]}
    made.setdefault("extension", []).append(told)
    if around.number:
        number = {"system": NUMBER, "value": result_number(context, around.number, fields[3], sub_id)}
        made.setdefault("identifier", []).append(number)


def result_number(context: Context, report: str, code: str, sub_id: str) -> str:
    """The number of a result in its report, by its code and sub-id."""
    return f"{report} {context.plain(code.partition(context.component)[0]).strip()} {sub_id}"


def _set_performer(context: Context, fields: Sequence[str], made: Element) -> None:
    """OBX-23, 24 and 25: the organization that performed, its address, its medical director."""
    organization_raw, address_raw = fields[23], fields[24] if len(fields) > 24 else ""  # noqa: PLR2004 -- OBX-24
    director_raw = fields[25] if len(fields) > 25 else ""  # noqa: PLR2004 -- OBX-25
    key = f"OBX-23 {organization_raw} {address_raw}"
    url = context.known.get(key)
    if url is None and (organization_raw or address_raw):
        context.field = 23
        found = organization(context, organization_raw) or {"resourceType": "Organization"}
        if where := address(context, address_raw):
            found["address"] = [where]
        url = context.shared(key, found) if len(found) > 1 else None
    if director_raw:
        url = _director(context, director_raw, url) or url
    if url:
        made.setdefault("performer", []).append({"reference": url})


def _director(context: Context, raw: str, organization_url: str | None) -> str | None:
    key = f"OBX-25 {raw} {organization_url}"
    if key in context.known:
        return context.known[key]
    context.field = 25
    if person(context, raw) is None:
        return None
    role: Element = {"resourceType": "PractitionerRole", "practitioner": reference(context, raw)}
    if organization_url:
        role["organization"] = {"reference": organization_url}
    role["code"] = [{"coding": [{"system": V2 + "0912", "code": "MDIR"}]}]
    return context.shared(key, role)


def _set_rest(context: Context, result: Result, made: Element, around: Surroundings) -> None:
    if result.notes and (notes := comments(context, result.notes)):
        made["note"] = notes
    if result.others:
        made.setdefault("extension", []).extend(as_sent(result.others, around.mark))
    if around.parent:
        made["derivedFrom"] = [{"type": "Observation", "identifier": around.parent}]
    if around.specimen and "specimen" not in made:
        made["specimen"] = around.specimen
    made["subject"] = around.subject
    if around.encounter:
        made["encounter"] = around.encounter


__all__ = ["OBX", "WHOLE", "Surroundings", "observation", "result_number"]
