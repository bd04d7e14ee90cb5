"""Coded values: CE, CWE, CNE, CF, IS and ID as CodeableConcept and Coding.

Remembered within a message: its results share codes, units and flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.hl7v2.mapping.systems import V2, V3, coding_system

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.table import Convert

_TRIPLETS: Final = ((0, 1, 2, 6, 13), (3, 4, 5, 7, 16), (9, 10, 11, 12, 19))
"""Code, text, system, version and the system's OID (v2.7): primary, alternate, second alternate (v2.7)."""
_ORIGINAL: Final = 8

COMPONENTS: Final = (
    ("CWE.1", "coding[0].code", ""),
    ("CWE.2", "coding[0].display", ""),
    ("CWE.3", "coding[0].system", "by the profile's `systems`, else by HL7 table 0396"),
    ("CWE.4, .5, .6", "coding[1]", "the alternate code, likewise"),
    ("CWE.7, .8", "coding.version", ""),
    ("CWE.9", "text", "without it the text of a coding without code or system"),
    ("CWE.10, .11, .12, .13", "coding[2]", "v2.7: the second alternate code"),
    ("CWE.14, .17, .20", "coding.system", "v2.7: the OID of a system that has no name"),
)


def concept(context: Context, raw: str) -> Element | None:
    """A CodeableConcept of a CE, CWE, CNE or CF; None: the field is empty.

    It is shared within the message: copy it before a change.
    """
    if raw in context.concepts:
        return context.concepts[raw]
    made = context.concepts[raw] = _concept(context, raw)
    return made


def _concept(context: Context, raw: str) -> Element | None:
    if context.component not in raw:
        code = context.plain(raw).strip()
        return {"coding": [{"code": code}], "text": code} if code and raw != '""' else None
    parts = [context.plain(part).strip() for part in context.parts(raw)]
    count = len(parts)
    codings: list[Element] = []
    text = parts[_ORIGINAL] if count > _ORIGINAL else ""
    for code_at, text_at, system_at, version_at, oid_at in _TRIPLETS:
        if code_at >= count:
            break
        code = parts[code_at]
        display = parts[text_at] if text_at < count else ""
        name = (parts[system_at] if system_at < count else "") or (parts[oid_at] if oid_at < count else "")
        version = parts[version_at] if version_at < count else ""
        if code and (mapped := context.profile.codes) and code in (table := mapped.get(name, {})):
            found = table[code]
            codings.append(_without_empty(system=found.system, code=found.code, display=found.display))
        if code or (name and display):
            system = coding_system(context, name) if name else ""
            codings.append(_without_empty(system=system, version=version, code=code, display=display))
        if not text and display and not (code and name):
            text = display
    if not text and len(codings) == 1 and "system" not in codings[0]:
        text = str(codings[0].get("display") or codings[0].get("code", ""))
    made: Element = {}
    if codings:
        made["coding"] = codings
    if text:
        made["text"] = text
    return made or None


def _without_empty(**told: str | None) -> Element:
    return {name: value for name, value in told.items() if value}


def in_system(system: str, texts: dict[str, str] | None = None) -> Convert:
    """A CodeableConcept of an ID or IS whose table is known; what names a system of its own keeps that."""

    def convert(context: Context, raw: str) -> Element | None:
        parts = context.parts(raw)
        if len(parts) > 2 and parts[2]:  # noqa: PLR2004 -- CWE.3
            return concept(context, raw)
        code = context.plain(parts[0]).strip()
        if not code:
            return concept(context, raw)
        display = context.plain(parts[1]).strip() if len(parts) > 1 else ""
        display = display or (texts or {}).get(code, "")
        return {"coding": [_without_empty(system=system, code=code, display=display)]}

    return convert


def of_table(number: str) -> Convert:
    """A CodeableConcept in a table of HL7 v2."""
    return in_system(V2 + number)


INTERPRETATION: Final = V3 + "ObservationInterpretation"
_INTERPRETATIONS: Final = frozenset(
    "A AA AC B CAR D DET E EX EXP H HH HM HU HX I IE IND L LL LU LX MS N NCL ND NEG NR NS OBX POS QCF R RR S"
    " SDD SYN-R SYN-S TOX U UNE VS W WR < >".split()
)
"""Codes of HL7 table 0078 that v3-ObservationInterpretation has too."""


def interpretation(context: Context, raw: str) -> Element | None:
    """A CodeableConcept of OBX-8, the flag of a result; None: the field is empty."""
    parts = context.parts(raw)
    code = context.plain(parts[0]).strip()
    if code in _INTERPRETATIONS and (len(parts) < 3 or not parts[2] or parts[2] == "HL70078"):  # noqa: PLR2004 -- CWE.3
        display = context.plain(parts[1]).strip() if len(parts) > 1 else ""
        return {"coding": [_without_empty(system=INTERPRETATION, code=code, display=display)]}
    if len(parts) == 1 and code:
        return (
            {"coding": [{"system": V2 + "0078", "code": code}], "text": code}
            if " " not in code
            else {"text": code}
        )
    return concept(context, raw)


def coding(context: Context, raw: str) -> Element | None:
    """The first Coding of a CWE; None: it has text alone, or nothing."""
    made = concept(context, raw)
    return made["coding"][0] if made and "coding" in made else None
