"""Each parameter looks where R4 says that its values are."""

from __future__ import annotations

from typing import Any, Final

import pytest

from store.search.parameters import TYPES, SearchType
from store.search.planning.plan import plan
from tests.support.examples import EXAMPLES
from tests.support.filters import find
from tests.support.reports import NOW, TENANT, document_of, query_of

OWN: Final = [name for name, row in TYPES.items() if row.parameters]


def found(type: str, query: str, *resources: dict[str, Any]) -> list[str]:
    """The ids, which are positions, of those that a search finds."""
    name, _, text = query.partition("=")
    asked = plan(TENANT, query_of((name, text), type=type), resolved={}, now=NOW)
    documents = [document_of({"resourceType": type, **one}, str(n)) for n, one in enumerate(resources)]
    return [document["id"] for document in find(documents, asked)]


@pytest.mark.parametrize("type", OWN)
def test_every_parameter_has_a_query(type: str) -> None:
    asked = {query.partition("=")[0] for query in EXAMPLES[type].queries.split()}
    names = {TYPES[type].by_name[name].name for name in asked}
    assert names == {row.name for row in TYPES[type].parameters if row.type is not SearchType.SPECIAL}


def test_a_resource_is_found_by_each_of_its_values_and_one_without_is_not() -> None:
    wrong = [
        (type, query, ids)
        for type, example in EXAMPLES.items()
        for query in example.queries.split()
        if (ids := found(type, query, example.elements, {})) != ["0"]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("elements", "deceased"),
    [
        ({}, "false"),
        ({"deceasedBoolean": False}, "false"),
        ({"deceasedBoolean": True}, "true"),
        ({"deceasedDateTime": "2021-01-01"}, "true"),
    ],
)
def test_deceased_is_known_of_every_patient(elements: dict[str, Any], deceased: str) -> None:
    for asked in ("true", "false"):
        assert bool(found("Patient", f"deceased={asked}", elements)) is (asked == deceased)
        assert bool(found("Patient", f"deceased:not={asked}", elements)) is (asked != deceased)
    assert found("Patient", "deceased:missing=true", elements) == []


def test_a_text_without_letters_is_there() -> None:
    dashes = {"name": [{"family": "--"}]}
    assert found("Patient", "family:missing=false", dashes, {}) == ["0"]
    assert found("Patient", "family:missing=true", dashes, {}) == ["1"]
    assert found("Patient", "family:exact=--", dashes, {}) == ["0"]


def test_only_a_practitioner_is_a_visits_practitioner() -> None:
    nurse = {"participant": [{"individual": {"reference": "RelatedPerson/1"}}]}
    assert found("Encounter", "practitioner=1", nurse) == []
    assert found("Encounter", "practitioner:missing=true", nurse) == ["0"]
    assert found("Encounter", "participant=1", nurse) == ["0"]


@pytest.mark.parametrize(
    "query",
    [
        "component-code-value-quantity=c1$9",
        "component-code-value-quantity=c2$7",
        "component-code-value-concept=c1$positive",
        "combo-code-value-quantity=cod$7",
        "code-value-quantity=c1$7",
    ],
)
def test_the_parts_of_a_composite_hold_for_one_and_the_same_element(query: str) -> None:
    assert found("Observation", query, EXAMPLES["Observation"].elements) == []
