"""A message planned as a whole: who each entry is, with its references resolved, before anything is written.

read ─▶ wanted keys ─(the store's look-up)▶ candidates ─plan▶ placements. Pure: the same again gives the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from ingest.pipeline.bundle_references import redirected
from ingest.pipeline.identity.content_digests import ContentDigests
from ingest.pipeline.identity.decisions import (
    OBSERVATION,
    Candidate,
    Choice,
    Finding,
    Placement,
    Planned,
    Race,
)
from ingest.pipeline.identity.facts import Facts, patient_number
from ingest.pipeline.identity.likeness import is_bare, twins
from ingest.pipeline.identity.lone_parts import choose_numbered, is_found_by_number
from ingest.pipeline.identity.numbers import Number, Rank
from ingest.pipeline.identity.parts import (
    DIRECTORY,
    NUMBERED,
    RECORDS,
    Part,
    choose_shared,
    contradicted,
    is_nameless,
    is_told,
    name_parts,
    owners_of,
    shared_names,
)
from ingest.pipeline.identity.patient_records import link_records, name_without_number, unknown_kin
from ingest.pipeline.identity.patients import Records, choose_patient
from ingest.pipeline.identity.reader import PATIENT, REPORT, Reader, is_of_source
from ingest.pipeline.identity.reports.choosing import choose_reports
from ingest.pipeline.identity.reports.incoming import Incoming, corrected, first_news
from store.fhir.instants import from_datetime
from store.resources.resource_keys import ResourceKey

_MOMENT: Final = timedelta(minutes=1)
"""Time in which whoever wrote has looked behind the write."""
_MET_MAX: Final = 20
"""Reports that are noted as met; of more at one moment nobody knows in which order they came."""


def plan(
    read: Reader,
    candidates: Sequence[Candidate],
    derive: Callable[[str], str],
    race: Race | None = None,
    occupied: frozenset[str] = frozenset(),
) -> Planned:
    """Decisions on who each entry is, given what is stored; `occupied` are ids of other patients' records."""
    return Planning(read, candidates, derive, race, occupied).planned()


