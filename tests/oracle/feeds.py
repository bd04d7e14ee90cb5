"""Random feeds of a laboratory, and what is current once all of a feed was heard, in whatever order.

What is newest by the source's time counts. An observation is current when a current report leads to it,
through panels too, or when it was also sent by itself.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.feed import at, delivery, observation
from tests.support.fhir import MRN, identified, message, patient, refers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from random import Random

Json = dict[str, Any]
Content = tuple[str, list[str]]
"""The text of a resource, and what it refers to."""
NAMES = ("a", "b", "c")
PANEL = "panel"


class Said(NamedTuple):
    """Statement of a message about one observation."""

    name: str
    value: str
    members: tuple[str, ...] = ()


class Sent(NamedTuple):
    """Message of a source."""

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


def tied_feed(rng: Random) -> list[Sent]:
    """The same, several of them made at one time."""
    return [_sent(rng, rng.randint(0, 3)) for _ in range(rng.randint(2, 8))]


def _sent(rng: Random, minute: int) -> Sent:
    if rng.random() < 0.15:
        return Sent(minute, (Said(f"{rng.choice(NAMES)}-{rng.choice(('r1', 'r2'))}", rng.choice("xy")),))
    report = rng.choice(("r1", "r2"))
    # What two reports carry under one number each keeps for itself: these are of one report each.
    names = [f"{name}-{report}" for name in NAMES if rng.random() < 0.5]
    said = [Said(name, rng.choice("xy")) for name in names]
    inside: tuple[str, ...] = ()
    if rng.random() < 0.5:
        inside = tuple(name for name in names if rng.random() < 0.5)
        said.append(Said(f"{PANEL}-{report}", rng.choice("xy"), inside))
    results = tuple(one.name for one in said if one.name not in inside)
    return Sent(minute, tuple(said), report, results, rng.choice(("first", "second")))


def faults(found: Mapping[str, Content], messages: Sequence[Sent]) -> Iterator[str]:
    """Contradictions, whichever of two of one time counts."""
    told: defaultdict[str, list[tuple[int, Content]]] = defaultdict(list)
    for one in messages:
        if one.report is not None:
            told[f"DiagnosticReport {one.report}"].append((one.minute, (one.conclusion, list(one.results))))
        for said in one.observations:
            told[f"Observation {said.name}"].append((one.minute, (said.value, list(said.members))))
    for name, content in found.items():
        latest = max(minute for minute, _ in told[name])
        if (latest, content) not in told[name]:
            yield f"{name}: not the newest content"
    roots = {said.name for one in messages if one.report is None for said in one.observations}
    roots |= {f for name, (_, fs) in found.items() if name.startswith("DiagnosticReport") for f in fs}
    members = {
        name.partition(" ")[2]: fs for name, (_, fs) in found.items() if name.startswith("Observation")
    }
    reached = _reached(roots, members)
    yield from (f"{name}: missing" for name in reached - members.keys())
    yield from (f"{name}: left over" for name in members.keys() - reached)


def _reached(roots: Iterable[str], members: Mapping[str, Sequence[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = list(roots)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += members.get(name, ())
    return reached


def current(messages: Iterable[Sent]) -> dict[str, Content]:
    """Resources that there must be in the end: the text of each, and its references."""
    reports: dict[str, Sent] = {}
    said: dict[str, Said] = {}
    alone: set[str] = set()
    for one in sorted(messages):
        if one.report is None:
            alone |= {observation.name for observation in one.observations}
        else:
            reports[one.report] = one
        said |= {observation.name: observation for observation in one.observations}
    roots = alone.union(*(one.results for one in reports.values()))
    reached = _reached(roots, {name: one.members for name, one in said.items()})
    return {
        **{f"DiagnosticReport {name}": (r.conclusion, list(r.results)) for name, r in reports.items()},
        **{f"Observation {name}": (said[name].value, list(said[name].members)) for name in reached},
    }


def shown(state: dict[str, Json]) -> dict[str, Content]:
    """The same of what a tenant holds."""
    found: dict[str, Content] = {}
    for name, one in state.items():
        if one["resourceType"] == "DiagnosticReport":
            found[name] = one["conclusion"], _references(one.get("result", ()))
        elif one["resourceType"] == "Observation":
            found[name] = one["valueString"], _references(one.get("hasMember", ()))
    return found


def _references(elements: Sequence[Json]) -> list[str]:
    return [one["reference"] for one in elements]
