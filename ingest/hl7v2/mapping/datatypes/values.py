"""OBX-2, OBX-5 and OBX-6 → Observation.value[x]: a converter for each data type.

A text that is not of the type that OBX-2 names is kept as `valueString`, and the fault is noted: nothing
is lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ingest.hl7v2.dates import fhir_time
from ingest.hl7v2.faults import DATA_TYPE, NOT_IN_TABLE
from ingest.hl7v2.mapping.context import URN, extension, number_of
from ingest.hl7v2.mapping.datatypes.concepts import concept
from ingest.hl7v2.mapping.datatypes.people import address, call, name
from ingest.hl7v2.mapping.systems import UCUM, coding_system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ingest.hl7v2.mapping.context import Context, Element

Valued: TypeAlias = "tuple[str, Any] | None"
"""The name of the element and its value: `("valueString", "…")`."""
Value: TypeAlias = "Callable[[Context, str, Element], Valued]"
"""A value from one repetition of OBX-5 and the unit."""

SENT: Final = f"{URN}OBX-5"
"""Extension with a value as it was sent, where the element says less."""
_DECIMAL: Final = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)"
"""A number, which can be read in one way only: of several, a field of ten thousand digits and a letter would
try all before it is none, and an expression lets nobody else work."""
_NUMBER: Final = re.compile(rf"(<=|>=|<|>)?\s*({_DECIMAL}|[+-]?\d+\.)")
_COMPARATORS: Final = frozenset({"<", "<=", ">=", ">"})
_RANGE: Final = re.compile(rf"({_DECIMAL})\s*(?:-|–|to|\.\.)\s*({_DECIMAL})")
_BOUND: Final = re.compile(rf"(<=|>=|<|>)\s*({_DECIMAL})")


def unit(context: Context, raw: str) -> Element:
    """The unit of OBX-6 as the elements of a Quantity; empty: there is none."""
    raw = raw.partition(context.repetition)[0]
    key = f"OBX-6 {raw}"
    known = context.concepts.get(key)
    if known is None:
        known = context.concepts[key] = _unit(context, raw)
    return known


def _unit(context: Context, raw: str) -> Element:
    sent = context.parts(raw)
    parts = [context.plain(part).strip() for part in _unbroken(context, sent)]
    if parts[0] != context.plain(sent[0]).strip():
        return {"unit": parts[0]}  # What follows stands where nobody meant it.
    parts += [""] * (9 - len(parts))
    words = parts[1] or parts[0] or parts[8] or parts[4] or parts[3]
    made: Element = {"unit": words} if words else {}
    for code_at, system_at in ((0, 2), (3, 5)):
        code, system = parts[code_at], parts[system_at]
        if code and not system and context.profile.units == "ucum" and code_at == 0:
            system = "UCUM"
        if code and system and (code_at == 0 or coding_system(context, system) == UCUM):
            made |= {"system": coding_system(context, system), "code": code}
            if made["system"] == UCUM:
                break
    return made


def _unbroken(context: Context, parts: list[str]) -> list[str]:
    """Components of a unit; one whose power was not escaped, `10^3/uL`, `kg/m^2`, is a whole again."""
    if len(parts) == 1 or context.component != "^":
        return parts
    made = parts[:1]
    for part in parts[1:]:
        if any(base.search(made[-1]) and power.fullmatch(part) for base, power in _POWERS):
            made[-1] += f"^{part}"
        else:
            made.append(part)
    return made


_POWERS: Final = (
    (re.compile(r"(?:^|[^\d.])10$"), re.compile(r"[+-]?\d{1,2}(?:\s*[/A-Za-z].*)?")),
    (re.compile(r"(?:^|[^A-Za-z])[cdkmn]?m$"), re.compile(r"[+-]?[1-4](?:\s*/.*)?")),
)
"""Ends of a text of which a power follows, and the power with the rest of the unit: of 10, and of a length.

