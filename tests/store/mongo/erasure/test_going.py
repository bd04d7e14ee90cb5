"""Resources that go with a patient though no index says whose they are: the decision as a table."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from store.mongo.erasure.belongings import Item
from store.mongo.erasure.going import ANOTHERS, Telling, Undecided, going_of, neighbours_of, shared_of
from store.retention.erasure import About

OURS = frozenset({"DiagnosticReport/r", "Patient/p"})
OWN, OTHERS, BOTH, NOBODY = About(True, False), About(False, True), About(True, True), About(False, False)


class Case(NamedTuple):
    goes: set[str]
    candidates: dict[str, set[str]] = {}  # noqa: RUF012 -- never changed
    """Name → what it refers to."""
    telling: dict[str, tuple[About, set[str]]] = {}  # noqa: RUF012
    needing: dict[str, set[str]] = {}  # noqa: RUF012
    stored: set[str] = set()  # noqa: RUF012
    """Neighbours that are stored."""


CASES = {
    "a companion that only our report needs": Case({"Specimen/s"}, {"Specimen/s": set()}),
    "a companion that another patient's report needs too": Case(
        set(), {"Specimen/s": set()}, needing={"Specimen/s": {"DiagnosticReport/r", ANOTHERS}}
    ),
    "a companion that our own resource needs": Case(
        {"Specimen/s"}, {"Specimen/s": set()}, needing={"Specimen/s": {"DiagnosticReport/r"}}
    ),
    "a chain of companions goes as a whole": Case(
        {"Observation/o", "Specimen/s"},
        {"Observation/o": {"Specimen/s"}, "Specimen/s": set()},
        needing={"Specimen/s": {"Observation/o"}},
    ),
    "what a kept companion refers to is kept": Case(
        set(),
        {"Observation/o": {"Specimen/s"}, "Specimen/s": {"Substance/x"}, "Substance/x": set()},
        needing={
            "Observation/o": {ANOTHERS},
            "Specimen/s": {"Observation/o"},
            "Substance/x": {"Specimen/s"},
        },
    ),
    "of two companions only the one that another needs is kept": Case(
        {"Specimen/s"},
        {"Specimen/s": set(), "Specimen/t": set()},
        needing={"Specimen/t": {ANOTHERS}},
    ),
    "companions that need one another go together": Case(
        {"Specimen/s", "Specimen/t"},
        {"Specimen/s": {"Specimen/t"}, "Specimen/t": {"Specimen/s"}},
        needing={"Specimen/s": {"Specimen/t"}, "Specimen/t": {"Specimen/s"}},
    ),
    "companions that need one another stay together": Case(
        set(),
        {"Specimen/s": {"Specimen/t"}, "Specimen/t": {"Specimen/s"}},
        needing={"Specimen/s": {"Specimen/t", ANOTHERS}, "Specimen/t": {"Specimen/s"}},
    ),
    "what tells of us alone": Case({"Provenance/v"}, telling={"Provenance/v": (OWN, {"Patient/p"})}),
    "what tells of others too stays": Case(set(), telling={"Provenance/v": (BOTH, {"Patient/p"})}),
    "what only refers to ours": Case(
        {"Provenance/v"}, telling={"Provenance/v": (NOBODY, {"DiagnosticReport/r"})}
    ),
    "what refers to ours and to what stays": Case(
        set(),
        telling={"List/l": (NOBODY, {"DiagnosticReport/r", "DiagnosticReport/z"})},
        stored={"DiagnosticReport/z"},
    ),
    "what refers to ours and to what is not here": Case(
        {"List/l"}, telling={"List/l": (NOBODY, {"DiagnosticReport/r", "DiagnosticReport/z"})}
    ),
    "what refers to a companion that goes": Case(
        {"Specimen/s", "Provenance/v"},
        {"Specimen/s": set()},
        telling={"Provenance/v": (NOBODY, {"Specimen/s"})},
        needing={"Specimen/s": {"Provenance/v"}},
    ),
    "what refers to a companion that stays keeps to it": Case(
        set(),
        {"Specimen/s": set()},
        telling={"Provenance/v": (NOBODY, {"Specimen/s", "DiagnosticReport/r"})},
        needing={"Specimen/s": {"Provenance/v", ANOTHERS}},
    ),
    "a companion that what stays refers to is kept": Case(
        set(),
        {"Specimen/s": set()},
        telling={"List/l": (NOBODY, {"Specimen/s", "DiagnosticReport/z"})},
        needing={"Specimen/s": {"List/l"}},
        stored={"DiagnosticReport/z"},
    ),
    "what tells of us and is a candidate goes once": Case(
        {"Basic/b"}, {"Basic/b": set()}, telling={"Basic/b": (OWN, set())}
    ),
    "what refers to nothing of ours stays": Case(set(), telling={"List/l": (NOBODY, {"Patient/q"})}),
    "nothing at all": Case(set()),
}


def item(name: str, refers: set[str]) -> Item:
    return Item(id=f"lab/Production/{name}", name=name, version=1, refers=frozenset(refers))


def undecided(case: Case) -> Undecided:
    return Undecided(
        OURS,
        frozenset({"Patient/p"}),
        {name: item(name, refers) for name, refers in case.candidates.items()},
        {name: Telling(item(name, refers), said) for name, (said, refers) in case.telling.items()},
        case.needing,
    )


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_goes(case: Case) -> None:
    asked = undecided(case)
    assert case.stored <= neighbours_of(asked)
    going = going_of(asked, case.stored)
    assert {one.name for one in going} == case.goes
    assert len(going) == len(case.goes)


def test_what_is_shared_is_what_tells_of_both() -> None:
    asked = undecided(Case(set(), telling={"List/a": (BOTH, set()), "List/b": (OWN, set())}))
    assert shared_of(asked) == {"lab/Production/List/a"}


def test_machines_and_groups_are_no_neighbours() -> None:
    refers = {"DiagnosticReport/r", "Device/d", "Group/g", "Patient/q", "Practitioner/d", "Encounter/e"}
    asked = undecided(Case(set(), telling={"List/l": (NOBODY, refers)}))
    assert neighbours_of(asked) == {"Encounter/e"}
