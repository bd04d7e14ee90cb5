"""What R4's datatypes ask of any element, whatever resource it stands in: one walk, a table of rules by name.

Who pushes a report, or anything by itself, is told of each fault. A report's companions are kept with theirs.
Profiles and terminology are nobody's business here. https://hl7.org/fhir/R4/datatypes.html
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any, Final

from store.fhir.datatypes import Number
from store.fhir.instants import parse
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.fhir.datatypes import Json, JsonObject

    Where = tuple[Any, str] | None
    """The place of an element as links to its parents; spelled only when there is something to say."""
    Rule = Callable[[Json], str | None]
    """What the value breaks, or None."""

ISSUES_MAX: Final = 100
"""Issues told of one resource."""
DEPTH_MAX: Final = 100
"""Levels of elements. R4 has about ten."""
DATA_MAX: Final = 1_000_000
"""Characters of Base64 that are looked at here; what is larger is decoded where it is stored."""
BLANKS: Final = ("must not be an empty string", "must not be null")
"""What `tolerances.without_blanks` mends."""
EMPTY: Final = "must not be empty"
"""https://hl7.org/fhir/R4/json.html: an array or object has content or is left out."""

_OID: Final = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_DAY: Final = len("2026-11-22")
_DATE: Final = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?", re.ASCII)
_ACTIVE: Final = re.compile(
    r"<\s*/?\s*(?:script|iframe|object|embed|applet|form|input|button|link|style|meta|base|head|body|html)\b"
    r"|<[^>]*\s(?:on[a-z]+\s*=|(?:href|src)\s*=\s*[\"']?\s*(?:javascript|vbscript):)",
    re.IGNORECASE,
)
_OTHER_VERSIONS: Final[Mapping[str, frozenset[str]]] = {
    "DiagnosticReport": frozenset(
        "codedDiagnosis image context request composition note supportingInfo study procedure".split()
    ),
}
"""Elements that STU3 or R5 have and R4 has not: a report of another version is not what it seems."""
_REFERENCES: Final[Mapping[str, frozenset[str]]] = {
    "DiagnosticReport": frozenset(
        "basedOn subject encounter performer resultsInterpreter specimen result imagingStudy".split()
    ),
}
"""Elements that are a Reference, or several."""
_REFERENCE: Final = frozenset({"reference", "type", "identifier", "display", "id", "extension"})
_INSTANTS: Final[Mapping[str, frozenset[str]]] = {
    "DiagnosticReport": frozenset({"issued"}),
    "Observation": frozenset({"issued"}),
}
"""Elements that are an instant; `Contract.issued` is a date."""
_ATTACHMENTS: Final = frozenset({"attachment", "presentedForm", "photo", "valueAttachment", "content"})


def faults(resource: JsonObject) -> tuple[Issue, ...]:
    """All that is wrong with the structure of a resource, at most `ISSUES_MAX` of it. No value is quoted."""
    found: list[Issue] = []
    resource_type = str(resource.get("resourceType"))
    _of_type(resource, resource_type, found)
    _object(resource, (None, resource_type), found, 0)
    return tuple(found[:ISSUES_MAX])


def _of_type(resource: JsonObject, resource_type: str, found: list[Issue]) -> None:
    for name in _OTHER_VERSIONS.get(resource_type, frozenset()) & resource.keys():
        _tell(found, (None, resource_type), name, "is not an element of R4", "structure")
    for name in _REFERENCES.get(resource_type, frozenset()) & resource.keys():
        value = resource[name]
        for one in value if isinstance(value, list) else [value]:
            strange = isinstance(one, dict) and any(
                key not in _REFERENCE and not key.startswith("_") for key in one
            )
            if strange:
                _tell(found, (None, resource_type), name, "must be a Reference", "structure")
    for name in _INSTANTS.get(resource_type, frozenset()) & resource.keys():
        broken = _instant(resource[name])
        if broken is not None:
            _tell(found, (None, resource_type), name, broken)


def _tell(found: list[Issue], where: Where, name: str, rule: str, code: str = "value") -> None:
    if len(found) <= ISSUES_MAX:
        path = _spelled((where, name))
        found.append(Issue(code, f"`{path}` {rule}", (path,)))


def _spelled(where: Where) -> str:
    names = []
    while where is not None:
        names.append(where[1])
        where = where[0]
    return ".".join(reversed(names)).replace(".[", "[")


def _object(element: JsonObject, where: Where, found: list[Issue], depth: int) -> None:
    if depth > DEPTH_MAX:
        _tell(
            found, where[0] if where else None, where[1] if where else "", "is nested too deep", "structure"
        )
        return
    if "resourceType" in element and "text" in element and (broken := _narrative(element["text"])):
        _tell(found, where, "text", broken)
    for name, value in element.items():
        rule = _RULES.get(name)
        broken = rule(value) if rule is not None else None
        if broken is not None:
            _tell(found, where, _told(name), broken)
        if value is None or value == "":
            _tell(found, where, _told(name), BLANKS[value is None])
        elif value == {}:
            _tell(found, where, _told(name), EMPTY)
        elif type(value) is dict:
            _object(value, (where, _told(name)), found, depth + 1)
        elif type(value) is list:
            _list(value, where, _told(name), found, depth + 1)


