"""Token search: codes, codings, identifiers. https://hl7.org/fhir/R4/search.html#token

A coding is stored as each spelling a client may ask for, so that matching is plain equality:
`code`, `system|code`, `system|`, and `|code` when there is no system.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import orjson

from store.fhir.datatypes import Malformed, Number, listed, object_of, objects_of, text_of
from store.search.values.escapes import escape, split, unescape
from store.search.values.strings import REMEMBERED, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from store.fhir.datatypes import Json, JsonObject
    from store.search.parameters import Parameter

_V2: Final = "http://terminology.hl7.org/CodeSystem/v2-"
_V3: Final = "http://terminology.hl7.org/CodeSystem/v3-"
_PRE_R4: Final = (
    # Decision D12: one name for a code system, before and after R4 moved the HL7 ones.
    ("http://hl7.org/fhir/v2/", _V2),
    ("http://hl7.org/fhir/v3/", _V3),
    ("http://hl7.org/fhir/ValueSet/v2-", _V2),
    ("urn:oid:2.16.840.1.113883.12.", _V2),
)
_MOVED: Final = frozenset(
    f"http://hl7.org/fhir/{name}"
    for name in (
        "admit-source",
        "contactentity-type",
        "data-absent-reason",
        "diagnosis-role",
        "diet",
        "discharge-disposition",
        "encounter-type",
        "location-physical-type",
        "media-category",
        "media-modality",
        "media-type",
        "observation-category",
        "observation-statistics",
        "organization-type",
        "practitioner-role",
        "provenance-participant-type",
        "referencerange-meaning",
        "service-category",
        "service-type",
        "subscriber-relationship",
    )
)
"""Code systems of STU3 that R4 moved to terminology.hl7.org under the same name."""


def canonical_system(system: str) -> str:
    """The R4 URI of an HL7 code system that goes by an older one; any other system unchanged."""
    if system in _MOVED:
        return "http://terminology.hl7.org/CodeSystem/" + system.rpartition("/")[2]
    for old, new in _PRE_R4:
        if system.startswith(old):
            name = system[len(old) :]
            if name and "/" not in name and not (new == _V2 and not name.isalnum()):
                return new + (name.zfill(4) if name.isdigit() and new == _V2 else name)
    return system


def _spell(system: str | None, code: str | None) -> str:
    if system is None:
        return escape(code or "")
    return f"{escape(system)}|{escape(code or '')}"


def spellings(system: str | None, code: str | None, *, folded: bool) -> Sequence[str]:
    """Spellings that are stored for a coding or identifier."""
    if folded and code is not None:
        short = len(code) + len(system or "") <= REMEMBERED
        return _folded_spellings(system, code) if short else _spellings(system, code.casefold())
    return _spellings(system, code)


@lru_cache(maxsize=8_192)
def _folded_spellings(system: str | None, code: str) -> Sequence[str]:
    """Codes come from small sets and repeat in each report; identifiers do not, and stay out of memory."""
    return _spellings(system, code.casefold())


def _spellings(system: str | None, code: str | None) -> Sequence[str]:
    if system:
        partial = _partial(system) if len(system) <= REMEMBERED else _spell(canonical_system(system), None)
        if code is None:
            return (partial,)
        code = escape(code)
        return (code, partial + code, partial)
    return () if code is None else (_spell(None, code), _spell("", code))


@lru_cache(maxsize=1_024)
def _partial(system: str) -> str:
    """`system|`, what the spellings of its codes begin with."""
    return _spell(canonical_system(system), None)


def parse(text: str, parameter: Parameter) -> str:
    """Alternative of a query, as the spelling to look for. Raises ValueError with the rule."""
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) > 2:  # noqa: PLR2004 -- system and code
        message = "a token is `code`, `system|code`, `|code` or `system|`"
        raise ValueError(message)
    code = parts[-1].casefold() if parameter.folded else parts[-1]
    if parameter.boolean and code not in ("true", "false"):
        message = "this parameter takes `true` or `false`"
        raise ValueError(message)
    if len(parts) == 1:
        return _spell(None, code)
    if parameter.plain:
        message = "this parameter has no code system: give the value alone"
        raise ValueError(message)
    if not parts[0] and not code:
        message = "a token needs a system or a code"
        raise ValueError(message)
    system = canonical_system(parts[0])
    if code and system == parameter.system:
        return _spell(None, code)  # The one spelling that `index` stores for it.
    return _spell(system, code or None)


def bare(spelling: str) -> str:
    """The code of a spelling without its system: what the `keyed` index holds. Empty for `system|`.

    One entry for each code instead of one for each spelling: the system is tested on what was found.
    """
    return split(spelling, "|")[-1] if "|" in spelling else spelling


def is_bare(spelling: str) -> bool:
    """Whether a spelling is a code alone, so that its entry decides."""
    return "|" not in spelling or len(split(spelling, "|")) == 1


def index(value: Json, parameter: Parameter, path: str) -> Sequence[str]:
    """The stored spellings of a code, boolean, Coding, CodeableConcept, Identifier or ContactPoint."""
    if isinstance(value, dict):
        return _of_object(value, parameter, path)
    if isinstance(value, str):
        return _of_text(value, parameter)
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, int | float | Number) or value is None:
        raise Malformed(path, "must be a code, a Coding, a CodeableConcept or an Identifier")
    raise Malformed(path, "must be an object")


def _of_text(text: str, parameter: Parameter) -> Sequence[str]:
    code = text.casefold() if parameter.folded else text
    if parameter.system is not None:
        return (_spell(None, code), _spell(parameter.system, None))
    return (_spell(None, code),) if parameter.plain else _spellings(None, code)


def _of_object(element: JsonObject, parameter: Parameter, path: str) -> Sequence[str]:
    if "coding" in element:
        codings, at = listed(element["coding"]), f"{path}.coding"
        if len(codings) == 1:
            return _coding(codings[0], at, folded=parameter.folded)
        return [spelling for one in codings for spelling in _coding(one, at, folded=parameter.folded)]
    if "value" in element:
        system = None if parameter.plain else text_of(element, "system", path)
        text = text_of(element, "value", path)
        if parameter.plain:
            return () if text is None else (_spell(None, text.casefold() if parameter.folded else text),)
        return spellings(system, text, folded=parameter.folded)
    return _coding(element, path, folded=parameter.folded)


def present(value: Json, path: str) -> bool:
    """Whether an element that is there is not `false`: so the dateTime of a choice is `true`."""
    if not isinstance(value, bool | str):
        raise Malformed(path, "must be a boolean or a date")
    return value is not False


def texts(values: Iterable[Json]) -> list[str]:
    """The words that `:text` looks at: CodeableConcept.text, Coding.display, Identifier.type.text."""
    said: list[str] = []
    for value in values:
        if isinstance(value, dict):
            _gather(value, said)
    return [word for text in said for word in _words(text)]


def _words(text: str) -> Sequence[str]:
    return _remembered_words(text) if len(text) <= REMEMBERED else words(text)


@lru_cache(maxsize=8_192)
def _remembered_words(text: str) -> Sequence[str]:
    """Displays of codes repeat in each report, as the codes do."""
    return words(text)


def said(value: Json, parameter: Parameter, path: str) -> tuple[Sequence[str], Sequence[str]]:
    """The spellings of a value, and its words.

    Codes come from small sets and repeat in each report, so what they give is remembered by their JSON.
    Identifiers and addresses do not, and stay out of memory.
    """
    if parameter.folded and not parameter.plain:
        if isinstance(value, str):
            if len(value) <= REMEMBERED:
                return _remembered_text(value, parameter), ()
        elif (json := _json(value)) is not None and len(json) <= _JSON_MAX:
            return _remembered_value(json, parameter, path)
    return index(value, parameter, path), texts((value,))


_JSON_MAX: Final = 1_000
"""Bytes of the longest JSON of a coded value that is remembered."""


def _json(value: Json) -> bytes | None:
    """None for what has numbers with digits of their own, or text that cannot be encoded."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return None