See DECISIONS.md#powers-in-units.
"""


def unit_as_sent(context: Context, raw: str) -> Element | None:
    """OBX-6 as a CodeableConcept; one whose powers were not escaped is a text. None: it is empty."""
    sent = context.parts(raw.partition(context.repetition)[0])
    return concept(context, raw) if _unbroken(context, sent) == sent else {"text": context.plain(raw)}


def is_whole(context: Context, raw: str, measured: Element) -> bool:
    """Whether a Quantity says all of OBX-6: its codes and texts, the alternate ones too."""
    sent = context.parts(raw.partition(context.repetition)[0])
    parts = [context.plain(part).strip() for part in _unbroken(context, sent)]
    told = [part for at, part in enumerate(parts) if at in _UNIT_WORDS and part]
    return not set(told) - set(measured.values())


_UNIT_WORDS: Final = frozenset({0, 1, 3, 4})
"""Codes and texts of a CWE, counted from 0."""


def _nm(context: Context, raw: str, measured: Element) -> Valued:
    text = (
        context.plain(raw).strip()
        if context.component in raw.rstrip(context.component)
        else context.first(raw)
    )
    if not text:
        return None
    match = _NUMBER.fullmatch(text)
    number = number_of(match[2]) if match else None
    if match is None or number is None:
        context.fault(DATA_TYPE, "OBX-2 is NM, and this is no number: it is kept as text", component=1)
        return "valueString", text
    comparator: Element = {"comparator": match[1]} if match[1] else {}
    return "valueQuantity", {"value": number, **comparator, **measured}


def _sn(context: Context, raw: str, measured: Element) -> Valued:
    """Structured numeric: comparator, number, separator or suffix, number."""
    parts = [context.plain(part).strip() for part in context.parts(raw)]
    parts += [""] * (4 - len(parts))
    comparator, first, separator, second = parts[:4]
    told = "".join(parts[:4])
    low, high = number_of(first), number_of(second)
    if not told:
        return None
    if comparator in ("", "=") and low and high:
        if separator == "-":
            return "valueRange", {"low": {"value": low, **measured}, "high": {"value": high, **measured}}
        if separator in (":", "/"):
            return "valueRatio", {"numerator": {"value": low, **measured}, "denominator": {"value": high}}
    if low and not separator and not second and (comparator in _COMPARATORS or comparator in ("", "=")):
        bound: Element = {"comparator": comparator} if comparator in _COMPARATORS else {}
        return "valueQuantity", {"value": low, **bound, **measured}
    if not first and not second and (match := _NUMBER.fullmatch(comparator)):
        bound = {"comparator": match[1]} if match[1] else {}
        return "valueQuantity", {"value": number_of(match[2]), **bound, **measured}
    words = measured.get("unit", "")
    return "valueString", f"{told} {words}".strip()


def _text(context: Context, raw: str, _: Element) -> Valued:
    text = context.plain(raw)
    return ("valueString", text) if text.strip() and text != '""' else None


def _coded(context: Context, raw: str, _: Element) -> Valued:
    made = concept(context, raw)
    return ("valueCodeableConcept", made) if made else None


def _moment(context: Context, raw: str, _: Element) -> Valued:
    text = context.first(raw)
    if not text:
        return None
    when = context.times(raw)
    return ("valueDateTime", when) if when else ("valueString", text)


def _time(context: Context, raw: str, _: Element) -> Valued:
    text = context.first(raw)
    when = fhir_time(text) if text else None
    if text and when is None:
        context.fault(
            DATA_TYPE, "OBX-2 is TM, and this is no time, HHMM[SS[.SSSS]]: it is kept as text", component=1
        )
    return ("valueTime", when) if when else ("valueString", text) if text else None


def _period(context: Context, raw: str, _: Element) -> Valued:
    parts = context.parts(raw)
    told = {name: context.times(part) for name, part in zip(("start", "end"), parts, strict=False) if part}
    found = {name: when for name, when in told.items() if when}
    if found and len(found) == len(told):
        return "valuePeriod", found
    return _whole(context, raw, {})


def _numeric_range(context: Context, raw: str, measured: Element) -> Valued:
    parts = [context.plain(part).strip() for part in context.parts(raw)]
    ends = {
        end: {"value": number, **measured}
        for end, text in zip(("low", "high"), parts, strict=False)
        if (number := number_of(text))
    }
    return ("valueRange", ends) if ends else _whole(context, raw, {})


def _whole(context: Context, raw: str, _: Element) -> Valued:
    """All components with blanks between."""
    parts = [context.plain(part.replace(context.subcomponent, " ")).strip() for part in context.parts(raw)]
    text = " ".join(part for part in parts if part)
    return ("valueString", text) if text else None


def _identifier(context: Context, raw: str, _: Element) -> Valued:
    text = context.first(raw)
    return ("valueString", text) if text else _whole(context, raw, {})


def _quantity(context: Context, raw: str, measured: Element) -> Valued:
    """CQ and MO: a number with a unit of its own."""
    number, _, own = raw.partition(context.component)
    told = unit(context, own.replace(context.subcomponent, context.component)) if own else measured
    return _nm(context, number, told)


def _person(at: int) -> Value:
    def convert(context: Context, raw: str, _: Element) -> Valued:
        made = name(context, context.component.join(context.parts(raw)[at:]))
        words = [
            *(made or {}).get("prefix", []),
            *(made or {}).get("given", []),
            (made or {}).get("family", ""),
        ]
        words += (made or {}).get("suffix", [])
        text = " ".join(word for word in words if word)
        return ("valueString", text) if text else _whole(context, raw, {})

    return convert


def _address(context: Context, raw: str, _: Element) -> Valued:
    made = address(context, raw) or {}
    told = [*made.get("line", []), *(made.get(one, "") for one in ("city", "state", "postalCode", "country"))]
    text = ", ".join(one for one in told if one)
    return ("valueString", text) if text else None


def _call(context: Context, raw: str, _: Element) -> Valued:
    made = call(context, raw)
    return ("valueString", made["value"]) if made else None


VALUES: Final[Mapping[str, Value]] = {
    kind: convert
    for kinds, convert in (
        ("NM SI", _nm),
        ("SN", _sn),
        ("ST TX FT VR GTS", _text),
        ("CE CWE CNE CF IS ID", _coded),
        ("DT DTM TS", _moment),
        ("TM", _time),
        ("DR", _period),
        ("NR", _numeric_range),
        ("CQ MO", _quantity),
        ("XCN CN CNN PPN", _person(1)),
        ("XPN PN", _person(0)),
        ("XAD AD SAD", _address),
        ("XTN TN", _call),
        ("CX EI XON HD CK", _identifier),
        ("CP MA NA", _whole),
    )
    for kind in kinds.split()
}
"""Converters by OBX-2. Documents, ED and RP, are in `documents`; of any other type the text is kept."""
ELEMENTS: Final = (
    ("NM, SI", "valueQuantity", "with a comparator where one is sent; what is no number is valueString"),
    ("SN", "valueQuantity, valueRange (`-`), valueRatio (`:`, `/`)", "else valueString"),
    (
        "ST, TX, FT, VR, GTS",
        "valueString",
        "several repetitions are lines; several OBX of one code and sub-id are one text",
    ),
    ("CE, CWE, CNE, CF, IS, ID", "valueCodeableConcept", ""),
    ("DT, DTM, TS", "valueDateTime", "what is no date is valueString"),
    ("TM", "valueTime", "with an offset: valueString"),
    ("DR", "valuePeriod", ""),
    ("NR", "valueRange", ""),
    ("CQ, MO", "valueQuantity", "with the unit of CQ.2"),
    (
        "XCN, XPN, XAD, XTN, CX, EI, XON and all others",
        "valueString",
        "as sent in the extension `urn:dod:hl7v2:OBX-5`",
    ),
    ("ED, RP", "DiagnosticReport.presentedForm", "see documents"),
)
_KEPT_AS_SENT: Final = frozenset("XCN CN CNN PPN XPN PN XAD AD SAD XTN TN CX EI XON HD CP CK".split())
_LINES: Final = frozenset({"ST", "TX", "FT", "VR", "GTS"})


DOCUMENTS: Final = frozenset({"ED", "RP"})
"""Types that are documents of the report."""


def is_text(kind: str) -> bool:
    """Whether a type of OBX-2 is text, of which repetitions and several segments are lines."""
    return kind in _LINES


def put_value(context: Context, kind: str, raw: str, measured: Element, resource: Element) -> None:
    """Set value[x], or components where a value that is no text repeats."""
    if kind in DOCUMENTS:
        return
    convert = VALUES.get(kind)
    if convert is None:
        context.field = 2
        context.fault(NOT_IN_TABLE, "OBX-2 is no data type that a value of HL7 has: it is kept as text")
        convert = _whole
    if kind in _LINES:
        lines = [context.plain(one) for one in raw.split(context.repetition)]
        text = "\n".join(line for line in lines if line != '""')
        if text.strip():
            resource["valueString"] = text
        return
    if context.repetition in raw:
        _components(context, convert, raw, measured, resource)
        return
    found = convert(context, raw, measured)
    if found is not None:
        resource[found[0]] = found[1]
        if kind in _KEPT_AS_SENT and context.component in raw:
            told = extension(SENT, "String", context.plain(raw))
            resource.setdefault("extension", []).append(told)


def _components(context: Context, convert: Value, raw: str, measured: Element, resource: Element) -> None:
    told = [found for one in context.repetitions(raw) if (found := convert(context, one, measured))]
    if len(told) == 1:
        resource[told[0][0]] = told[0][1]
    elif told:
        resource["component"] = [{"code": resource.get("code"), element: value} for element, value in told]


def reference_range(context: Context, raw: str, measured: Element) -> Element | None:
    """A referenceRange of OBX-7: its text, and bounds where it says them plainly; None: it is empty."""
    text = context.plain(raw).strip()
    if not text or text == '""':
        return None
    made: Element = {}
    if match := _RANGE.fullmatch(text):
        low, high = number_of(match[1]), number_of(match[2])
        if low and high:
            made = {"low": {"value": low, **measured}, "high": {"value": high, **measured}}
    elif match := _BOUND.fullmatch(text):
        # A bound itself is no part of `<5`; Quantity.comparator is not for ranges, so the text says it.
        end = "high" if match[1].startswith("<") else "low"
        if number := number_of(match[2]):
            made = {end: {"value": number, **measured}}
    return {**made, "text": text}
