"""Chains that are followed within one command, and what the command is told."""

from __future__ import annotations

from typing import Any

import pytest

from store.search.index import key
from store.search.planning.joins import FEW, joinable, led_to, shareable
from store.search.planning.plan import FindPlan, joined, targets
from tests.support.reports import NOW, TENANT, query_of

ID = "patient.identifier"


def plan_of(*pairs: tuple[str, str], type: str = "DiagnosticReport") -> FindPlan | None:
    return joined(TENANT, query_of(*pairs, type=type), now=NOW)


@pytest.mark.parametrize(
    ("pairs", "is_joined"),
    [
        pytest.param([(ID, "urn:m|1")], True, id="a patient's identifier"),
        pytest.param([(ID, "1,2")], True, id="several"),
        pytest.param([("subject.identifier", "1")], True, id="untyped"),
        pytest.param([("subject:Patient.identifier", "1")], True, id="typed"),
        pytest.param([("order", "1")], True, id="an order's number"),
        pytest.param([(ID, "1"), ("code", "c"), ("date", "ge2020")], True, id="with more clauses"),
        pytest.param([("patient", "p1")], False, id="no chain"),
        pytest.param([("patient.name", "x")], False, id="not to identifiers"),
        pytest.param([(ID, "urn:m|")], False, id="everyone in a system"),
        pytest.param([("patient.identifier:not", "1")], False, id="all but one"),
        pytest.param([(ID, "1"), ("encounter.identifier", "2")], False, id="two chains"),
        pytest.param([("_has:Provenance:target:recorded", "2020")], False, id="backwards"),
        pytest.param([("performer.identifier", "1")], False, id="no entries lead back"),
        pytest.param([("result.patient.identifier", "1")], False, id="two steps"),
        pytest.param([(ID, "1"), ("_id", "r1")], False, id="the id drives"),
    ],
)
def test_which_chains_are_joined(pairs: list[tuple[str, str]], is_joined: bool) -> None:
    assert (plan_of(*pairs) is not None) == is_joined
    if not is_joined and len(pairs) == 1:
        assert joinable(query_of(*pairs).clauses) is None


def made(*pairs: tuple[str, str]) -> Any:
    plan = plan_of(*pairs)
    assert plan is not None
    assert plan.join is not None
    return plan.join


def test_entries_of_a_target_are_templates_and_those_of_the_reference_stand_as_they_are() -> None:
    join = made((ID, "urn:m|1"))
    assert join.templates == {"Patient": (("patient=Patient/", ""),)}
    assert join.entries == ("patient.identifier=urn:m|1",)
    assert join.targets["type"] == "Patient"


def test_a_code_stands_behind_the_patient_in_both_kinds_of_entries() -> None:
    join = made((ID, "1"), ("code", "c,d"))
    assert join.templates == {"Patient": (("patient=Patient/", "&code=c"), ("patient=Patient/", "&code=d"))}
    assert join.entries == ("patient.identifier=1&code=c", "patient.identifier=1&code=d")


def test_targets_of_several_types_are_found_by_one_filter_when_they_differ_in_nothing_else() -> None:
    join = made(("subject.identifier", "1"))
    assert sorted(join.targets["type"]["$in"]) == ["Device", "Group", "Location", "Patient"]
    assert sorted(join.templates) == ["Device", "Group", "Location", "Patient"]
    assert join.templates["Patient"] == (("patient=Patient/", ""),)
    assert join.templates["Group"] == (("subject=Group/", ""),)


@pytest.mark.parametrize("value", [r"Patient/\|", "http://hospital.example/Patient/|1", "Patient/|7"])
def test_no_value_is_taken_for_a_place(value: str) -> None:
    join = made((ID, value))
    assert join.entries == (key("patient.identifier", value),)
    assert join.templates == {"Patient": (("patient=Patient/", ""),)}


def test_no_reference_is_taken_for_a_place() -> None:
    """A reference that leads nowhere leads the search: it must not answer for the identifier alone."""
    assert plan_of((ID, "1"), ("patient", "Patient/")) is None


def test_the_plan_itself_names_no_entries() -> None:
    plan = plan_of((ID, "1"), ("status", "final"))
    assert plan is not None
    assert "keys" not in plan.filter
    assert plan.hint == "keyed"


def chain_of(value: str, name: str = ID) -> Any:
    return joinable(query_of((name, value)).clauses)


@pytest.mark.parametrize(
    ("value", "name", "is_shared"),
    [
        ("urn:m|1", ID, True),
        ("1", ID, True),
        (",".join(map(str, range(FEW))), ID, True),
        (",".join(map(str, range(FEW + 1))), ID, False),
        ("urn:m|1", "subject.identifier", True),
        # Each type that it is tried on counts.
        (",".join(map(str, range(FEW // 4 + 1))), "subject.identifier", False),
    ],
)
def test_which_chains_are_looked_up_with_others(value: str, name: str, is_shared: bool) -> None:
    assert shareable(chain_of(value, name)) == is_shared


def test_of_what_was_found_for_several_each_chain_takes_its_own() -> None:
    documents = [
        {"type": "Patient", "id": "p1", "index": {"identifier": ["1", "urn:m|1", "urn:m|"]}},
        {"type": "Patient", "id": "p2", "index": {"identifier": ["1", "urn:n|1", "urn:n|", "2", "|2"]}},
        {"type": "Group", "id": "g1", "index": {"identifier": ["1", "|1"]}},
    ]
    assert led_to(chain_of("urn:m|1"), documents) == ("Patient/p1",)
    assert led_to(chain_of("urn:n|1,2"), documents) == ("Patient/p2",)
    assert led_to(chain_of("1"), documents) == ("Patient/p1", "Patient/p2")
    assert led_to(chain_of("|1", "subject.identifier"), documents) == ("Group/g1",)
    assert led_to(chain_of("urn:o|1"), documents) == ()


def test_one_look_up_asks_for_the_targets_of_all() -> None:
    chains = [chain_of("urn:m|1"), chain_of("1,urn:n|2", "subject:Group.identifier")]
    look_up = targets(TENANT, chains, limit=9, now=NOW)
    assert look_up.filter == {
        "tenant": TENANT,
        "type": {"$in": ["Group", "Patient"]},
        "expires_at": {"$gt": NOW},
        "keys": {"$in": ["identifier=1", "identifier=2"]},
        "index.identifier": {"$in": ["1", "urn:m|1", "urn:n|2"]},
    }
    assert (look_up.limit, look_up.hint, look_up.shape) == (9, "keyed", "targets")
