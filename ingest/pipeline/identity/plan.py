"""A message planned as a whole: who each entry is, with its references resolved, before anything is written.

read ─▶ wanted keys ─(the store's look-up)▶ candidates ─plan▶ placements. Pure: the same again gives the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.bundle_references import BundleReferences, redirected, references_in
from ingest.pipeline.identity.decisions import Candidate, Choice, Finding
from ingest.pipeline.identity.facts import Facts, contained_patient, facts_of, patient_of, specimen_names
from ingest.pipeline.identity.likeness import alike_in_code, apart_in_specimen, apart_in_time, shared
from ingest.pipeline.identity.numbers import LINKS, Number, Rank
from ingest.pipeline.identity.parts import (
    DIRECTORY,
    NUMBERED,
    OBSERVATION,
    RECORDS,
    Part,
    choose_observation,
    choose_shared,
    name_parts,
    owners_of,
    shared_names,
)
from ingest.pipeline.identity.patients import choose_patient
from ingest.pipeline.identity.reports import Incoming, choose_reports
from ingest.pipeline.stamp import dump
from store.fhir.references import RELATIVE
from store.resource_keys import ResourceKey
from store.search.values.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.pipeline.identity.facts import Reading
    from store.fhir.datatypes import JsonObject
    from store.versions import SourceTime

PATIENT: Final = "Patient"
REPORT: Final = "DiagnosticReport"
_ABSOLUTE: Final = ("urn:", "http://", "https://")


class Entry(NamedTuple):
    """One resource of a message, as it came."""

    resource: JsonObject
    full_url: str | None
    content: bytes
    """Without the id: equal content under one id is one resource sent twice."""
    sourced: SourceTime = ""

    @property
    def type(self) -> str:
        """The resource type."""
        return str(self.resource["resourceType"])


class Placement(NamedTuple):
    """One entry with who it is."""

    key: ResourceKey
    resource: JsonObject
    """Its references are those of the store."""
    facts: Facts
    choice: Choice
    unresolved: tuple[str, ...] = ()
    """References that lead to nothing."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Who all entries of a message are."""

    placements: tuple[Placement, ...]
    kin: tuple[frozenset[str], ...] = ()
    """Ids of patients' records that are of one person each, and not all known as such."""
    patientless: tuple[int, ...] = ()
    """Reports whose patient cannot be told."""

    @property
    def ids(self) -> tuple[ResourceKey, ...]:
        """The key of each entry."""
        return tuple(one.key for one in self.placements)

    @property
    def keys(self) -> tuple[ResourceKey, ...]:
        """The same with the copies."""
        return tuple(
            ResourceKey(one.key.type, name)
            for one in self.placements
            for name in (one.key.id, *one.choice.also)
        )

    @property
    def leaving(self) -> bool:
        """Whether stored reports turned out to be one."""
        return any(one.choice.united for one in self.placements)


class Reader:
    """A message read once: its facts and its references."""

    def __init__(self, entries: Sequence[Entry], reading: Reading, *, base: str) -> None:
        self.entries = entries
        self.reading = reading
        self.base = base
        self.references = BundleReferences([(one.resource, one.full_url) for one in entries])
        self.texts = [references_in(one.resource) for one in entries]
        self.targets = [
            {text: self.references.resolve(n, text) for text in texts} for n, texts in enumerate(self.texts)
        ]
        self.types = [one.type for one in entries]
        self.facts = [self._facts(n) for n in range(len(entries))]
        self.patients = [patient_of(one.resource) for one in entries]
        self.logical = {n: self._logical(n) for n, kind in enumerate(self.types) if kind == REPORT}
        self.by_type: defaultdict[str, list[int]] = defaultdict(list)
        for number, kind in enumerate(self.types):
            self.by_type[kind].append(number)

    def _facts(self, number: int) -> Facts:
        entry = self.entries[number]
        facts = facts_of(entry.resource, self.reading, base=self.base)
        own = self.references.own_id(number)
        own = f"{self.reading.source}|{own}" if own is not None and self.reading.source else ""
        return facts if facts.own == own else facts._replace(own=own)

    def _logical(self, number: int) -> tuple[Number, ...]:
        """The numbers by which a report itself names its patient."""
        report = self.entries[number].resource
        if (inside := contained_patient(report)) is not None:
            return tuple(one for one in facts_of(inside, self.reading).numbers if one.rank is Rank.STRONG)
        subject = report.get("subject")
        identifier = subject.get("identifier") if isinstance(subject, dict) else None
        if not isinstance(identifier, dict):
            return ()
        named: JsonObject = {"resourceType": PATIENT, "identifier": [identifier]}
        return facts_of(named, self.reading).numbers

    def leads_to(self, number: int) -> list[int]:
        """The entries that an entry refers to."""
        return [there for there in self.targets[number].values() if there is not None]

    def missing(self, number: int) -> list[str]:
        """References of an entry that lead out of the message, and not to this service by its address."""
        return [
            text
            for text, there in self.targets[number].items()
            if there is None and self.texts[number][text] and self._leads_nowhere(text)
        ]

    def _leads_nowhere(self, text: str) -> bool:
        if text.startswith(_ABSOLUTE):
            return not text.startswith(f"{self.base}/")
        return RELATIVE.fullmatch(text.partition("/_history/")[0]) is not None


