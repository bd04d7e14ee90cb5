"""Quantities: implied precision, the nine prefixes against their definition in words, units."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.fhir.datatypes import Malformed, Number
from store.search.values import quantities
from tests.support.filters import matches

if TYPE_CHECKING:
    from collections.abc import Callable

UCUM = "http://unitsofmeasure.org"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("5.4", 5.35, 5.45),
        ("5.40", 5.395, 5.405),
        ("100", 99.5, 100.5),
        ("1e2", 95.0, 105.0),
        ("1.0e2", 95.0, 105.0),
        ("1.00e2", 99.5, 100.5),
        ("10e1", 95.0, 105.0),
        ("2E-2", 0.0195, 0.0205),
        ("-3e1", -30.5, -29.5),
        ("-5", -5.5, -4.5),
        ("ap100", 90.0, 110.0),
        ("ap0.1", 0.05, 0.15),
    ],
)
def test_digits_imply_a_range(text: str, low: float, high: float) -> None:
    value = quantities.parse(text)
    assert (value.low, value.high) == (low, high)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "a quantity is"),
        ("five", "a quantity is"),
        ("5|mg", "a quantity is"),
        ("5|a|b|c", "a quantity is"),
        ("5,4", "a quantity is"),
        ("NaN", "a quantity is"),
        ("xx5", "the prefix must be one of"),
        ("1e9999", "a quantity is"),
    ],
)
def test_refusals(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        quantities.parse(text)


_DEFINITION: dict[str, Callable[[Decimal, Decimal, Decimal], bool]] = {
    "eq": lambda v, a, h: a - h <= v < a + h,
    "ne": lambda v, a, h: not a - h <= v < a + h,
    "gt": lambda v, a, _: v > a,
    "lt": lambda v, a, _: v < a,
    "ge": lambda v, a, _: v >= a,
    "le": lambda v, a, _: v <= a,
    "sa": lambda v, a, _: v > a,
    "eb": lambda v, a, _: v < a,
    "ap": lambda v, a, h: abs(v - a) <= max(h, abs(a) / 10),
}
"""In words: v stored, a asked, h half of the last digit that was written."""
_NUMBERS = st.decimals(-20, 20, places=2)


@pytest.mark.parametrize("prefix", _DEFINITION)
@given(_NUMBERS, _NUMBERS)
def test_a_prefix_is_what_the_definition_says(prefix: str, stored: Decimal, asked: Decimal) -> None:
    held = {"index": {"q": [quantities.index({"value": Number(str(stored))}, "q")]}}
    value = quantities.parse(f"{prefix}{asked}")
    expected = _DEFINITION[prefix](stored, asked, Decimal("0.005"))
    assert matches(held, {"index.q": {"$elemMatch": quantities.to_filter("", value)}}) is expected


@pytest.mark.parametrize(
    "digits",
    ["5.0999999999999996447286321199499070644378", "12345678901234567890", "-0.12345678901234567", "1e-330"],
)
def test_a_number_of_more_digits_than_a_float_has_is_found_by_itself(digits: str) -> None:
    held = {"index": {"q": [quantities.index({"value": Number(digits)}, "q")]}}

    def found(prefix: str) -> bool:
        value = quantities.parse(f"{prefix}{digits}")
        return matches(held, {"index.q": {"$elemMatch": quantities.to_filter("", value)}})

    assert {prefix for prefix in _DEFINITION if found(prefix)} == {"eq", "ge", "le", "ap"}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("5", True),
        (f"5|{UCUM}|mg", True),
        ("5||mg", True),
        ("5||milligram", True),
        (f"5|{UCUM}|", True),
        (f"5|{UCUM}|g", False),
        ("5|urn:other|mg", False),
        ("5||MG", False),
    ],
)
def test_units(asked: str, found: bool) -> None:
    stored: dict[str, Any] = {"value": 5, "unit": "milligram", "system": UCUM, "code": "mg"}
    held = {"index": {"q": [quantities.index(stored, "q")]}}
    value = quantities.parse(asked)
    assert matches(held, {"index.q": {"$elemMatch": quantities.to_filter("", value)}}) is found


@pytest.mark.parametrize(
    ("comparator", "asked", "found"),
    [
        ("<", "lt1", True),
        ("<", "5", False),
        ("<", "gt5", False),
        ("<", "ge5", False),
        ("<", "eb5", True),
        ("<=", "ge5", True),
        ("<=", "eb5", False),
        ("<=", "gt5", False),
        (">", "gt100", True),
        (">", "le5", False),
        (">", "sa5", True),
        (">=", "le5", True),
        (">=", "sa5", False),
        (">=", "lt5", False),
    ],
)
def test_a_stored_comparator_opens_the_range(comparator: str, asked: str, found: bool) -> None:
    held = {"index": {"q": [quantities.index({"value": 5, "comparator": comparator}, "q")]}}
    value = quantities.parse(asked)
    assert matches(held, {"index.q": {"$elemMatch": quantities.to_filter("", value)}}) is found


@pytest.mark.parametrize("value", ["5", True, [], {}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(Malformed):
        quantities.index({"value": value}, "valueQuantity")


def test_a_quantity_without_value_is_not_stored() -> None:
    assert quantities.index({"unit": "mg"}, "valueQuantity") is None
