"""A result's Value, by its ValueType, as value[x] of an Observation, and back. Pure."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.data_model.codecs import TIME, codings_of, datetimes
from ingest.data_model.places import place
from ingest.data_model.table import URN
from ingest.hl7v2.mapping.context import extension, number_of
from store.fhir.datatypes import Number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo

    from ingest.data_model.places import Element

DOCUMENTS: Final = frozenset({"Encapsulated Data", "Reference Pointer"})
"""ValueTypes whose values are documents: they are presented by the report."""
_NUMBER: Final = r"[+-]?\d+(?:\.\d+)?"
_COMPARED: Final = re.compile(rf"(<=|>=|<|>)\s*({_NUMBER})")
_BETWEEN: Final = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})")
_RATIO: Final = re.compile(rf"({_NUMBER})\s*([:/])\s*({_NUMBER})")
_PARTS: Final = ("Value", "ValueType", "Units")


class Valued(NamedTuple):
    """A value of the Data Model."""

    value: str | None = None
    type: str | None = None
    units: str | None = None


Made = tuple[str, Any]
"""An element's name and its value."""


def _quantity(text: str, units: str | None) -> Element | None:
    number = number_of(text)
    if number is None:
        return None
    return {"value": number, **({"unit": units} if units else {})}


def _numeric(text: str, units: str | None) -> Made | None:
    """A quantity, with the comparator that measurements beyond their range have."""
    match = _COMPARED.fullmatch(text)
    found = _quantity(match[2] if match else text, units)
    if found is None:
        return None
    return "valueQuantity", {**found, "comparator": match[1]} if match else found


def _structured(text: str, units: str | None) -> Made | None:
    if match := _BETWEEN.fullmatch(text):
        return "valueRange", {"low": _quantity(match[1], units), "high": _quantity(match[2], units)}
    if match := _RATIO.fullmatch(text):
        return "valueRatio", {
            "numerator": _quantity(match[1], units),
            "denominator": _quantity(match[3], None),
        }
    return _numeric(text, units)


def _concept(text: str, _: str | None) -> Made:
    coded = {} if " " in text else {"coding": [{"code": text}]}
    return "valueCodeableConcept", {**coded, "text": text}


def _moment(text: str, zone: tzinfo) -> Made | None:
    found = datetimes(zone).to_fhir(text)
    return ("valueDateTime", found) if found else None


def _clock(text: str, _: str | None) -> Made | None:
    found = TIME.to_fhir(text)
    return ("valueTime", found) if found else None


VALUES: Final[Mapping[str, Callable[[str, str | None], Made | None]]] = {
    "Numeric": _numeric,
    "Money": _numeric,
    "Price": _numeric,
    "Structured Numeric": _structured,
    "Coded Entry": _concept,
    "Time": _clock,
}
"""Values by ValueType, but times; of any other the value is a text."""
_MOMENTS: Final = ("Date", "DateTime")
_KINDS: Final = {one.casefold(): one for one in (*VALUES, *_MOMENTS, *DOCUMENTS)}


def kind_of(sent: str | None) -> str:
    """The ValueType that a word is, whatever its capitals."""
    word = (sent or "").strip()
    return _KINDS.get(word.casefold(), word)


def is_word(sent: str | None, word: str) -> bool:
    """Whether a text is a word, whatever its capitals."""
    return (sent or "").strip().casefold() == word.casefold()


def made_of(valued: Valued, zone: tzinfo = UTC) -> Made | None:
    """The element that a value becomes; None: there is no value."""
    text = valued.value
    if text is None:
        return None
    kind = kind_of(valued.type)
    if kind in _MOMENTS:
        found = _moment(text.strip(), zone)
    else:
        convert = VALUES.get(kind)
        found = convert(text.strip(), valued.units) if convert else None
    return found or ("valueString", text)


def write_value(valued: Valued, observation: Element, zone: tzinfo = UTC) -> None:
    """Set value[x]; what it does not say as it was sent stands beside it."""
    made = made_of(valued, zone)
    if made is not None:
        observation[made[0]] = made[1]
    shown = _shown(made)
    for name, sent, said in zip(_PARTS, valued, shown, strict=True):
        if sent is not None and sent != said:
            observation.setdefault("extension", []).append(extension(URN + name, "String", sent))


def read_value(observation: Element) -> Valued:
    """The value of an Observation, of whatever source."""
    found = next(((name, observation[name]) for name in _READERS if name in observation), None)
    shown = _shown(found)
    sent = Valued(*(_sent(observation, name) for name in _PARTS))
    told = Valued(*(one if one is not None else said for one, said in zip(sent, shown, strict=True)))
    return told if made_of(told) == found else shown


def _sent(observation: Element, name: str) -> str | None:
    found = place(f"extension[url={URN}{name}].valueString").get(observation)
    return found if isinstance(found, str) else None


def _shown(made: Made | None) -> Valued:
    return Valued() if made is None else _READERS[made[0]](made[1])


def _digits(quantity: Any) -> str:  # noqa: ANN401 -- JSON
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return value.text if isinstance(value, Number) else "" if value is None else str(value)


def _unit(quantity: Any) -> str | None:  # noqa: ANN401 -- JSON
    if not isinstance(quantity, dict):
        return None
    found = quantity.get("unit") or quantity.get("code")
    return found if isinstance(found, str) else None


def _of_quantity(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    comparator = value.get("comparator") if isinstance(value, dict) else None
    kind = "Structured Numeric" if comparator else "Numeric"
    return Valued(f"{comparator or ''}{_digits(value)}" or None, kind, _unit(value))


def _of_range(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    low, high = value.get("low"), value.get("high")
    return Valued(f"{_digits(low)}-{_digits(high)}", "Structured Numeric", _unit(low) or _unit(high))


def _of_ratio(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    upper, lower = value.get("numerator"), value.get("denominator")
    return Valued(f"{_digits(upper)}:{_digits(lower)}", "Structured Numeric", _unit(upper))


def _of_concept(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    said = [one.get("display") or one.get("code") for one in codings_of(value)]
    text = value.get("text") or next((one for one in said if one), None)
    return Valued(text, "Coded Entry")


def _of_period(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    return Valued(f"{value.get('start', '')}/{value.get('end', '')}", "String")


def _of_moment(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    return Valued(str(value), "DateTime" if "T" in str(value) else "Date")


def _of_number(value: Any) -> Valued:  # noqa: ANN401 -- JSON
    return Valued(value.text if isinstance(value, Number) else str(value), "Numeric")


_READERS: Final[Mapping[str, Callable[[Any], Valued]]] = {
    "valueQuantity": _of_quantity,
    "valueCodeableConcept": _of_concept,
    "valueString": lambda value: Valued(str(value), "String"),
    "valueBoolean": lambda value: Valued("true" if value else "false", "String"),
    "valueInteger": _of_number,
    "valueRange": _of_range,
    "valueRatio": _of_ratio,
    "valueTime": lambda value: Valued(str(value), "Time"),
    "valueDateTime": _of_moment,
    "valuePeriod": _of_period,
}
