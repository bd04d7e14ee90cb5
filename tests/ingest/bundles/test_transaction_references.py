"""Conditional references to what the transaction itself stores."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from ingest.bundles import transaction_references
from ingest.bundles.transaction_actions import Condition, Put
from store.fhir.datatypes import listed
from store.resources.resource_keys import ResourceKey

PARTS = st.sampled_from(["", "s", "t", "1", "2"])
IDENTIFIERS = st.one_of(
    st.dictionaries(st.sampled_from(["system", "value"]), PARTS | st.integers(1, 2) | st.none()),
    st.just("s"),
    st.none(),
)


def put(number: int, identifier: Any) -> Put:
    resource = {"resourceType": "Patient", "identifier": identifier}
    return Put(number, ResourceKey("Patient", str(number)), resource)


def is_asked(identifier: Any, system: str | None, value: str) -> bool:
    """The rule, for one identifier."""
    if not isinstance(identifier, dict) or (not value and not system):
        return False
    if system is not None and identifier.get("system", "") != system:
        return False
    return not value or bool(identifier.get("value") == value)


@given(st.lists(IDENTIFIERS | st.lists(IDENTIFIERS, max_size=3), max_size=5), st.none() | PARTS, PARTS)
def test_they_are_found_by_the_rule(identifiers: list[Any], system: str | None, value: str) -> None:
    puts = [put(number, one) for number, one in enumerate(identifiers)]
    text = value if system is None else f"{system}|{value}"
    found = transaction_references._carrying(
        transaction_references._carriers(puts),
        Condition("Patient", f"identifier={text}"),
    )
    expected = {
        one.key for one in puts if any(is_asked(i, system, value) for i in listed(one.resource["identifier"]))
    }
    assert found == expected


class Counted(dict[str, Any]):
    """An identifier that counts how often its value is looked at."""

    looks = 0

    @override
    def get(self, name: str, default: Any = None) -> Any:
        Counted.looks += name == "value"
        return super().get(name, default)


def test_each_resource_is_looked_at_once_however_many_conditions_there_are() -> None:
    number, Counted.looks = 200, 0
    patients = [put(n, [Counted(system="s", value=str(n))]) for n in range(number)]
    results = [
        Put(
            number + n,
            ResourceKey("Observation", str(n)),
            {"subject": {"reference": f"Patient?identifier=s|{n}"}},
        )
        for n in range(number)
    ]
    asked: Any = [SimpleNamespace(full_url=None, number=n) for n in range(2 * number)]
    done: Any = transaction_references.rewritten(asked, [*patients, *results], {}, None)
    references = [one.resource["subject"]["reference"] for one in done[number:]]
    assert references == [f"Patient/{n}" for n in range(number)]
    assert Counted.looks == number
