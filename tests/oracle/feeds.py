"""Random feeds of a laboratory, and what is current once all of a feed was heard, in whatever order.

What is newest by the source's time counts. An observation is current when a current report leads to it,
through panels too, or when it was also sent by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.feed import at, delivery, observation
from tests.support.fhir import MRN, identified, message, patient, refers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from random import Random

Json = dict[str, Any]
NAMES = ("a", "b", "c")
PANEL = "panel"


class Said(NamedTuple):
    """What a message says of one observation."""

    name: str
    value: str
    members: tuple[str, ...] = ()


class Sent(NamedTuple):
    """One message, made at a minute that no other has."""

    minute: int
    observations: tuple[Said, ...]
    report: str | None = None
    """None: the observations come by themselves."""
    results: tuple[str, ...] = ()
    conclusion: str = ""

    def bundle(self) -> Json:
        """As it is sent."""
        observations = [_observation(one) for one in self.observations]
        if self.report is None:
            alone = message(*observations, patient("p", identified(MRN, "p")))
            return {**alone, "timestamp": at(self.minute)}
        made = delivery(self.report, *observations, time=at(self.minute), conclusion=self.conclusion)
        [told] = [
            entry["resource"]
            for entry in made["entry"]
            if entry["resource"]["resourceType"] == "DiagnosticReport"
        ]
        if self.results:
            told["result"] = [refers(f"Observation/{name}") for name in self.results]
        return made


def _observation(said: Said) -> Json:
    made = observation(said.name, value=said.value)
    members = [refers(f"Observation/{name}") for name in said.members]
    return {**made, "hasMember": members} if members else made


def feed(rng: Random) -> list[Sent]:
    """Some messages about two reports that share observations, in the order of their time."""
    minutes = sorted(rng.sample(range(60), rng.randint(2, 8)))
    return [_sent(rng, minute) for minute in minutes]


def _sent(rng: Random, minute: int) -> Sent:
    if rng.random() < 0.15:
        return Sent(minute, (Said(rng.choice(NAMES), rng.choice("xy")),))
    names = [name for name in NAMES if rng.random() < 0.5]
    said = [Said(name, rng.choice("xy")) for name in names]
    inside: tuple[str, ...] = ()
    if rng.random() < 0.5:
        inside = tuple(name for name in names if rng.random() < 0.5)
        said.append(Said(PANEL, rng.choice("xy"), inside))
    results = tuple(one.name for one in said if one.name not in inside)
    return Sent(minute, tuple(said), rng.choice(("r1", "r2")), results, rng.choice(("first", "second")))


def current(messages: Iterable[Sent]) -> dict[str, tuple[str, list[str]]]:
    """What there must be in the end: of each its text, and what it refers to."""
    reports: dict[str, Sent] = {}
    said: dict[str, Said] = {}
    alone: set[str] = set()
    for one in sorted(messages):
        if one.report is None:
            alone |= {observation.name for observation in one.observations}
        else:
            reports[one.report] = one
        said |= {observation.name: observation for observation in one.observations}
    reached: set[str] = set()
    ahead = [*alone, *(name for one in reports.values() for name in one.results)]
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += said[name].members
    return {
        **{f"DiagnosticReport {name}": (r.conclusion, list(r.results)) for name, r in reports.items()},
        **{f"Observation {name}": (said[name].value, list(said[name].members)) for name in reached},
    }


def shown(state: dict[str, Json]) -> dict[str, tuple[str, list[str]]]:
    """The same of what a tenant holds."""
    found: dict[str, tuple[str, list[str]]] = {}
    for name, one in state.items():
        if one["resourceType"] == "DiagnosticReport":
            found[name] = one["conclusion"], _references(one.get("result", ()))
        elif one["resourceType"] == "Observation":
            found[name] = one["valueString"], _references(one.get("hasMember", ()))
    return found


def _references(elements: Sequence[Json]) -> list[str]:
    return [one["reference"] for one in elements]