def wanted(
    read: Reader, derive: Callable[[str], str], candidates: Sequence[Candidate] = ()
) -> dict[str, frozenset[str]]:
    """By resource type, the entries of the index under which candidates are.

    An observation's hold its patient, who is decided on by what is known so far.
    """
    guess = _Planning(read, candidates, derive)
    guess.decide_patients()
    found: defaultdict[str, set[str]] = defaultdict(set)
    for number, entry in enumerate(read.entries):
        facts = guess.about(number) if entry.type == OBSERVATION else read.facts[number]
        if entry.type == PATIENT:
            found[PATIENT] |= {f"identifier={escape(n.value)}" for n in (*facts.numbers, *facts.former)}
            found[PATIENT] |= {f"former={escape(n.value)}" for n in facts.numbers}
            found[PATIENT].add(f"kin={guess.choices[number].id}")
        elif entry.type == OBSERVATION:
            found[OBSERVATION].update(keys_of(OBSERVATION, facts))
        elif entry.type in _LOOKED_UP:
            if entry.type == REPORT:
                found[PATIENT] |= {f"identifier={escape(n.value)}" for n in read.logical[number]}
            found[entry.type] |= {f"identifier={escape(n.value)}" for n in facts.numbers}
        if facts.own and _has_own_key(entry.type, facts):
            found[entry.type].add(own_key(facts.own))
    if read.reading.stable:
        for kind, key in _keys_of_missing(read):
            found[kind].add(key)
    return {kind: frozenset(keys) for kind, keys in found.items() if keys}


def narrowed(
    read: Reader, derive: Callable[[str], str], candidates: Sequence[Candidate]
) -> dict[str, frozenset[str]]:
    """The same where too many carry the numbers: a patient's sure numbers, and the reports of the patient."""
    guess = _Planning(read, candidates, derive)
    guess.decide_patients()
    found = dict(wanted(read, derive, candidates))
    sure = [n for p in read.by_type[PATIENT] for n in read.facts[p].numbers if n.rank is Rank.STRONG]
    found[PATIENT] = frozenset(f"identifier={escape(n.value)}" for n in sure)
    found[REPORT] = frozenset(f"patient={guess.about(n).patient}" for n in read.by_type[REPORT])
    return {kind: keys for kind, keys in found.items() if keys}


def _keys_of_missing(read: Reader) -> Iterator[tuple[str, str]]:
    """Where to find what a source with stable ids sent before."""
    for number in range(len(read.entries)):
        for text in read.missing(number):
            kind, _, own = text.partition("/_history/")[0].partition("/")
            if own:
                yield kind, own_key(f"{read.reading.source}|{own}")


_LOOKED_UP: Final = frozenset({PATIENT, REPORT, OBSERVATION}) | NUMBERED | DIRECTORY


def own_key(own: str) -> str:
    """The entry of the index under which a resource is found by its source's own id."""
    return f"own={sha256(own.encode()).hexdigest()[:32]}"


def _has_own_key(resource_type: str, facts: Facts) -> bool:
    return facts.stable or (resource_type == REPORT and not facts.numbers)


def keys_of(resource_type: str, facts: Facts) -> list[str]:
    """Entries of the index beside those of the search parameters, by which the facts are found."""
    keys = [f"kin={one}" for one in facts.kin]
    keys += [f"former={escape(one.value)}" for one in facts.former]
    if resource_type == OBSERVATION and facts.patient:
        # A number such as `1` is in each report: alone it would lead to all of them.
        keys += [f"{facts.patient}&number={number.name}" for number in facts.numbers]
    return [*keys, own_key(facts.own)] if facts.own and _has_own_key(resource_type, facts) else keys


