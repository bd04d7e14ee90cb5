"""Rules of R4's datatypes for any element, whatever resource it stands in: a table of rules by name.

Who pushes a report, or anything by itself, is told of each fault. A report's companions are kept with theirs.
Profiles and terminology are nobody's business here. https://hl7.org/fhir/R4/datatypes.html
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.validation.narratives import is_active
from store.fhir.datatypes import Number, listed
from store.fhir.elements import EMPTY_TEXT, FAULTS_MAX, NULL, TOO_DEEP, Rules, walk
from store.fhir.instants import parse
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from store.fhir.datatypes import Json, JsonObject
    from store.fhir.elements import Rule

ISSUES_MAX: Final = FAULTS_MAX
"""Issues told of one resource."""
_BLANKS: Final = frozenset({EMPTY_TEXT, NULL})
_NOT_R4: Final = "is not an element of R4"
_NOT_BASE64: Final = "must have Base64 text for `data`"
_NOT_A_REFERENCE: Final = "must be a Reference"
_OID: Final = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9]\d*))+", re.ASCII)
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_DAY: Final = len("2026-11-22")
_DATE: Final = re.compile(r"\d{4}(?:-\d\d(?:-\d\d)?)?", re.ASCII)
_OTHER_VERSIONS: Final[Mapping[str, frozenset[str]]] = {
    "DiagnosticReport": frozenset(
        "codedDiagnosis image context request composition note supportingInfo study procedure".split()
    ),
}
"""Elements that STU3 or R5 have and R4 has not: a report of another version is not what it seems."""
_REFERENCES: Final[Mapping[str, Sequence[str]]] = {
    "DiagnosticReport": (
        "basedOn subject encounter performer resultsInterpreter specimen result imagingStudy".split()
    ),
}
"""Elements that are a Reference, or several."""
_CODES: Final = dict.fromkeys((TOO_DEEP, _NOT_R4, _NOT_A_REFERENCE), "structure")
"""Rules that are not about a value."""
_REFERENCE: Final = frozenset({"reference", "type", "identifier", "display", "id", "extension"})
_INSTANTS: Final[Mapping[str, frozenset[str]]] = {
    "DiagnosticReport": frozenset({"issued"}),
    "Observation": frozenset({"issued"}),
}
"""Elements that are an instant; `Contract.issued` is a date."""
_ATTACHMENTS: Final = frozenset({"attachment", "presentedForm", "photo", "valueAttachment", "content"})


class Survey(NamedTuple):
    """Findings of the walk through a resource."""

    faults: tuple[Issue, ...]
    """All that is wrong with its structure, at most `ISSUES_MAX` of it. No value is quoted."""
    said: Sequence[str]
    """Texts for people: `store.search.index` takes them from here."""
    blank: bool = False
    """Whether an element is an empty text or null: `tolerances.without_blanks` mends that."""


def survey(resource: JsonObject) -> Survey:
    """Walk through all elements, once."""
    resource_type = str(resource.get("resourceType"))
    walked = walk(resource, _RULES, name=resource_type)
    found = [_issue(*fault) for fault in walked.faults]
    blank = any(rule in _BLANKS for _, rule in walked.faults)
    return Survey((*_of_type(resource, resource_type), *found)[:ISSUES_MAX], walked.said, blank)


def faults(resource: JsonObject) -> tuple[Issue, ...]:
    """Issues of the structure of a resource."""
    return survey(resource).faults


def _of_type(resource: JsonObject, resource_type: str) -> Iterator[Issue]:
    if resource_type in _OTHER_VERSIONS:
        for name in [name for name in resource if name in _OTHER_VERSIONS[resource_type]]:
            yield _issue(f"{resource_type}.{name}", _NOT_R4)
    for name in _REFERENCES.get(resource_type, ()):
        for one in listed(resource.get(name)):
            if isinstance(one, dict) and not (one.keys() <= _REFERENCE or _is_reference(one)):
                yield _issue(f"{resource_type}.{name}", _NOT_A_REFERENCE)
    for name in _INSTANTS.get(resource_type, ()):
        broken = _instant(resource[name]) if name in resource else None
        if broken is not None:
            yield _issue(f"{resource_type}.{name}", broken)


def _is_reference(element: JsonObject) -> bool:
    return all(name in _REFERENCE or name.startswith("_") for name in element)


def _issue(path: str, rule: str) -> Issue:
    return Issue(_CODES.get(rule, "value"), f"`{path}` {rule}", (path,))


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
    return "must not have active content, or tags too broken to tell" if is_active(div) else None


def _period(value: Json) -> str | None:
    if not isinstance(value, dict):
        return None
    start, end = value.get("start"), value.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    try:
        return "must start before it ends" if is_reversed(start, end) else None
    except ValueError:
        return "must have dates"


def is_reversed(start: str, end: str) -> bool:
    """Whether a Period of them breaks R4's per-1. Raises ValueError for what is no date."""
    first, last = parse(start), parse(end)
    # A day and a time within it cannot be compared, so per-1 does not hold; months and years of a period
    # that is known roughly are taken as they are meant.
    is_within_day = len(start) == _DAY and "T" in end
    return first.end > last.end if is_within_day else first.start >= last.end


def _attachment(value: Json) -> str | None:
    if not isinstance(value, dict) or "data" not in value:
        return None
    data, size = value["data"], value.get("size")
    if not isinstance(data, str):
        return _NOT_BASE64
    if "contentType" not in value:
        return "must have a `contentType` beside `data`"
    length = decoded_length(data)
    if length is None:
        return _NOT_BASE64
    if size is not None and (isinstance(size, bool) or size != length):
        return "must have the `size` of its data"
    return None


def decoded_length(data: str) -> int | None:
    """Number of bytes that Base64 stands for, white space left out as R4 has it; None: it is no Base64."""
    try:
        return len(binascii.a2b_base64("".join(data.split()), strict_mode=True))
    except ValueError:
        return None


def _base64(value: Json) -> str | None:
    return None if isinstance(value, str) and decoded_length(value) is not None else "must be Base64"


def _signature(value: Json) -> str | None:
    data = value.get("data", "") if isinstance(value, dict) else ""
    return _NOT_BASE64 if _base64(data) else None


def _meta(value: Json) -> str | None:
    if not isinstance(value, dict):
        return None  # Said by `validate`.
    if not isinstance(value.get("source", ""), str):
        return "must have a URI for `source`"
    if any(not isinstance(value.get(name, []), list) for name in ("profile", "security", "tag")):
        return "must have lists for `profile`, `security` and `tag`"
    return None


_OF_VALUE: Final[Mapping[str, Rule]] = {
    "valueInstant": _instant,
    "valueDateTime": _date_time,
    "valueDate": _date,
    "valueOid": _oid,
    "valueBoolean": _boolean,
    "valueInteger": _number,
    "valueDecimal": _number,
    **dict.fromkeys(("valueString", "valueUri", "valueUrl", "valueCode", "valueId"), _text),
    **dict.fromkeys(("valueReference", "valueCoding", "valueCodeableConcept", "valueQuantity"), _complex),
    "effectivePeriod": _period,
    **dict.fromkeys(_ATTACHMENTS, _attachment),
    **dict.fromkeys(("valueBase64Binary", "carrierAIDC"), _base64),
    **dict.fromkeys(("signature", "valueSignature"), _signature),
    "meta": _meta,
}
_OF_MEMBER: Final[Mapping[str, Rule]] = {
    "signature": _signature,
    **dict.fromkeys(_ATTACHMENTS, _attachment),
}
_RULES: Final = Rules(_OF_VALUE, _OF_MEMBER, _narrative)
