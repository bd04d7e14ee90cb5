"""Names, addresses, numbers to call, people and organizations: XPN, XAD, XTN, XCN, CNN and XON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ingest.hl7v2.mapping.context import codes
from ingest.hl7v2.mapping.datatypes.identifiers import kind
from ingest.hl7v2.mapping.systems import NPI, authority

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.context import Context, Element

_NAME_USES: Final = codes(
    "L=official R=official D=usual M=maiden N=nickname BAD=old NOUSE=old TEMP=temp NAV=temp "
    "MSK=anonymous S=anonymous U= CURRENT=usual"
)
_ADDRESS_USES: Final = {
    "BA": "old",
    "BI": "billing",
    "C": "temp",
    "B": "work",
    "O": "work",
    "H": "home",
    "HOME": "home",
}
_ADDRESS_TYPES: Final = {"M": "postal", "SH": "postal"}
_CALL_USES: Final = {
    "PRN": "home",
    "ORN": "home",
    "WPN": "work",
    "PRS": "mobile",
    "HOME": "home",
    "CELL": "mobile",
}
_CALL_SYSTEMS: Final = codes(
    "PH=phone FX=fax MD=other CP=phone SAT=phone BP=pager INTERNET=email X.400=email TDD=other TTY=other"
)
_MOBILE: Final = "CP"
_STAMP: Final = re.compile(r"\d{4,14}")

COMPONENTS: Final = (
    ("XPN.1", "family", "its first subcomponent; the whole in the extensions of R4 is not made"),
    ("XPN.2, .3", "given", ""),
    ("XPN.4", "suffix", ""),
    ("XPN.5", "prefix", ""),
    ("XPN.6, .14", "suffix", "degree, professional suffix"),
    ("XPN.7", "use", "HL7 table 0200"),
    ("XPN.12, .13", "period", ""),
    ("XAD.1, .2, .19", "line", "street, other designation, v2.7: addressee"),
    ("XAD.3 .4 .5 .6", "city, state, postalCode, country", ""),
    ("XAD.7", "use, type", "HL7 table 0190"),
    ("XAD.9", "district", "the county"),
    ("XTN.1, .12", "value", "else country code, area code, number and extension"),
    ("XTN.2", "use", "HL7 table 0201"),
    ("XTN.3", "system", "HL7 table 0202"),
    ("XTN.4", "value", "an e-mail address, by itself where a number stands beside it"),
    ("XCN.1, .9, .13", "Practitioner.identifier", "number, assigning authority, type"),
    ("XCN.2 to .7, .10, .21", "Practitioner.name", "as XPN"),
    ("XON.1", "Organization.name", ""),
    ("XON.3, .6, .7, .10", "Organization.identifier", "number, assigning authority, type"),
)


def name(context: Context, raw: str) -> Element | None:
    """A HumanName of an XPN; None: it names nobody."""
    parts = context.parts(raw)
    made = _name(context, parts)
    count = len(parts)
    use = _NAME_USES.get(context.plain(parts[6]).strip().upper(), "") if count > 6 and parts[6] else ""  # noqa: PLR2004 -- XPN.7
    if made and use:
        made = {"use": use, **made}
    if made and count > 13 and parts[13]:  # noqa: PLR2004 -- XPN.14
        made.setdefault("suffix", []).append(context.plain(parts[13]).strip())
    period = _period(context, parts, 11, 12)
    if made and period:
        made["period"] = period
    return made or None


def _name(context: Context, parts: list[str]) -> Element:
    """The parts that XPN and XCN have in common, from the family name on."""
    made: Element = {}
    plain = context.plain
    told = [plain(part).strip() if part else "" for part in parts[:6]]
    told += [""] * (6 - len(told))
    family = plain(parts[0].partition(context.subcomponent)[0]).strip()
    if family:
        made["family"] = family
    given = [one for one in told[1:3] if one]
    if given:
        made["given"] = given
    if told[4]:
        made["prefix"] = [told[4]]
    if suffix := [one for one in (told[3], told[5]) if one]:
        made["suffix"] = suffix
    return made


def _period(context: Context, parts: list[str], start: int, end: int) -> Element:
    made: Element = {}
    for element, at in (("start", start), ("end", end)):
        if len(parts) > at and parts[at] and (when := context.times(parts[at])):
            made[element] = when
    return made


def address(context: Context, raw: str) -> Element | None:
    """An Address of an XAD; None: it is empty."""
    parts = context.parts(raw)
    plain = context.plain
    told = [plain(part).strip() if part else "" for part in parts]
    told += [""] * (19 - len(told))
    street = plain(parts[0].partition(context.subcomponent)[0]).strip()
    made: Element = {}
    kind_of = told[6].upper()
    if use := _ADDRESS_USES.get(kind_of):
        made["use"] = use
    if type_of := _ADDRESS_TYPES.get(kind_of):
        made["type"] = type_of
    if not street and context.subcomponent in parts[0]:
        street = " ".join(plain(one).strip() for one in parts[0].split(context.subcomponent) if one)
    if lines := [one for one in (told[18], street, told[1]) if one]:
        made["line"] = lines
    for element, at in (("city", 2), ("district", 8), ("state", 3), ("postalCode", 4), ("country", 5)):
        if told[at]:
            made[element] = told[at]
    if period := _period(context, parts, 12, 13):
        made["period"] = period
    return made if made.keys() - {"use", "type"} else None


def call(context: Context, raw: str) -> Element | None:
    """A ContactPoint of an XTN; None: it has neither number nor address."""
    parts = context.parts(raw)
    told = [context.plain(part).strip() if part else "" for part in parts]
    told += [""] * (12 - len(told))
    system = _CALL_SYSTEMS.get(told[2].upper(), "")
    if told[3] and (system in ("email", "") or told[1] == "NET" or not any((told[0], told[6], told[11]))):
        return _called("email", told[3], _CALL_USES.get(told[1].upper(), ""))
    number = told[11] or told[0]
    if not number and told[6]:
        pieces = [f"+{told[4]}" if told[4] else "", f"({told[5]})" if told[5] else "", told[6]]
        number = " ".join(piece for piece in pieces if piece)
        number += f" ext. {told[7]}" if told[7] else ""
    if not number:
        return None
    use = "mobile" if told[2].upper() == _MOBILE else _CALL_USES.get(told[1].upper(), "")
    return _called(system or ("email" if "@" in number else "phone"), number, use)


def mail(context: Context, raw: str) -> Element | None:
    """The e-mail address beside the number of an XTN; None: there is none, or `call` has it."""
    parts = context.parts(raw)
    told = context.plain(parts[3]).strip() if len(parts) > 3 else ""  # noqa: PLR2004 -- XTN.4
    made = call(context, raw) if "@" in told else None
    return None if made is None or made["system"] == "email" else _called("email", told, "")


def _called(system: str, value: str, use: str) -> Element:
    made: Element = {"system": system, "value": value}
    return {**made, "use": use} if use else made


def person(context: Context, raw: str) -> Element | None:
    """A Practitioner of an XCN; None: it has neither number nor name."""
    parts = context.parts(raw)
    count = len(parts)
    made: Element = {"resourceType": "Practitioner"}
    number = context.plain(parts[0]).strip()
    if number:
        made["identifier"] = [_person_number(context, parts, number)]
    if count > 1:
        named = _name(context, parts[1:7])
        if count > 20 and parts[20]:  # noqa: PLR2004 -- XCN.21
            named.setdefault("suffix", []).append(context.plain(parts[20]).strip())
        use = _NAME_USES.get(context.plain(parts[9]).strip().upper(), "") if count > 9 and parts[9] else ""  # noqa: PLR2004 -- XCN.10
        if named:
            made["name"] = [{"use": use, **named} if use else named]
    return made if len(made) > 1 else None


def _person_number(context: Context, parts: list[str], value: str) -> Element:
    made: Element = {}
    count = len(parts)
    code = context.plain(parts[12]).strip() if count > 12 else ""  # noqa: PLR2004 -- XCN.13
    # Senders that know XCN of old have the type, or the source table, where the authority is.
    system = authority(context, parts[8], separator=context.subcomponent) if count > 8 and parts[8] else ""  # noqa: PLR2004 -- XCN.9
    if not code and count > 8 and context.plain(parts[8]).strip() == "NPI":  # noqa: PLR2004 -- XCN.9
        code, system = "NPI", NPI
    if code == "NPI" and (not system or not system.startswith(("http", "urn:oid:"))):
        system = NPI
    if code:
        made["type"] = kind(code)
    if system:
        made["system"] = system
    made["value"] = value
    return made


def practitioner(context: Context, raw: str) -> str | None:
    """Reference to the Practitioner of an XCN, an entry of the Bundle; None: the XCN names nobody."""
    if raw in context.known:
        return context.known[raw]
    made = person(context, raw)
    return context.shared(raw, made) if made else None


def reference(context: Context, raw: str) -> Element | None:
    """A Reference to the Practitioner of an XCN; None: the XCN names nobody."""
    url = practitioner(context, raw)
    return {"reference": url} if url else None


def ndl(context: Context, raw: str) -> Element | None:
    """A Reference to the Practitioner of an NDL, whose first component is a CNN; None: it names nobody.

    Versions before 2.3 have the person by components, and so have many senders still.
    """
    parts = context.parts(raw)
    if context.subcomponent in parts[0]:
        told = parts[0].split(context.subcomponent)
        # CNN.9 to .11 are the assigning authority, which XCN.9 has as one component.
        told = [*told[:8], context.subcomponent.join(told[8:11])]
        return reference(context, context.component.join(told))
    if len(parts) > 1 and parts[1] and not _STAMP.fullmatch(parts[1]):
        return reference(context, raw)
    return reference(context, parts[0])


def organization(context: Context, raw: str) -> Element | None:
    """An Organization of an XON; None: it has neither number nor name."""
    parts = context.parts(raw)
    told = [context.plain(part.partition(context.subcomponent)[0]).strip() if part else "" for part in parts]
    told += [""] * (10 - len(told))
    made: Element = {"resourceType": "Organization"}
    value = told[9] or told[2]
    if value:
        number: dict[str, Any] = {"type": kind(told[6])} if told[6] else {}
        assigning = parts[5] if told[5] or len(parts) > 5 else ""  # noqa: PLR2004 -- XON.6
        system = authority(context, assigning, separator=context.subcomponent) if assigning else ""
        if system:
            number["system"] = system
        made["identifier"] = [{**number, "value": value}]
    if told[0]:
        made["name"] = told[0]
    return made if len(made) > 1 else None


def organization_reference(context: Context, raw: str) -> Element | None:
    """A Reference to the Organization of an XON, an entry of the Bundle; None: the XON is empty."""
    key = f"XON {raw}"
    if key in context.known:
        return {"reference": context.known[key]}
    made = organization(context, raw)
    return {"reference": context.shared(key, made)} if made else None


def producer(context: Context, raw: str) -> Element | None:
    """A Reference to the Organization of OBX-15, the producer's id (CWE); None: the field is empty."""
    key = f"CWE {raw}"
    if key in context.known:
        return {"reference": context.known[key]}
    told = [context.plain(part).strip() for part in context.parts(raw)]
    told += [""] * (3 - len(told))
    made: Element = {"resourceType": "Organization"}
    if told[0]:
        number: dict[str, Any] = {"value": told[0]}
        if told[2]:
            number = {"system": authority(context, told[2], separator=context.subcomponent), **number}
        made["identifier"] = [number]
    if told[1] or told[0]:
        made["name"] = told[1] or told[0]
    return {"reference": context.shared(key, made)} if len(made) > 1 else None