def is_kept(resource_type: str, facts: Facts) -> bool:
    """Whether the facts of a resource are kept with it."""
    return facts.stable or (
        resource_type in _LOOKED_UP and bool(facts.numbers or facts.former or resource_type == REPORT)
    )


class Race(NamedTuple):
    """What is known when a message is planned again behind its own write."""

    seen: frozenset[str] = frozenset()
    """Ids of the candidates of the first plan."""
    mine: frozenset[str] = frozenset()
    """Ids of what this message made itself: no evidence of others."""


def plan(
    read: Reader,
    candidates: Sequence[Candidate],
    derive: Callable[[str], str],
    race: Race | None = None,
) -> Planned:
    """Who each entry is, given what is stored."""
    return _Planning(read, candidates, derive, race).planned()


@dataclass(slots=True)
class _Planning:
    """One run through a message: patients, shared resources, reports, their parts, records."""

    read: Reader
    candidates: Sequence[Candidate]
    derive: Callable[[str], str]
    race: Race | None = None
    choices: dict[int, Choice] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)

    def planned(self) -> Planned:
        for step in (self.decide_patients, self._shared, self._reports, self._parts, self._records):
            step()
        numbers = range(len(self.read.entries))
        placements = tuple(self._placement(number) for number in numbers)
        patientless = tuple(n for n in self.read.by_type[REPORT] if self._has_lost_patient(n))
        return Planned(placements, tuple(self._kin()), patientless)

    # --- patients

    def decide_patients(self) -> None:
        known = [one for one in self.candidates if one.key.type == PATIENT]
        racing = {one.key.id for one in known} - self.race.seen if self.race else frozenset()
        taken: dict[str, int] = {}
        for number in self.read.by_type[PATIENT]:
            facts = self.read.facts[number]
            nameless = self._nameless(number)
            choice = choose_patient(facts, known, self.derive, nameless=nameless, racing=racing)
            other = taken.get(choice.id)
            if other is not None and self.read.entries[other].content != self.read.entries[number].content:
                # Two records of one message under one number that say different things are two.
                made = self.derive(
                    f"Patient twin {choice.id} {facts.own} {' '.join(facts.names)} {facts.born}"
                )
                choice = Choice(made, (Finding.PATIENT_DOUBTED,))
            taken[choice.id] = number
            self._choose(number, choice, facts)
        for number in self.read.by_type[PATIENT]:
            self._link(number)
        for number in self.read.by_type[PATIENT]:
            choice = self.choices[number]
            before = choice.known.facts.kin if choice.known else ()
            kin = dict.fromkeys([*before, *(one.key.id for one in choice.kin)])
            kin.pop(choice.id, None)
            self.facts[number] = self.facts[number]._replace(kin=tuple(kin))

    def _nameless(self, number: int) -> str:
        """The name of a patient without any number: who it is said to be, else within what came with it."""
        facts = self.read.facts[number]
        told = f"{self.read.reading.source} {' / '.join(facts.names)} {facts.born} {facts.sex}"
        if facts.names and facts.born:
            return told
        about = [n for n in self.read.by_type[REPORT] if number in self.read.leads_to(n)]
        anchors = [one.name for n in about for one in self.read.facts[n].numbers[:1]]
        content = sha256(self.read.entries[number].content).hexdigest()
        return f"{told} {' '.join(sorted(anchors)) or f'{facts.own} {content}'}"

    def _link(self, number: int) -> None:
        """Patient.link: records that replace one another are of one person."""
        links = self.read.entries[number].resource.get("link")
        for link in links if isinstance(links, list) else ():
            other = link.get("other") if isinstance(link, dict) and link.get("type") in LINKS else None
            text = other.get("reference") if isinstance(other, dict) else None
            there = self.read.targets[number].get(text) if isinstance(text, str) else None
            if there is None or there == number or there not in self.choices:
                continue
            self._relate(number, there)
            self._relate(there, number)

    def _relate(self, number: int, other: int) -> None:
        choice, there = self.choices[number], self.choices[other]
        if there.id == choice.id:
            return
        kin = Candidate(ResourceKey(PATIENT, there.id), there.known.facts if there.known else Facts())
        findings = choice.findings
        if choice.known is None or there.id not in choice.known.facts.kin:
            findings = tuple(dict.fromkeys((*findings, Finding.PATIENTS_LINKED)))
        self.choices[number] = choice._replace(kin=(*choice.kin, kin), findings=findings)

    def _kin(self) -> list[frozenset[str]]:
        """Groups of records that are not all known as one person's."""
        found = []
        for number in self.read.by_type[PATIENT]:
            choice = self.choices[number]
            members = {choice.id: frozenset(choice.known.facts.kin if choice.known else ())}
            members |= {one.key.id: frozenset(one.facts.kin) for one in choice.kin}
            group = frozenset(members).union(*members.values())
            behind = {one.key.id: frozenset(one.facts.kin) for one in self._claiming(choice.id)}
            group |= frozenset(behind)
            complete = all(group - {one} <= kin for one, kin in (members | behind).items())
            if len(group) > 1 and not complete:
                found.append(group)
        return found

    def _claiming(self, patient: str) -> list[Candidate]:
        return [c for c in self.candidates if c.key.type == PATIENT and patient in c.facts.kin]

    # --- what reports share

    def _shared(self) -> None:
        for kind in sorted(DIRECTORY | NUMBERED):
            for number in self.read.by_type.get(kind, ()):
                facts = self.about(number)
                if shared_names(kind, facts):
                    self._choose(number, choose_shared(kind, facts, self.candidates, self.derive), facts)
                elif kind in DIRECTORY:
                    self._choose(number, Choice(self.derive(f"{kind} {self._said(number)}")), facts)

    def _said(self, number: int, above: tuple[int, ...] = ()) -> str:
        """A digest of what an entry says, and of what the entries that it refers to say."""
        entry = self.read.entries[number]
        resource = {name: value for name, value in entry.resource.items() if name not in ("id", "meta")}
        told: dict[str, str] = {}
        for text, there in self.read.targets[number].items():
            if there in self.choices:
                told[text] = f"{self.read.types[there]}/{self.choices[there].id}"
            elif there is not None and there not in (*above, number):
                told[text] = self._said(there, (*above, number))
            elif there is not None:
                told[text] = self.read.types[there]
        return sha256(dump(redirected(resource, told))).hexdigest()

    # --- reports

    def _reports(self) -> None:
        numbers = self.read.by_type.get(REPORT, [])
        facts = [self.about(n)._replace(specimens=self._specimens(n)) for n in numbers]
        facts = [
            one._replace(apart=True)
            if any(
                _twins(one, other) for m, other in enumerate(facts) if m != n and self._differ(numbers, n, m)
            )
            else one
            for n, one in enumerate(facts)
        ]
        incoming: list[Incoming] = []
        first: dict[tuple[str, bytes], int] = {}
        which = []
        for n, one in zip(numbers, facts, strict=True):
            entry = self.read.entries[n]
            same = (one.own, entry.content)
            if same not in first:
                first[same] = len(incoming)
                mine = self.race.mine if self.race else frozenset()
                incoming.append(Incoming(one, entry.sourced, self._names_of(n, one.patient), mine))
            which.append(first[same])
        known = [one for one in self.candidates if one.key.type == REPORT]
        choices = choose_reports(incoming, known, self.derive)
        for n, one, number in zip(numbers, facts, which, strict=True):
            choice = choices[number]
            # Once told apart by their own ids, reports stay so.
            apart = one.apart or (choice.known is not None and choice.known.facts.apart)
            self._choose(n, choice, one._replace(apart=apart))

    def _differ(self, numbers: Sequence[int], one: int, other: int) -> bool:
        mine, theirs = self.read.entries[numbers[one]], self.read.entries[numbers[other]]
        return mine.content != theirs.content or mine.resource.get("id") != theirs.resource.get("id")

    def _specimens(self, number: int) -> tuple[str, ...]:
        found: list[str] = []
        for there in self.read.leads_to(number):
            entry = self.read.entries[there]
            if entry.type == "Specimen":
                found += specimen_names(entry.resource, self.read.reading)
        return tuple(sorted(dict.fromkeys(found)))

    def _names_of(self, number: int, patient: str) -> frozenset[str]:
        """Names of a report's patient: `Patient/id` of each stored record, and the numbers."""
        for other in self.read.by_type[PATIENT]:
            if f"{PATIENT}/{self.choices[other].id}" == patient:
                ids = (self.choices[other].id, *self.facts[other].kin)
                numbers = (one.name for one in self.facts[other].numbers)
                return frozenset((*(f"{PATIENT}/{one}" for one in ids), *numbers))
        named = {(one.system, one.value) for one in self.read.logical[number]}
        found = [
            one.key.id
            for one in self.candidates
            if one.key.type == PATIENT
            and not named.isdisjoint((theirs.system, theirs.value) for theirs in one.facts.numbers)
        ]
        return frozenset((patient, *(f"{PATIENT}/{one}" for one in found)))

    def _has_lost_patient(self, number: int) -> bool:
        """Whether a report names its patient by a reference that leads nowhere, and by nothing else."""
        subject = self.read.entries[number].resource.get("subject")
        if not isinstance(subject, dict) or isinstance(subject.get("identifier"), dict):
            return False
        text = subject.get("reference")
        return isinstance(text, str) and text in self._missing(number)

    # --- parts of reports

    def _parts(self) -> None:
        left = [
            n
            for n, entry in enumerate(self.read.entries)
            if n not in self.choices and entry.type not in RECORDS
        ]
        leads_to = {n: self.read.leads_to(n) for n in range(len(self.read.entries))}
        owners = owners_of(leads_to, self.read.by_type.get(REPORT, []), frozenset(left))
        parts = [self._part(n, owners.get(n, ())) for n in left]
        names = name_parts(parts)
        known = [one for one in self.candidates if one.key.type == OBSERVATION]
        taken: set[str] = set()
        for part in parts:
            derived = self.derive(names[part.number])
            choice = Choice(derived)
            if part.type == OBSERVATION and (part.facts.numbers or part.facts.stable):
                choice = choose_observation(part, derived, known, taken)
            taken.add(choice.id)
            within = tuple(one.partition("/")[2] for one in part.within) if part.reported else ()
            if choice.known is not None and not within:
                within = choice.known.facts.within
            self._choose(part.number, choice, part.facts._replace(within=within))

    def _part(self, number: int, owners: Sequence[int]) -> Part:
        facts = self.about(number)
        entry = self.read.entries[number]
        within = tuple(sorted({f"{REPORT}/{self.choices[n].id}" for n in owners}))
        content = sha256(entry.content).hexdigest()
        return Part(number, entry.type, facts, within or (facts.patient,), bool(within), content)

    # --- records, and what all have in common

    def _records(self) -> None:
        for number, entry in enumerate(self.read.entries):
            if number not in self.choices:
                said = self._said(number)
                name = f"{entry.type} {self.read.reading.source} {said}"
                self._choose(number, Choice(self.derive(name)), self.about(number))

    def _choose(self, number: int, choice: Choice, facts: Facts) -> None:
        self.choices[number] = choice
        self.facts[number] = facts

    def about(self, number: int) -> Facts:
        """The facts of an entry, its patient being the stored one."""
        facts = self.read.facts[number]
        text = self.read.patients[number]
        if text not in self.read.targets[number]:
            return facts
        there = self.read.targets[number][text]
        if there is None:
            return facts._replace(patient=self._elsewhere(number, text))
        of_type = self.read.types[there]
        own = self.choices[there].id if there in self.choices else self.read.facts[there].own
        return facts._replace(patient=f"{of_type}/{own}")

    def _elsewhere(self, number: int, text: str) -> str:
        """A reference that leads out of the message, as it is stored."""
        if not self.read.texts[number][text]:
            return text  # An Attachment's URL: a document of ours may have been put there just now.
        address = self.read.reading.source.partition(" ")[2]
        return self._sent_before(text) or self.read.references.elsewhere(number, text, source=address)

    def _missing(self, number: int) -> tuple[str, ...]:
        return tuple(text for text in self.read.missing(number) if self._sent_before(text) is None)

    def _sent_before(self, text: str) -> str | None:
        """The stored resource that a source with stable ids means by a reference."""
        if not self.read.reading.stable:
            return None
        kind, _, own = text.partition("/_history/")[0].partition("/")
        mine = f"{self.read.reading.source}|{own}"
        found = [c for c in self.candidates if c.key.type == kind and c.facts.own == mine]
        latest = max(found, key=lambda c: (c.sourced, c.key.id), default=None)
        return None if latest is None else str(latest.key)

    def _placement(self, number: int) -> Placement:
        entry, choice = self.read.entries[number], self.choices[number]
        told: dict[str, str] = {}
        for text, there in self.read.targets[number].items():
            if there is not None:
                told[text] = f"{self.read.types[there]}/{self.choices[there].id}"
            elif (new := self._elsewhere(number, text)) != text:
                told[text] = new
        key = ResourceKey(entry.type, choice.id)
        resource = redirected(entry.resource, told)
        return Placement(key, resource, self.facts[number], choice, self._missing(number))


def _twins(one: Facts, other: Facts) -> bool:
    """Whether nothing but their ids tells two reports of one message apart."""
    return (
        (shared(one, other) is not None or not (one.numbers or other.numbers))
        and one.patient == other.patient
        and alike_in_code(one, other)
        and not apart_in_time(one, other)
        and not apart_in_specimen(one, other)
    )
