"""The shape of messages as sources really write them: scalars, lists and objects that stand for another."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.data_model.models import OBJECTS_MAX, VALUES_MAX, Envelope, ResultsNew, read, unknown
from store.errors import Category, ServiceError
from tests.support.data_model import results_new

Json = dict[str, Any]


def told(path: str, value: Any) -> Any:
    """Value that is read at a path of a message that has a value there."""
    message = results_new()
    here: Any = message
    *leading, last = path.split(".")
    for name in leading:
        here = here[int(name)] if name.isdecimal() else here.setdefault(name, {})
    here[last] = value
    found: Any = read(ResultsNew, message)
    for name in path.split("."):
        found = found[int(name)] if name.isdecimal() else getattr(found, name)
    return found


TAKEN: list[tuple[str, Any, Any]] = [
    ("Patient.Notes", ["", " ", None, "a"], ["a"]),
    ("Patient.Notes", "a", ["a"]),
    ("Patient.Notes", " ", []),
    ("Patient.Notes", [[]], []),
    ("Patient.Demographics.FirstName", ["Ada"], "Ada"),
    ("Patient.Demographics.FirstName", [], None),
    ("Patient.Demographics.FirstName", 7, "7"),
    ("Patient.Demographics.IsHispanic", ["Yes"], "true"),
    ("Patient.Demographics.IsHispanic", " no ", "false"),
    ("Patient.Demographics.EmailAddresses", [{"Address": "a@b"}, {"Address": " "}, " "], ["a@b"]),
    ("Patient.Demographics.PhoneNumber.Home", [None], None),
    ("Orders.0.Results.0.Notes", [" "], []),
    ("Orders.0.Provider.Credentials", ["MD", "\t"], ["MD"]),
]


@pytest.mark.parametrize(("path", "value", "taken"), TAKEN)
def test_what_stands_for_a_value_is_taken_for_it(path: str, value: Any, taken: Any) -> None:
    assert told(path, value) == taken


@pytest.mark.parametrize("value", ["", " ", [], None, {}, [{}]])
def test_an_object_that_says_nothing_is_an_empty_one(value: Any) -> None:
    for path in ("Patient.Demographics.Address", "Visit.Location", "Orders.0.Provider.Location"):
        found = told(path, value)
        assert set(found.model_dump().values()) == {None}


def test_a_list_of_one_object_is_that_object() -> None:
    assert told("Patient.Demographics.Address", [{"City": "Nowhere"}]).City == "Nowhere"
    assert told("Patient.Demographics.PhoneNumber", ["555"]).Office == "555"


REFUSED: list[tuple[str, Any, str]] = [
    ("Patient.Demographics.FirstName", ["a", "b"], "must be a text, a number or null"),
    ("Patient.Demographics.Address", ["a"], "must be an object or null"),
    ("Patient.Demographics.Address", [{}, {}], "must be an object or null"),
    ("Patient.Demographics.EmailAddresses", [{"a": 1}], "must be a text, or an object with `Address`"),
    ("Orders", ["a"], "must be an object"),
]


@pytest.mark.parametrize(("path", "value", "rule"), REFUSED)
def test_what_could_be_several_values_is_refused_at_its_place(path: str, value: Any, rule: str) -> None:
    with pytest.raises(ServiceError) as raised:
        told(path, value)
    [issue] = raised.value.issues
    assert issue.text.endswith(rule)
    assert issue.expression[0].startswith(f"$.{path}")


def test_the_type_of_a_number_that_is_not_there_is_told() -> None:
    message = results_new()
    message["Patient"]["Identifiers"].append({"ID": " ", "IDType": "MR"})
    message["Orders"][0]["Provider"]["IDType"] = "EHRID"
    found = set(unknown(read(ResultsNew, message)))
    assert found == {"$.Patient.Identifiers[2].IDType", "$.Orders[0].Provider.IDType"}


@pytest.mark.parametrize(
    "body",
    [
        {"Orders": [{"Results": [{}] * OBJECTS_MAX}]},
        {"Orders": [{}] * OBJECTS_MAX},
        {"Orders": [{"Results": [1] * (VALUES_MAX + 1)}]},
        {"Orders": [{"Results": [[[]]] * (VALUES_MAX // 2 + 1)}]},
        {"Meta": {"Destinations": ["x"] * (VALUES_MAX + 1)}},
        {"Orders": [{"Results": [{f"k{n}": n for n in range(VALUES_MAX)}]}]},
    ],
    ids=["results", "orders", "numbers", "lists", "destinations", "names"],
)
@pytest.mark.parametrize("shape", [ResultsNew, Envelope])
def test_a_message_of_more_than_fits_is_refused_before_it_is_read(
    shape: type[Any], body: dict[str, Any]
) -> None:
    """An empty result takes ten kilobytes: a million of them end the process."""
    with pytest.raises(ServiceError) as caught:
        read(shape, {"Meta": {"DataModel": "Results", "EventType": "New"}, **body})
    assert caught.value.category is Category.TOO_LARGE
    [issue] = caught.value.issues
    assert (issue.code, issue.expression) == ("too-costly", ("$",))


def test_a_message_of_a_thousand_results_is_read() -> None:
    one = {"Producer": {"Address": {}}, "Performer": {}, "Notes": ["x"]}
    results = [{"Code": str(number), **one} for number in range(1_000)]
    message = read(ResultsNew, {"Meta": {}, "Orders": [{"Results": results}]})
    assert len(message.Orders[0].Results) == 1_000