@lru_cache(maxsize=4_096)
def _remembered_value(json: bytes, parameter: Parameter, path: str) -> tuple[Sequence[str], Sequence[str]]:
    value = orjson.loads(json)
    return tuple(index(value, parameter, path)), tuple(texts((value,)))


@lru_cache(maxsize=4_096)
def _remembered_text(text: str, parameter: Parameter) -> Sequence[str]:
    return _of_text(text, parameter)


def _gather(element: JsonObject, said: list[str]) -> None:
    if isinstance(text := element.get("text"), str):
        said.append(text)
    if isinstance(display := element.get("display"), str):
        said.append(display)
    for name in ("coding", "type"):
        if name in element:
            for inner in listed(element[name]):
                if isinstance(inner, dict):
                    _gather(inner, said)


def of_type(values: Iterable[Json]) -> list[str]:
    """Entries for `:of-type` of Identifiers: `type-system|type-code|value` for each coding of the type."""
    found: list[str] = []
    for value in values:
        identifier = object_of(value, "identifier")
        text = text_of(identifier, "value", "identifier")
        if text is None or "type" not in identifier:
            continue
        kind = object_of(identifier["type"], "identifier.type")
        for coding in objects_of(kind, "coding", "identifier.type"):
            system = text_of(coding, "system", "identifier.type.coding")
            code = text_of(coding, "code", "identifier.type.coding")
            if system and code:
                found.append(_of_type(system, code, text))
    return found


def _of_type(system: str, code: str, value: str) -> str:
    # The type is a code, so without case; the value belongs to an identifier.
    return f"{spellings(system, code, folded=True)[1]}|{escape(value)}"


def parse_of_type(text: str) -> str:
    """Alternative of `:of-type`, as the spelling to look for. Raises ValueError with the rule."""
    parts = [unescape(part) for part in split(text, "|")]
    if len(parts) != 3 or not all(parts):  # noqa: PLR2004 -- as many as the rule names
        message = "`:of-type` takes `type-system|type-code|value`, all three"
        raise ValueError(message)
    return _of_type(*parts)


def _coding(coding: Json, path: str, *, folded: bool) -> Sequence[str]:
    element = object_of(coding, path)
    return spellings(text_of(element, "system", path), text_of(element, "code", path), folded=folded)
