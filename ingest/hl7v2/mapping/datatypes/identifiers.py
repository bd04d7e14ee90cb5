"""Numbers: CX, EI, EIP and HD as Identifier.

Type and system are evidence of who is who (`docs/identity.md`): neither is made up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from ingest.hl7v2.mapping.systems import IDENTIFIER_TYPES, SSN, V2, authority

if TYPE_CHECKING:
    from ingest.hl7v2.mapping.context import Context, Element
    from ingest.hl7v2.mapping.table import Made

_TYPES: Final = V2 + "0203"

COMPONENTS: Final = (
    ("CX.1", "value", ""),
    ("CX.4", "system", "by the profile's `authorities`, else the universal id, else the namespace"),
    ("CX.5", "type", "HL7 table 0203; the profile's `identifier_types` first"),
    ("CX.6", "assigner.display", ""),
    ("CX.7, .8", "period", ""),
    ("EI.1", "value", ""),
    ("EI.2, .3, .4", "system", "as CX.4"),
    ("EIP.1, .2", "two identifiers, of type PLAC and FILL", "likewise, by subcomponents"),
)


def kind(code: str, text: str = "") -> Element:
    """The type of an identifier."""
    made: Element = {"coding": [{"system": _TYPES, "code": code}]}
    if text:
        made["text"] = text
    return made


def _kind(context: Context, raw: str) -> Element | None:
    sent = context.plain(raw).strip()
    if not sent:
        return None
    known = context.profile.identifier_types.get(sent) or IDENTIFIER_TYPES.get(sent.upper())
    return kind(known, sent) if known else kind(sent)


@lru_cache(maxsize=64)
def cx(default_type: str | None = None, *, use: str | None = None, patient: bool = True) -> Made:
    """An Identifier of a CX: of a patient, else of an order or a visit."""

    def convert(context: Context, raw: str) -> Element | None:
        parts = context.parts(raw)
        value = context.plain(parts[0]).strip()
        if not value:
            return None
        count = len(parts)
        made: Element = {"use": use} if use else {}
        told = _kind(context, parts[4]) if count > 4 and parts[4] else None  # noqa: PLR2004 -- CX.5
        if told is None and default_type:
            told = kind(default_type)
        if told is not None:
            made["type"] = told
        assigning = parts[3] if count > 3 else ""  # noqa: PLR2004 -- CX.4
        system = authority(context, assigning, separator=context.subcomponent) if assigning else ""
        if not system:
            system = _default(context, told, patient=patient)
        if system:
            made["system"] = system
        made["value"] = value
        if count > 5:  # noqa: PLR2004 -- CX.6 and what follows
            _further(context, parts, made)
        return made

    return convert


def _default(context: Context, told: Element | None, *, patient: bool) -> str:
    if not patient:
        return context.profile.default_order_authority or ""
    if told is not None and told["coding"][0]["code"] == "SS":
        return SSN
    return context.profile.default_authority or ""


def _further(context: Context, parts: list[str], made: Element) -> None:
    assigner = context.plain(parts[5].partition(context.subcomponent)[0]).strip()
    if assigner:
        made["assigner"] = {"display": assigner}
    period: dict[str, Any] = {}
    for name, at in (("start", 6), ("end", 7)):
        if len(parts) > at and parts[at] and (when := context.times(parts[at])):
            period[name] = when
    if period:
        made["period"] = period


@lru_cache(maxsize=16)
def ei(code: str | None = None, *, nested: bool = False) -> Made:
    """Converter of an EI to an Identifier; `nested`: the parts of the EI are subcomponents."""

    def convert(context: Context, raw: str) -> Element | None:
        separator = context.subcomponent if nested else context.component
        value, _, rest = raw.partition(separator)
        value = context.plain(value).strip()
        if not value or value == '""':
            return None
        made: Element = {"type": kind(code)} if code else {}
        system = authority(context, rest, separator=separator) if rest else ""
        system = system or context.profile.default_order_authority or ""
        if system:
            made["system"] = system
        made["value"] = value
        return made

    return convert


def eip(placer: str = "PLAC", filler: str = "FILL") -> tuple[Made, Made]:
    """Converters of the two numbers of an EIP."""
    first, second = ei(placer, nested=True), ei(filler, nested=True)

    def of_placer(context: Context, raw: str) -> Element | None:
        return first(context, context.parts(raw)[0])

    def of_filler(context: Context, raw: str) -> Element | None:
        parts = context.parts(raw)
        return second(context, parts[1]) if len(parts) > 1 else None

    return of_placer, of_filler