@dataclass(slots=True)
class Planning:
    """Run through a message: patients, shared resources, reports, their parts, records."""

    read: Reader
    candidates: Sequence[Candidate]
    derive: Callable[[str], str]
    race: Race | None = None
    occupied: frozenset[str] = frozenset()
    """Ids of stored patients that are no candidates."""
    choices: dict[int, Choice] = field(default_factory=dict)
    facts: dict[int, Facts] = field(default_factory=dict)
    contradicted: frozenset[int] = frozenset()
    """Entries whose numbers are no evidence: another entry says something else under one of them."""
    content: ContentDigests = field(init=False)
    among: dict[str, int] = field(default_factory=dict)
    """Entry of each patient of the message, by `Patient/id`."""
    sought: set[ResourceKey] = field(default_factory=set)
    """Keys that no entry of the index tells, under which something of the message may be stored."""

    def __post_init__(self) -> None:
        self.content = ContentDigests(self.read, self.choices)

    def planned(self) -> Planned:
        """Decisions on all entries, made in the order in which one needs another."""
        for step in (self.decide_patients, self._shared, self._reports, self._parts, self._records):
            step()
        numbers = range(len(self.read.entries))
        placements = tuple(self._placement(number) for number in numbers)
        patientless = tuple(n for n in self.read.by_type[REPORT] if self._has_lost_patient(n))
        return Planned(placements, tuple(unknown_kin(self.read, self.choices, self.candidates)), patientless)

    # --- patients

    def decide_patients(self) -> None:
        """Decide who the Patients of the message are, and which records are of one person."""
        known = [one for one in self.candidates if one.key.type == PATIENT]
        racing = {one.key.id for one in known} - self.race.seen if self.race else frozenset()
        records = Records(known)
        stored = self.occupied | records.ids
        taken: dict[str, int] = {}
        for number in self.read.by_type[PATIENT]:
            facts = self.read.facts[number]
            choice = choose_patient(
                facts,
                records.near(facts),
                self.derive,
                nameless="" if facts.numbers else name_without_number(self.read, number),
                sourced=self.read.entries[number].sourced,
                racing=racing,
                occupied=stored if facts.numbers else self.occupied,
            )
            other = taken.get(choice.id)
            if other is not None and self.read.entries[other].content != self.read.entries[number].content:
                # Two records of one message under one number that say different things are two.
                made = self.derive(
                    f"Patient twin {choice.id} {facts.own} {' '.join(facts.names)} {facts.born}"
                )
                choice = Choice(made, (Finding.PATIENT_DOUBTED,))
            taken[choice.id] = number
            self._choose(number, choice, facts)
        link_records(self.read, self.choices)
        for number in self.read.by_type[PATIENT]:
            choice = self.choices[number]
            before = choice.known.facts.kin if choice.known else ()
            kin = dict.fromkeys([*before, *(one.key.id for one in choice.kin)])
            kin.pop(choice.id, None)
            self.facts[number] = self.facts[number]._replace(kin=tuple(kin))
            self.among.setdefault(f"{PATIENT}/{choice.id}", number)

    # --- what reports share

    def _shared(self) -> None:
        kinds = sorted(kind for kind in DIRECTORY | NUMBERED if kind in self.read.by_type)
        numbers = [number for kind in kinds for number in self.read.by_type[kind]]
        entries, types = self.read.entries, self.read.types
        told = [(n, entries[n].content, shared_names(types[n], self.about(n))) for n in numbers]
        self.contradicted = contradicted(told)
        for number in numbers:
            kind, facts = types[number], self.about(number)
            if shared_names(kind, facts):
                self._choose(number, choose_shared(kind, facts, self.candidates, self.derive), facts)
            elif kind in DIRECTORY:
                self._choose(number, Choice(self.derive(f"{kind} {self.content.of(number)}")), facts)

    # --- reports

    def _reports(self) -> None:
        facts, incoming, which = self.incoming()
        known = [one for one in self.candidates if one.key.type == REPORT]
        choices = choose_reports(incoming, known, self.derive)
        met = self._others(known, choices)
        for n, one, number in zip(self.read.by_type.get(REPORT, []), facts, which, strict=True):
            choice = choices[number]
            # Once told apart by their own ids, reports stay so.
            apart = one.apart or (choice.known is not None and choice.known.facts.apart)
            mended, first = corrected(incoming[number], choice), first_news(incoming[number], choice)
            self._choose(n, choice, one._replace(apart=apart, corrected=mended, met=met, **first._asdict()))

    def _others(self, known: Sequence[Candidate], choices: Sequence[Choice]) -> tuple[str, ...]:
        """Ids of reports that came a moment ago, and are none of the message: their senders may still look
        behind their writes, and have come before this. DECISIONS.md#decided-behind
        """
        if (now := self.read.reading.now) is None or not known:
            return ()
        mine = {one.id for one in choices} | {other.key.id for one in choices for other in one.united}
        mine |= self.race.mine if self.race else frozenset()
        recent = from_datetime(now - _MOMENT).start
        others = [one for one in known if one.arrived > recent and one.key.id not in mine]
        return tuple(one.key.id for one in sorted(others, key=lambda one: -one.arrived)[:_MET_MAX])

    def incoming(self) -> tuple[list[Facts], list[Incoming], list[int]]:
        """The facts of the message's reports; the reports, twins that say the same once; which each is."""
        race = self.race or Race()
        numbers = self.read.by_type.get(REPORT, [])
        facts = [self.about(n)._replace(specimens=self.read.specimens(n)) for n in numbers]
        facts = [
            one._replace(apart=True)
            if any(
                twins(one, other) for m, other in enumerate(facts) if m != n and self._differ(numbers, n, m)
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
                incoming.append(
                    Incoming(
                        one,
                        entry.sourced,
                        self.names_of(n, one.patient, sure=is_bare(one)),
                        race.mine,
                        race.gone,
                    )
                )
            which.append(first[same])
        return facts, incoming, which

    def _differ(self, numbers: Sequence[int], one: int, other: int) -> bool:
        mine, theirs = self.read.entries[numbers[one]], self.read.entries[numbers[other]]
        return mine.content != theirs.content or mine.resource.get("id") != theirs.resource.get("id")

    def names_of(self, number: int, patient: str, *, sure: bool = False) -> frozenset[str]:
        """Names of an entry's patient: `Patient/id` of each stored record, and the numbers.

        `sure`: nothing but these speaks for what is found, so that no number counts that others may have.
        """
        if (other := self.among.get(patient)) is not None:
            facts, known = self.facts[other], self.choices[other].known
            told = (*facts.numbers, *facts.former)
            told += (*known.facts.numbers, *known.facts.former) if known else ()
            numbers = (one.name for one in told if one.rank is Rank.STRONG or not sure)
            return frozenset((patient, *(f"{PATIENT}/{one}" for one in facts.kin), *numbers))
        named = {(one.system, one.value) for one in self.read.logical.get(number, ())}
        people = self._people() if named else []
        # A number of a merged record is the survivor's, unless it was issued again.
        found = [one for one in people if _carries(one.facts.numbers, named, sure=sure)] or [
            one for one in people if _carries(one.facts.former, named, sure=sure)
        ]
        record = patient.removeprefix(f"{PATIENT}/")
        if record != patient:
            found += [c for c in self._people() if record == c.key.id or record in c.facts.kin]
        ids = (f"{PATIENT}/{name}" for one in found for name in (one.key.id, *one.facts.kin))
        return frozenset((patient, *ids))

    def _people(self) -> list[Candidate]:
        return [one for one in self.candidates if one.key.type == PATIENT]

    def _has_lost_patient(self, number: int) -> bool:
        """Whether a report names its patient by a reference that leads nowhere, and by nothing else."""
        text = self.read.only_patient(number)
        is_search = "?" in text and not self.read.logical[number]  # It names nobody by a number.
        return bool(text) and (is_search or text in self._missing(number) or self.read.is_dead(number, text))

    # --- parts of reports

    def _parts(self) -> None:
        types = self.read.types
        left = [n for n, kind in enumerate(types) if n not in self.choices and kind not in RECORDS]
        leads_to = self.read.leads
        owners = owners_of(leads_to, self.read.by_type.get(REPORT, []), frozenset(left))
        nameless = frozenset(n for n in left if n not in owners and is_nameless(types[n], self.about(n)))
        others = [n for n in leads_to if nameless and n not in nameless and types[n] not in RECORDS]
        holders = {n: found for n, found in owners_of(leads_to, others, nameless).items() if n in nameless}
        self._choose_parts([self._part(n, owners.get(n, ())) for n in left if n not in holders])
        # They lie within what leads to them, which is known by now.
        self._choose_parts([self._part(n, holders[n]) for n in left if n in holders])

    def _choose_parts(self, parts: Sequence[Part]) -> None:
        names = name_parts(parts)
        mine = self.race.mine if self.race else frozenset()
        taken: set[str] = set()
        for part in parts:
            derived = self.derive(names[part.number])
            choice = Choice(derived)
            if is_found_by_number(part):
                choice = choose_numbered(part, derived, self.candidates, taken, mine)
            elif part.kin and not part.held and part.type == OBSERVATION:
                choice = self._under_kin(part, derived, taken)
            taken.update((choice.id, *choice.also))
            within = tuple(one.partition("/")[2] for one in part.within) if part.held else ()
            if choice.known is not None and not within:
                within = choice.known.facts.within
            self._choose(part.number, choice, part.facts._replace(within=within))

    def _under_kin(self, part: Part, derived: str, taken: Collection[str]) -> Choice:
        """Something by itself, without number, that was made under another record of its patient, or under
        each of them.
        """
        names = (name_parts([part._replace(within=(one,))])[part.number] for one in sorted(part.kin))
        keys = [ResourceKey(part.type, self.derive(name)) for name in names]
        self.sought.update((ResourceKey(part.type, derived), *keys))
        stored = {one.key for one in self.candidates}
        found = [key.id for key in keys if key in stored and key.id not in taken]
        if not found or ResourceKey(part.type, derived) in stored:
            return Choice(derived, also=tuple(found))
        return Choice(found[0], also=tuple(found[1:]))

    def _part(self, number: int, owners: Sequence[int]) -> Part:
        facts = self.about(number)
        entry = self.read.entries[number]
        within = tuple(sorted({f"{self.read.types[n]}/{self.choices[n].id}" for n in owners}))
        said = "" if within or is_told(facts) else self.content.of(number)
        kin = self.names_of(number, facts.patient, sure=not facts.numbers) - {facts.patient}
        within, held = within or (facts.patient,), bool(within)
        return Part(number, entry.type, facts, within, held, entry.content, said, kin)

    # --- records, and what all have in common

    def _records(self) -> None:
        for number, entry in enumerate(self.read.entries):
            if number not in self.choices:
                said = self.content.of(number)
                name = f"{entry.type} {self.read.reading.source} {said}"
                self._choose(number, Choice(self.derive(name)), self.about(number))

    def _choose(self, number: int, choice: Choice, facts: Facts) -> None:
        self.choices[number] = choice
        self.facts[number] = facts

    def about(self, number: int) -> Facts:
        """The facts of an entry, its patient being the stored one."""
        facts = self.read.facts[number]
        if number in self.contradicted:
            facts = facts._replace(numbers=())
        text = self.read.patients[number]
        if text not in self.read.targets[number]:
            return facts
        there = self.read.targets[number][text]
        if there is None:
            return facts._replace(patient=self._outside(number, text))
        of_type = self.read.types[there]
        own = self.choices[there].id if there in self.choices else self.read.facts[there].own
        return facts._replace(patient=f"{of_type}/{own}")

    def _outside(self, number: int, text: str) -> str:
        """Name of a patient who is not in the message: the address or number, else within the message.

        A local id such as `Patient/1` is another person's in the next message.
        """
        there = self._elsewhere(number, text)
        if text not in self._missing(number):  # One of ours goes by its id, as in all other messages.
            return there.partition("/_history/")[0].removeprefix(f"{self.read.base}/")
        if named := patient_number(self.read.entries[number].resource, self.read.reading):
            return named
        return there if self.read.references.has_root(number, text) else f"{there} {self.read.digest}"

    def _elsewhere(self, number: int, text: str) -> str:
        """A reference that leads out of the message, as it is stored."""
        if not self.read.texts[number][text] and not is_of_source(text):
            return text  # The URL of an Attachment, and not of a resource of the source.
        address = self.read.reading.source.partition(" ")[2]
        return self._sent_before(text) or self.read.references.elsewhere(number, text, source=address)

    def _missing(self, number: int) -> tuple[str, ...]:
        return tuple(text for text in self.read.missing(number) if self._sent_before(text) is None)

    def _sent_before(self, text: str) -> str | None:
        """`Type/id` of the stored resource that a source with stable ids means; None: there is none."""
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
        resource = redirected(entry.resource, told, within=self.read.pointing[number])
        return Placement(key, resource, self.facts[number], choice, self._missing(number))


def _carries(numbers: Sequence[Number], named: Collection[tuple[str, str]], *, sure: bool) -> bool:
    told = (one for one in numbers if one.rank is Rank.STRONG or not sure)
    return any((one.system, one.value) in named for one in told)
