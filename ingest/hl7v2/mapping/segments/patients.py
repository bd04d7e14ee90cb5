"""PID, PD1 and NK1 → Patient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.dates import fhir_date
from ingest.hl7v2.faults import DATA_TYPE
from ingest.hl7v2.mapping.context import NULL, URN, Context, Element, codes, extension
from ingest.hl7v2.mapping.datatypes.concepts import concept, in_system, of_table
from ingest.hl7v2.mapping.datatypes.identifiers import cx, kind
from ingest.hl7v2.mapping.datatypes.people import (
    address,
    call,
    mail,
    name,
    organization_reference,
    reference,
)
from ingest.hl7v2.mapping.systems import SSN, V2, V3
from ingest.hl7v2.mapping.table import Row, Table, extended, flag, many, moment, one, text

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.table import Convert, Put
    from ingest.hl7v2.reader import Segment

_SEXES: Final = codes(
    "F=female FEMALE=female M=male MALE=male O=other A=other N=other X=other OTHER=other U=unknown "
    "UNK=unknown UNKNOWN=unknown"
)
_MARITAL: Final = codes("A=L D=D M=M S=S W=W C=C G=T P=T R=T E=L N=A I=I B=U U=UNK")
_PATIENT: Final = "http://hl7.org/fhir/StructureDefinition/patient-"
_US_RACE: Final = f"{URN}PID-10"
_US_ETHNICITY: Final = f"{URN}PID-22"
_TIMED: Final = 8
"""Characters of a date of birth without a time of day."""


def _born(context: Context, raw: str, resource: Element) -> None:
    found = fhir_date(context.first(raw), context.zone)
    if found is None:
        rule = "this is no date of HL7, YYYYMMDD: the date of birth is kept as text"
        context.fault(DATA_TYPE, rule)
        resource["_birthDate"] = {"extension": [extension(f"{URN}text", "String", context.first(raw))]}
        return
    resource["birthDate"] = found
    sent = context.first(raw)
    if len(sent) > _TIMED and (when := context.times(sent)) and "T" in when:
        resource["_birthDate"] = {"extension": [extension(f"{_PATIENT}birthTime", "DateTime", when)]}


def _sex(context: Context, raw: str, resource: Element) -> None:
    code = context.first(raw)
    gender = _SEXES.get(code.upper())
    if gender:
        resource["gender"] = gender
    elif code:
        resource["gender"] = "unknown"
        resource["_gender"] = {"extension": [extension(f"{URN}text", "String", code)]}


def _marital(context: Context, raw: str) -> Element | None:
    code = context.first(raw).upper()
    known = _MARITAL.get(code)
    made = concept(context, raw)
    if known is None or made is None:
        return made
    system = V3 + ("NullFlavor" if known == "UNK" else "MaritalStatus")
    return {"coding": [{"system": system, "code": known}, *made.get("coding", ())]}


def _language(context: Context, raw: str) -> Element | None:
    made = concept(context, raw)
    return {"language": made} if made else None


def _ssn(context: Context, raw: str, resource: Element) -> None:
    value = context.first(raw)
    if value:
        number = {"type": kind("SS"), "system": SSN, "value": value}
        known = resource.setdefault("identifier", [])
        if all(one.get("value") != value or one.get("system") != SSN for one in known):
            known.append(number)


def _licence(context: Context, raw: str, resource: Element) -> None:
    parts = context.parts(raw)
    if value := context.plain(parts[0]).strip():
        resource.setdefault("identifier", []).append({"type": kind("DL"), "value": value})


def _calls(use: str) -> Convert:
    def convert(context: Context, raw: str) -> Element | None:
        made = call(context, raw)
        return made if made is None or "use" in made or made["system"] == "email" else {**made, "use": use}

    return convert


def _telecom(convert: Convert) -> Put:
    """Numbers, and the e-mail addresses beside them."""
    numbers, mails = many("telecom", convert), many("telecom", mail)

    def put(context: Context, raw: str, resource: Element) -> None:
        numbers(context, raw, resource)
        mails(context, raw, resource)

    return put


def _county(context: Context, raw: str, resource: Element) -> None:
    county = context.first(raw)
    told = resource.get("address", [])
    if county and len(told) == 1 and "district" not in told[0]:
        told[0]["district"] = county


def _deceased(context: Context, raw: str, resource: Element) -> None:
    told = flag(context, raw)
    if told is not None and "deceasedDateTime" not in resource:
        resource["deceasedBoolean"] = told


def _birth_order(context: Context, raw: str, resource: Element) -> None:
    order = context.first(raw)
    if order.isdecimal() and order.isascii():
        resource.pop("multipleBirthBoolean", None)
        resource["multipleBirthInteger"] = int(order)


def _number(context: Context, raw: str) -> Element | None:
    return cx(context.profile.default_identifier_type)(context, raw)


def _nested(url: str) -> Put:
    def convert(context: Context, raw: str, resource: Element) -> None:
        made = concept(context, raw)
        if made:
            inner = [extension("code", "CodeableConcept", made)]
            resource.setdefault("extension", []).append({"url": url, "extension": inner})

    return convert


def _place(context: Context, raw: str) -> Element | None:
    words = context.first(raw)
    return {"text": words} if words else None


PID: Final = Table(
    "PID",
    "Patient",
    (
        Row("PID-3", "identifier", "CX → Identifier", many("identifier", _number)),
        Row(
            "PID-2",
            "identifier",
            "CX → Identifier",
            many("identifier", cx(use="secondary")),
            "use `secondary`: searched by, no evidence",
        ),
        Row(
            "PID-4",
            "identifier",
            "CX → Identifier",
            many("identifier", cx(use="secondary")),
            "use `secondary`",
        ),
        Row("PID-5", "name", "XPN → HumanName", many("name", name)),
        Row("PID-9", "name", "XPN → HumanName", many("name", name)),
        Row(
            "PID-6",
            "extension(patient-mothersMaidenName)",
            "XPN → string",
            extended(f"{_PATIENT}mothersMaidenName", "String", text),
        ),
        Row("PID-7", "birthDate", "DTM → date", _born, "a time of day in the extension patient-birthTime"),
        Row("PID-8", "gender", "CWE → code", _sex, "HL7 table 0001"),
        Row(
            "PID-10",
            "extension(urn:dod:hl7v2:PID-10)",
            "CWE → CodeableConcept",
            extended(_US_RACE, "CodeableConcept", concept),
            "race: no element of R4 has it",
        ),
        Row("PID-11", "address", "XAD → Address", many("address", address)),
        Row("PID-12", "address.district", "IS → string", _county, "one address without a county"),
        Row("PID-13", "telecom", "XTN → ContactPoint", _telecom(_calls("home"))),
        Row("PID-14", "telecom", "XTN → ContactPoint", _telecom(_calls("work"))),
        Row("PID-15", "communication.language", "CWE → CodeableConcept", many("communication", _language)),
        Row("PID-16", "maritalStatus", "CWE → CodeableConcept", one("maritalStatus", _marital)),
        Row(
            "PID-17",
            "extension(patient-religion)",
            "CWE → CodeableConcept",
            extended(f"{_PATIENT}religion", "CodeableConcept", concept),
        ),
        Row(
            "PID-18",
            "identifier",
            "CX → Identifier",
            many("identifier", cx("AN")),
            "type `AN` where none is sent",
        ),
        Row("PID-19", "identifier", "ST → Identifier", _ssn, "type `SS`, system us-ssn"),
        Row("PID-20", "identifier", "DLN → Identifier", _licence, "type `DL`"),
        Row(
            "PID-22",
            "extension(urn:dod:hl7v2:PID-22)",
            "CWE → CodeableConcept",
            extended(_US_ETHNICITY, "CodeableConcept", concept),
            "ethnic group: no element of R4 has it",
        ),
        Row(
            "PID-23",
            "extension(patient-birthPlace)",
            "ST → Address.text",
            extended(f"{_PATIENT}birthPlace", "Address", _place),
        ),
        Row(
            "PID-24",
            "multipleBirthBoolean",
            "ID → boolean",
            one("multipleBirthBoolean", flag),
            "PID-25 is not valued",
        ),
        Row("PID-25", "multipleBirthInteger", "NM → integer", _birth_order),
        Row(
            "PID-26",
            "extension(patient-citizenship)",
            "CWE → CodeableConcept",
            _nested(f"{_PATIENT}citizenship"),
        ),
        Row(
            "PID-28",
            "extension(patient-nationality)",
            "CWE → CodeableConcept",
            _nested(f"{_PATIENT}nationality"),
        ),
        Row("PID-29", "deceasedDateTime", "DTM → dateTime", moment("deceasedDateTime", Context.times)),
        Row("PID-30", "deceasedBoolean", "ID → boolean", _deceased, "PID-29 is not valued"),
        Row("PID-40", "telecom", "XTN → ContactPoint", _telecom(call)),
    ),
)

PD1: Final = Table(
    "PD1",
    "Patient",
    (
        Row(
            "PD1-3",
            "generalPractitioner",
            "XON → Reference(Organization)",
            many("generalPractitioner", organization_reference),
        ),
        Row(
            "PD1-4",
            "generalPractitioner",
            "XCN → Reference(Practitioner)",
            many("generalPractitioner", reference),
        ),
    ),
)

NK1: Final = Table(
    "NK1",
    "Patient.contact",
    (
        Row("NK1-2", "name", "XPN → HumanName", one("name", name)),
        Row("NK1-3", "relationship", "CWE → CodeableConcept", many("relationship", of_table("0063"))),
        Row("NK1-4", "address", "XAD → Address", one("address", address)),
        Row("NK1-5", "telecom", "XTN → ContactPoint", _telecom(call)),
        Row("NK1-6", "telecom", "XTN → ContactPoint", _telecom(call)),
        Row("NK1-7", "relationship", "CWE → CodeableConcept", many("relationship", in_system(V2 + "0131"))),
        Row("NK1-15", "gender", "CWE → code", _sex),
    ),
)

_ELEMENTS: Final = {"deceasedDateTime": "deceased", "deceasedBoolean": "deceased", "extension(": ""}


def patient(
    context: Context, pid: Segment, pd1: Segment | None, kin: list[Segment], former: list[Element]
) -> Element:
    """The Patient of a PID; `former` are the numbers of records that were merged into this one."""
    made: Element = {"resourceType": "Patient"}
    PID.apply(context, pid, made)
    if pd1 is not None:
        PD1.apply(context, pd1, made)
    if contacts := [found for one in kin if (found := NK1.apply(context, one, {}))]:
        made["contact"] = contacts
    if former:
        known = made.setdefault("identifier", [])
        known += [{**one, "use": "old"} for one in former if one not in known]
    return made


def is_null(segment: Segment, number: int) -> bool:
    """Whether a field is HL7's null: to be deleted."""
    return len(segment.fields) > number and segment.fields[number] == NULL
