"""The compiled table stores what the table read plainly asks for, whatever stands in a resource."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.search.index import index
from store.search.parameters import TYPES
from tests.oracle.search import indexing
from tests.support.examples import EXAMPLES
from tests.support.reports import BASE

Json = dict[str, Any]
OWN: Final = [name for name, row in TYPES.items() if row.parameters]
_PATIENT: Final[Json] = {
    "resourceType": "Patient",
    "id": "in",
    "identifier": [{"system": "urn:i", "value": "IN"}],
}
_VALUES: Final[tuple[Any, ...]] = (
    {"reference": "Patient/1"},
    {"reference": "Patient/1", "display": "One"},
    {"reference": "Patient/1/_history/2", "type": "Patient"},
    {"reference": f"{BASE}/Practitioner/1"},
    {"reference": "#in"},
    {"reference": "urn:uuid:1", "identifier": {"system": "urn:i", "value": "a|b\\c&d=e"}},
    {"display": "somebody"},
    {"coding": [{"system": "urn:S", "code": "A|B\\"}, {"code": "b", "display": "Bé"}], "text": "Text, more"},
    {"coding": [{"system": "urn:S", "code": "A"}]},
    {"system": "urn:s", "code": "C", "display": "Display"},
    {"system": "phone", "value": "555"},
    {"type": {"coding": [{"system": "urn:t", "code": "MR"}], "text": "Number"}, "value": "1"},
    {"value": 5, "unit": "mg", "system": "urn:u", "code": "mg", "comparator": "<"},
    {"start": "2020-01-01", "end": "2021"},
    {"event": ["2020-01-01", "2022"]},
    {"family": "Testová", "given": ["A", "B"], "text": "all"},
    "2020-03-01",
    "text",
    "<div>x &amp; y</div>",
    True,
    False,
    7,
    None,
    [],
    {},
    [[{}]],
)
"""Values of every shape that a search type reads, and of some that none does."""


def same(resource: Json, resource_type: str) -> None:
    """Equal in all that is stored, and in what cannot be."""
    compiled = index(resource, resource_type, base=BASE)
    plain = indexing.index(resource, resource_type, base=BASE)
    said = {issue.expression[0] for issue in compiled.issues}
    assert said == {f"{resource_type}.{place.lstrip('.')}" for place in plain.places}
    read = {
        name: held for name, held in compiled.fields.items() if re.split("[:>]", name)[0] not in plain.unread
    }
    assert read == plain.fields
    if not said:
        assert compiled.when == plain.when
        assert sorted(compiled.keys) == sorted(plain.keys)


@pytest.mark.parametrize("resource_type", OWN)
def test_an_example_with_every_element(resource_type: str) -> None:
    same({"resourceType": resource_type, **EXAMPLES[resource_type].elements}, resource_type)


@settings(max_examples=400)
@given(st.sampled_from(OWN), st.data())
def test_elements_of_any_shape_in_any_order(resource_type: str, data: st.DataObject) -> None:
    names = st.sampled_from(sorted({path.first for row in TYPES[resource_type].rows for path in row.paths}))
    chosen = data.draw(st.lists(names, unique=True, max_size=6))
    value = st.sampled_from(_VALUES) | st.lists(st.sampled_from(_VALUES), max_size=3)
    resource: Json = {"resourceType": resource_type, "contained": [_PATIENT]}
    for name in chosen:
        within = [one for row in TYPES[resource_type].rows for one in row.paths if one.first == name]
        resource[name] = _at(data.draw(st.sampled_from(within)).below, data.draw(value), data)
    same(resource, resource_type)


def _at(below: tuple[str, ...], value: Any, data: st.DataObject) -> Any:
    """A value at the end of a path, or in the middle of it."""
    for name in reversed(below):
        inner: Json = {name: value}
        value = data.draw(st.sampled_from([inner, [inner], [inner, {**inner, "code": {"text": "x"}}], value]))
    return value


def test_what_is_remembered_is_not_shared() -> None:
    resource = {"resourceType": "Observation", **EXAMPLES["Observation"].elements}
    first, second = (index(resource, "Observation").fields for _ in range(2))
    assert all(
        a is not b for a, b in zip(first.values(), second.values(), strict=True) if isinstance(a, list)
    )
