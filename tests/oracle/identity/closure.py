"""Truth that must be served once all of a world's messages were acknowledged, and the comparison with it.

**Closure**: for every report that is served, what it leads to says, up to ids and up to the newest news
about that very thing, what the newest message that carried the report said.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.oracle.identity.hospital import Hold, Said, Sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json = dict[str, Any]
ADDED = ("id", "meta")
"""Elements of a stored resource that are not its source's."""


class Told(NamedTuple):
    """A statement and the message that made it."""

    sent: Sent
    said: Said


class Served(NamedTuple):
    """Resources that a tenant serves."""

    reports: Sequence[Json]
    resources: Mapping[str, Json]
    """By `Type/id`: everything that the reports lead to."""
    observations: Sequence[Json]
    by_number: Mapping[str, Sequence[str]]
    """Ids of the reports that each patient's number finds."""


class Truth:
    """Knowledge of the world: the statements about each thing, the newest last."""

    def __init__(self, messages: Sequence[Sent]) -> None:
        self._told: defaultdict[str, list[Told]] = defaultdict(list)
        self._merged: dict[str, str] = {}
        for sent in sorted(messages, key=lambda one: one.minute):
            for said in sent.said:
                self._told[said.thing].append(Told(sent, said))
                if said.replaces:
                    self._merged[said.replaces] = said.thing

    @property
    def reports(self) -> dict[str, Told]:
        """The newest message of each report."""
        return {
            name: told[-1] for name, told in self._told.items() if told[-1].said.type == "DiagnosticReport"
        }

    @property
    def lonely(self) -> list[Told]:
        """Observations whose newest news came without a report."""
        newest = (told[-1] for told in self._told.values())
        return [one for one in newest if one.said.type == "Observation" and not one.sent.reports]

    def options(self, thing: str, sent: Sent) -> list[Told]:
        """Contents that a report of this newest message may show of a thing that the message carried."""
        told = self._told[thing]
        [own] = [one for one in told if one.sent is sent]
        match own.said.hold:
            case Hold.EXACT:
                found = [own]
            case Hold.NEWEST:
                found = [told[-1]]
            case Hold.NEWER:
                found = [one for one in told if one.sent.minute >= sent.minute]
        survivor = self._merged.get(thing)
        # "The survivor's record is updated … the retired record is not overwritten": it may still be the
        # one that a report points at, or the survivor's.
        return found + (self._told[survivor][-1:] if survivor else [])

    def given(self, thing: str) -> list[Json]:
        """Identifiers of a person by the newest word of each source: none takes away another's."""
        newest = {one.sent.source.name: one.said.body for one in self._told[thing]}
        found: list[Json] = []
        for body in newest.values():
            found += [one for one in body.get("identifier", ()) if one not in found]
        return found

    def numbers(self, report: Told) -> tuple[set[str], set[str]]:
        """The numbers of its patient by which a report must be found, and by which it may be."""
        thing = report.said.body["subject"]["reference"]
        ways = [_numbers(one.said.body) for one in self.options(thing, report.sent)]
        survivor = self._merged.get(thing)
        # "A search by either number finds the reports of both."
        must = set.intersection(*ways) if survivor is None else set.union(*ways)
        must |= {f"{one['system']}|{one['value']}" for one in self._of_others(thing)}
        return must, must.union(*ways)

    def _of_others(self, thing: str) -> list[Json]:
        """Identifiers of a person of whom several sources tell differently."""
        given = self.given(thing)
        lists = {one.sent.source.name: one.said.body.get("identifier", []) for one in self._told[thing]}
        return given if any(len(one) != len(given) for one in lists.values()) else []


def _numbers(patient: Json) -> set[str]:
    return {f"{one['system']}|{one['value']}" for one in patient.get("identifier", ())}


def patient_numbers(messages: Sequence[Sent]) -> set[str]:
    """Every number that some patient had at some time."""
    told = (said for sent in messages for said in sent.said if said.type == "Patient")
    return set().union(*(_numbers(said.body) for said in told))


