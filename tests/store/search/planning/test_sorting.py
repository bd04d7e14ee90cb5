"""The fields a search is sorted by; what they come to is shown on a real MongoDB.

https://hl7.org/fhir/R4/search.html#sort
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from store.search.parameters import TYPES
from store.search.planning.sorting import order_of
from tests.support.fhir import coded, refers, resource
from tests.support.reports import query_of
from tests.support.store import LAB, asked, found, ids, mongo_store, put

if TYPE_CHECKING:
    from store.mongo.driver.client import Database

DR = "DiagnosticReport"


def fields(*pairs: tuple[str, str], type: str = DR) -> str:
    """The fields as they would stand in `_sort`."""
    return ",".join(
        ("-" if down < 0 else "") + name for name, down in order_of(query_of(*pairs, type=type)).fields
    )


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        pytest.param([], "-when.lo,-id", id="newest first"),
        pytest.param([("_lastUpdated", "gt2020")], "updated.lo,id", id="a poll"),
        pytest.param([("_lastUpdated", "gt2020"), ("patient", "p")], "-when.lo,-id", id="no poll"),
        pytest.param([("_sort", "date")], "when.lo,id", id="up"),
        pytest.param([("_sort", "-date,issued")], "-when.lo,index.issued.lo,id", id="both ways"),
        pytest.param([("_sort", "date,-date")], "when.lo,id", id="of two keys on a field the first"),
        pytest.param([("_sort", "-_id,date")], "-id", id="nothing behind the id"),
        pytest.param([("_sort", "-status")], "-sort:status,-id", id="computed"),
        pytest.param([("_sort", "context,-encounter")], "sort:encounter,id", id="an alias is its parameter"),
        pytest.param([("_sort", "patient,subject")], "sort:patient,sort:subject,id", id="same element"),
    ],
)
def test_fields(pairs: list[tuple[str, str]], expected: str) -> None:
    assert fields(*pairs) == expected


@pytest.mark.parametrize("type", ["DiagnosticReport", "Patient", "Observation", "Encounter"])
def test_every_sortable_parameter_has_a_field(type: str) -> None:
    for name, row in TYPES[type].by_name.items():
        if row.sortable:
            order = order_of(query_of(("_sort", name), type=type))
            assert len(order.fields) == (1 if name == "_id" else 2)
            assert set(order.computed) <= {field for field, _ in order.fields}


def quantity(value: float, **more: str) -> dict[str, Any]:
    return {"valueQuantity": {"value": value, **more}}


def systems(*codes: str) -> dict[str, Any]:
    return {"coding": [{"system": "urn:z", "code": code} for code in codes]}


SORTED: list[tuple[str, str, list[dict[str, Any]], str, str]] = [
    # Type, key, the resources a, b, c … in turn, and their order up and down.
    ("Patient", "family", [{"name": [{"family": f}]} for f in ("Ö", "a", "O b", "Z")], "bacd", "dcab"),
    (
        "Patient",
        "family",
        [{"name": [{"family": "m"}, {"family": "a"}]}, {"name": [{"family": "c"}]}],
        "ab",
        "ab",
    ),
    ("Patient", "family", [{"name": [{"family": "b"}]}, {}, {"name": [{"family": "a"}]}], "bca", "acb"),
    ("Patient", "gender", [{"gender": "male"}, {"gender": "female"}, {}], "cba", "abc"),
    ("Patient", "deceased", [{"deceasedBoolean": True}, {}, {"deceasedDateTime": "2020"}], "bac", "cab"),
    (
        "Observation",
        "code",
        [{"code": systems("b")}, {"code": coded("A")}, {"code": systems("c", "0")}],
        "cba",
        "cab",
    ),
    ("Observation", "value-quantity", [quantity(10), quantity(9), {}, quantity(-1)], "cdba", "abdc"),
    ("Observation", "value-quantity", [quantity(5), quantity(7, comparator="<"), quantity(9)], "bac", "cba"),
    ("Observation", "value-quantity", [quantity(5), quantity(1, comparator=">"), quantity(9)], "bac", "bca"),
    (
        "Observation",
        "subject",
        [{"subject": refers("Patient/2")}, {"subject": refers("Group/3")}, {}],
        "cba",
        "abc",
    ),
    (
        "Observation",
        "_profile",
        [{"meta": {"profile": ["urn:b", "urn:d"]}}, {"meta": {"profile": ["urn:c"]}}],
        "ab",
        "ab",
    ),
    (
        "Encounter",
        "date",
        [{"period": {"start": "2020", "end": "2023"}}, {"period": {"start": "2021"}}, {}],
        "cab",
        "bac",
    ),
]


@pytest.mark.parametrize(("type", "key", "elements", "up", "down"), SORTED)
async def test_sorted_by_a_value(
    database: Database, type: str, key: str, elements: list[dict[str, Any]], up: str, down: str
) -> None:
    store = mongo_store(database)
    await put(store, *(resource(type, id, **more) for id, more in zip("abcd", elements, strict=False)))
    assert "".join(await found(store, f"_sort={key}", type=type)) == up
    assert "".join(await found(store, f"_sort=-{key}", type=type)) == down
    for sort, whole in ((key, up), (f"-{key}", down)):
        seen, position = "", None
        while True:
            page = await store.search(LAB, asked(f"_sort={sort}", type=type, count=1, position=position))
            seen += "".join(ids(page.entries))
            position = page.next
            if position is None:
                break
        assert seen == whole
