"""Paths through JSON trees, and what a wrong shape says."""

from __future__ import annotations

from typing import Any

import pytest

from store.fhir.datatypes import Malformed, Number, Path, object_of, objects_of, text_of


@pytest.mark.parametrize(
    ("path", "resource", "values"),
    [
        pytest.param("status", {"status": "final"}, ["final"], id="one"),
        pytest.param("status", {}, [], id="absent"),
        pytest.param("status", {"status": None}, [], id="null"),
        pytest.param("status", {"status": False}, [False], id="false is a value"),
        pytest.param("category", {"category": [1, 2]}, [1, 2], id="list"),
        pytest.param("category", {"category": []}, [], id="empty list"),
        pytest.param(
            "media.link", {"media": [{"link": 1}, {}, {"link": [2, 3]}]}, [1, 2, 3], id="through lists"
        ),
        pytest.param("meta.tag", {"meta": "text"}, [], id="a text has no children"),
        pytest.param("a.b.c", {"a": {"b": {"c": "x"}}}, ["x"], id="deep"),
    ],
)
def test_path_values(path: str, resource: dict[str, Any], values: list[Any]) -> None:
    assert Path(path).values(resource) == values


def test_objects_of_takes_a_lone_object_for_a_list_of_one() -> None:
    assert list(objects_of({"coding": {"code": "x"}}, "coding", "code")) == [{"code": "x"}]


@pytest.mark.parametrize("value", ["Doe", 1, True, Number("1.0")])
def test_a_wrong_shape_names_the_place_and_no_value(value: Any) -> None:
    with pytest.raises(Malformed, match=r"^must be an object$") as refused:
        list(objects_of({"coding": [value]}, "coding", "code"))
    assert refused.value.path == "code.coding"
    with pytest.raises(Malformed, match="must be an object"):
        object_of(value, "subject")


def test_text_of() -> None:
    assert text_of({"a": "x"}, "a", "p") == "x"
    assert text_of({}, "a", "p") is None
    with pytest.raises(Malformed, match="must be a string") as refused:
        text_of({"a": 1}, "a", "p")
    assert refused.value.path == "p.a"


def test_numbers_are_equal_when_their_text_is_and_do_not_show_it() -> None:
    assert Number("1.00") == Number("1.00") != Number("1.0")
    assert hash(Number("1.00")) == hash(Number("1.00"))
    assert "1.00" not in repr(Number("1.00"))