def faults(messages: Sequence[Sent], served: Served) -> Iterator[str]:
    """Untruths that are served; none when all is right."""
    truth = Truth(messages)
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for report in served.reports:
        found[f"DiagnosticReport {report.get('conclusion', '?').partition(' ')[0]}"].append(report)
    yield from (f"{name}: served, and nobody said it" for name in found.keys() - truth.reports.keys())
    ids: dict[str, str] = {}
    for name, told in truth.reports.items():
        if len(found[name]) != 1:
            yield f"{name}: served {len(found[name])} times" if found[name] else f"{name}: missing"
        for report in found[name]:
            ids[name] = report["id"]
            wrong = Comparison(truth, served.resources, told.sent).differs(report, told)
            if wrong:
                yield f"{name}: {wrong}"
    contents = [_content(one) for one in served.observations]
    for told in truth.lonely:
        if _flat(told.said.body) not in [_flat(one) for one in contents]:
            yield f"{told.said.thing}: sent by itself, and not current"
    yield from misfound(truth, served, ids)


def misfound(truth: Truth, served: Served, ids: Mapping[str, str]) -> Iterator[str]:
    """Reports, by their ids, that a patient's number finds and should not, or does not and should."""
    for number, found in served.by_number.items():
        for name, report in truth.reports.items():
            must, may = truth.numbers(report)
            if number in must and name in ids and ids[name] not in found:
                yield f"{name}: not found by {number}"
            if number not in may and ids.get(name) in found:
                yield f"{name}: found by {number}"


class Comparison:
    """A report as it is served beside what its newest message said."""

    def __init__(self, truth: Truth, resources: Mapping[str, Json], sent: Sent) -> None:
        self._truth = truth
        self._resources = resources
        self._sent = sent
        self._under_way: set[tuple[str, str]] = set()

    def differs(self, stored: Json, told: Told) -> str | None:
        """Place where they differ, or None: a reference is right when what it leads to is."""
        mine, said = _content(stored), told.said.body
        if told.said.type == "Patient":
            mine, said = self._of_several(mine, said, told.said.thing)
        return self._unlike(mine, said, told, told.said.type)

    def _of_several(self, stored: Json, said: Json, thing: str) -> tuple[Json, Json]:
        """Both without the identifiers that other sources gave, which may be there."""
        own = said.get("identifier", [])
        given = self._truth.given(thing)
        left = [one for one in stored.get("identifier", ()) if one in own or one not in given]
        # Their order says nothing: where another source's stand among them it is that of the record.
        left.sort(key=lambda one: own.index(one) if one in own else len(own))
        return ({**stored, "identifier": left} if "identifier" in stored else stored), said

    def _unlike(self, stored: Any, said: Any, told: Told, path: str) -> str | None:
        if isinstance(said, dict) and isinstance(stored, dict):
            if said.keys() != stored.keys():
                return f"{path}: has {sorted(stored)}, not {sorted(said)}"
            for name, inner in said.items():
                where = f"{path}.{name}"
                wrong = (
                    self._leads_elsewhere(stored[name], inner, told, path)
                    if name == "reference"
                    else self._unlike(stored[name], inner, told, where)
                )
                if wrong:
                    return wrong
            return None
        if isinstance(said, list) and isinstance(stored, list) and len(said) == len(stored):
            wrongs = (self._unlike(a, b, told, path) for a, b in zip(stored, said, strict=True))
            return next((wrong for wrong in wrongs if wrong), None)
        return None if stored == said else f"{path}: {stored!r}, not {said!r}"

    def _leads_elsewhere(self, where: str, thing: str, told: Told, path: str) -> str | None:
        target = self._resources.get(where)
        if target is None:
            return f"{path}: points at nothing ({thing} is meant)"
        if (where, thing) in self._under_way:
            return None
        self._under_way.add((where, thing))
        # Of what newer news leads to, the newer message counts.
        sent = told.sent if told.sent.minute > self._sent.minute else self._sent
        ways = [self.differs(target, one) for one in self._truth.options(thing, sent)]
        self._under_way.discard((where, thing))
        return None if None in ways else f"{path} → {'; or '.join(filter(None, ways))}"


def _content(resource: Json) -> Json:
    return {name: value for name, value in resource.items() if name not in ADDED}


def _flat(value: Any) -> Any:
    """Without what references hold."""
    if isinstance(value, dict):
        return {name: None if name == "reference" else _flat(inner) for name, inner in value.items()}
    return [_flat(one) for one in value] if isinstance(value, list) else value
