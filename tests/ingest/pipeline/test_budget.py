"""Number of values of a body, told before it is parsed, and the refusals for it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pipeline import budget
from ingest.pipeline.budget import check_body, check_resources, weigh
from ingest.pipeline.prepare import prepare
from ingest.settings import IngestSettings
from store.errors import Category, ServiceError
from tests.support.fhir import report

SETTINGS = IngestSettings(body_elements_max=5_000, resource_elements_max=1_000)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.text(alphabet='",[{\\', max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='a",[\\', max_size=3), inner),
    max_leaves=60,
)


def count(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(count, value.values()))
    return 1 + sum(map(count, value)) if isinstance(value, list) else 1


@given(value=VALUES, blanks=st.sampled_from([None, 1]), size=st.integers(1, 40))
def test_no_value_is_overlooked_and_texts_are_no_values(value: Any, blanks: int | None, size: int) -> None:
    """Number of values as the budget counts: an empty object or list counts as one that holds something."""
    body = json.dumps(value, indent=blanks, ensure_ascii=False).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(budget, "PIECE_BYTES", size)
        patch.setattr(budget, "LIGHT_ELEMENTS", 0)
        exact = budget._exactly(memoryview(body), 10**9)
        assert count(value) <= exact <= 2 * count(value)
        assert exact <= weigh(body, 10**9).elements
        assert weigh(body, 0).elements <= exact


SHAPES = {
    "objects": b'{"result":[' + b"{}," * 10_000 + b"{}]}",
    "lists": b"[" + b"[]," * 10_000 + b"[]]",
    "nested": b"[" * 10_000 + b"]" * 10_000,
    "numbers": b"[" + b"1," * 10_000 + b"1]",
    "keys": b"{" + b",".join(b'"k%d":1' % n for n in range(10_000)) + b"}",
    "identifiers": b'{"identifier":[' + b'{"value":"1"},' * 10_000 + b"{}]}",
    "no JSON": b"," * 20_000,
    "escapes": b'["\\"",' * 10_000,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_too_many_values_are_refused_early(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "PIECE_BYTES", 4_096)
    weight = weigh(SHAPES[shape] * 20, SETTINGS.body_elements_max)
    with pytest.raises(ServiceError) as refused:
        check_body(weight, SETTINGS.body_elements_max)
    assert refused.value.category is Category.TOO_LARGE
    assert refused.value.issues[0].code == "too-costly"
    assert weight.elements < 2 * 4_096 + SETTINGS.body_elements_max


@pytest.mark.parametrize("text", ["," * 50_000, "[{" * 30_000, '\\"' * 30_000, "\\" * 30_000 + ',"'])
def test_a_long_text_is_one_value(text: str) -> None:
    body = json.dumps({"conclusion": text}).encode()
    check_body(weigh(body, SETTINGS.body_elements_max), SETTINGS.body_elements_max)


def test_each_resource_of_a_bundle_is_bounded() -> None:
    small = {"resource": report("r1")}
    large: dict[str, Any] = {
        "resource": report("r2", result=[{"reference": f"Observation/{n}"} for n in range(1_000)])
    }
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "batch", "entry": [small, small, large]}
    for resource, where in ((bundle, ("Bundle.entry[2]",)), (large["resource"], ())):
        weight = weigh(json.dumps(resource).encode(), SETTINGS.body_elements_max)
        with pytest.raises(ServiceError) as refused:
            check_resources(resource, weight, SETTINGS.resource_elements_max)
        assert (refused.value.category, refused.value.issues[0].expression) == (Category.TOO_LARGE, where)
    many = {**bundle, "entry": [small] * 100}
    check_resources(many, weigh(json.dumps(many).encode(), 10**6), SETTINGS.resource_elements_max)


def test_index_entries_of_a_resource_are_bounded() -> None:
    identifiers = [{"system": "urn:x", "value": str(n)} for n in range(300)]
    resource = report("r1", identifier=identifiers)
    prepare(resource, "r1", base="http://dod.test", entries_max=1_000)
    with pytest.raises(ServiceError) as refused:
        prepare(resource, "r1", base="http://dod.test", entries_max=100)
    assert refused.value.issues[0].code == "too-costly"


@pytest.mark.parametrize(
    ("text", "is_light"),
    [("a" * 50_000, True), ("a" * 70_000, False), ("\ufdfa" * 10_000, False), ("\ufdfa" * 1_000, True)],
    ids=["ASCII", "long", "letters that fold into many", "few of them"],
)
def test_what_takes_long_to_fold_is_not_prepared_on_the_loop(text: str, is_light: bool) -> None:
    body = json.dumps({"conclusion": text}, ensure_ascii=False).encode()
    assert weigh(body, 10**6).is_light is is_light