def _list(values: list[Json], where: Where, name: str, found: list[Issue], depth: int) -> None:
    if not values:
        _tell(found, where, name, EMPTY)
    rule = _RULES_OF_ONE.get(name)
    for number, value in enumerate(values):
        if type(value) is dict:
            broken = rule(value) if rule is not None else None
            at = (where, f"{name}[{number}]")
            if broken is not None:
                _tell(found, *at, broken)
            if value:
                _object(value, at, found, depth + 1)
            else:
                _tell(found, *at, EMPTY)


_NAME: Final = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


def _told(name: str) -> str:
    """A name as it may be told: one that is none of FHIR's might be a value that slipped."""
    return name if _NAME.fullmatch(name) else "…"


# --- the rules


def _instant(value: Json) -> str | None:
    if isinstance(value, str) and _INSTANT.fullmatch(value) and _is_date(value):
        return None
    return "must be an instant: date, time and zone"


def _date_time(value: Json) -> str | None:
    return None if isinstance(value, str) and _is_date(value) else "must be a date, or a date and time"


def _date(value: Json) -> str | None:
    good = isinstance(value, str) and _DATE.fullmatch(value) and _is_date(value)
    return None if good else "must be a date"


def _is_date(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _oid(value: Json) -> str | None:
    return None if isinstance(value, str) and _OID.fullmatch(value) else "must be an OID: urn:oid:…"


def _text(value: Json) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _boolean(value: Json) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _number(value: Json) -> str | None:
    good = isinstance(value, int | float | Number) and not isinstance(value, bool)
    return None if good else "must be a number"


def _complex(value: Json) -> str | None:
    return None if isinstance(value, dict) else "must be an object"


def _narrative(value: Json) -> str | None:
    div = value.get("div") if isinstance(value, dict) else None
    if not isinstance(div, str) or not isinstance(value, dict) or "status" not in value:
        return "must have `status` and `div`"
    if not div.lstrip().startswith("<div"):
        return "must have a `div` that is XHTML"
    return "must not have active content" if _ACTIVE.search(div) else None


def _period(value: Json) -> str | None:
    if not isinstance(value, dict):
        return None
    start, end = value.get("start"), value.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    try:
        first, last = parse(start), parse(end)
    except ValueError:
        return "must have dates"
    # A day and a time within it cannot be compared, so per-1 does not hold; months and years of a period
    # that is known roughly are taken as they are meant.
    day = len(start) == _DAY and "T" in end
    after = first.end > last.end if day else first.start >= last.end
    return "must start before it ends" if after else None


def _attachment(value: Json) -> str | None:
    if not isinstance(value, dict) or "data" not in value:
        return None
    data, size = value["data"], value.get("size")
    if not isinstance(data, str):
        return "must have Base64 text for `data`"
    if "contentType" not in value:
        return "must have a `contentType` beside `data`"
    if len(data) > DATA_MAX:
        return None
    try:
        length = len(binascii.a2b_base64("".join(data.split()), strict_mode=True))
    except (ValueError, binascii.Error):
        return "must have Base64 text for `data`"
    if size is not None and (isinstance(size, bool) or size != length):
        return "must have the `size` of its data"
    return None


def _meta(value: Json) -> str | None:
    if not isinstance(value, dict):
        return None  # Said by `validate`.
    if not isinstance(value.get("source", ""), str):
        return "must have a URI for `source`"
    if any(not isinstance(value.get(name, []), list) for name in ("profile", "security", "tag")):
        return "must have lists for `profile`, `security` and `tag`"
    return None


_RULES: Final[Mapping[str, Rule]] = {
    "valueInstant": _instant,
    "valueDateTime": _date_time,
    "valueDate": _date,
    "valueOid": _oid,
    "valueBoolean": _boolean,
    "valueInteger": _number,
    "valueDecimal": _number,
    **dict.fromkeys(("valueString", "valueUri", "valueUrl", "valueCode", "valueId"), _text),
    **dict.fromkeys(("valueReference", "valueCoding", "valueCodeableConcept", "valueQuantity"), _complex),
    **dict.fromkeys(("period", "effectivePeriod", "valuePeriod", "performedPeriod"), _period),
    **dict.fromkeys(_ATTACHMENTS, _attachment),
    "meta": _meta,
}
"""By the name of the element: R4 gives these names to one datatype each."""
_RULES_OF_ONE: Final[Mapping[str, Rule]] = {
    "period": _period,
    **dict.fromkeys(_ATTACHMENTS, _attachment),
}
"""The same for the members of a list."""
