"""Patients: which stored record a pushed one is, and which records are of one person.

A medical record number decides. Weaker ones decide where nothing speaks against them. A doubt makes two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.pipeline.identity.decisions import Candidate, Choice, Finding
from ingest.pipeline.identity.likeness import (
    alike_in_birth,
    alike_in_name,
    changed_person,
    contradict,
    contradict_as_people,
    is_another_person,
    shared,
)
from ingest.pipeline.identity.numbers import Rank
from ingest.pipeline.identity.patient_records import Told, is_retired_of_another, merged, unlinked
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from ingest.pipeline.identity.facts import Facts
    from store.resources.versions import SourceTime


_PATIENT: Final = "Patient"


def is_same_patient(one: Facts, other: Facts) -> bool:
    """Whether two records are of one person, by the table of `docs/identity.md`."""
    rank = shared(one, other)
    if rank is None:
        return False
    if rank is Rank.STRONG:
        return True
    return not contradict(one, other, below=Rank.WEAK) and not contradict_as_people(one, other)


def is_somebody_else(nameless: Facts, stored: Facts) -> bool:
    """Whether the record of a patient without any number is another's by now: somebody gave it to them."""
    return changed_person(nameless, stored) or (
        bool(stored.numbers) and contradict_as_people(nameless, stored)
    )


COMPARISONS_MAX: Final = 200_000
"""Comparisons of a message's patients with stored ones: two seconds of a processor."""
_TOO_MANY: Final = (
    "too many patients of one message share numbers with too many stored ones: send them in several messages,"
    " and without the numbers that do not name one person"
)


class Records:
    """Stored Patients, found by the numbers that they share."""

    def __init__(self, candidates: Sequence[Candidate]) -> None:
        self.ids: Final = frozenset(one.key.id for one in candidates)
        self._all = candidates
        self._compared = 0
        self._by_number: dict[tuple[str, str], list[int]] = {}
        for place, one in enumerate(candidates):
            for number in _named(one.facts):
                self._by_number.setdefault(number, []).append(place)

    def near(self, facts: Facts) -> list[Candidate]:
        """Records that share a number with this evidence, and those that share one with these, in order.

        None else has a say in who it is; of former numbers it is the survivors that do. Raises ServiceError
        `too-large` when a message's patients have too many of them.
        """
        first = self._under(_named(facts))
        second = self._under({number for place in first for number in _named(self._all[place].facts)})
        self._compared += len(first | second)
        if self._compared > COMPARISONS_MAX:
            raise ServiceError(Category.TOO_LARGE, Issue("too-costly", _TOO_MANY, (_PATIENT,)))
        return [self._all[place] for place in sorted(first | second)]

    def _under(self, numbers: Iterable[tuple[str, str]]) -> set[int]:
        return {place for number in numbers for place in self._by_number.get(number, ())}


def _named(facts: Facts) -> set[tuple[str, str]]:
    return {(one.system, one.value) for one in (*facts.numbers, *facts.former)}


def choose_patient(  # noqa: PLR0913 -- half of them keyword-only
    facts: Facts,
    candidates: Sequence[Candidate],
    derive: Callable[[str], str],
    *,
    nameless: str,
    sourced: SourceTime = "",
    racing: Collection[str] = (),
    occupied: Collection[str] = (),
) -> Choice:
    """The stored patient that this one is, else a new id; `nameless` names a patient without any number.

    `racing` are records that came while this one was decided upon, its own among them; `occupied` are ids of
    records that carry none of its numbers any more, or are somebody else's.
    """
    if not facts.numbers:
        own = next(made for made in _salted(f"Patient {nameless}", derive) if made not in occupied)
        return Choice(own, kin=merged(Told(facts, sourced), candidates, ""))
    merging = [one for one in candidates if one.facts.former]
    same = [
        one
        for one in candidates
        if is_same_patient(facts, one.facts) and not is_retired_of_another(facts, one, merging)
    ]
    surest = [one for one in same if shared(facts, one.facts) is Rank.STRONG] or same
    chosen = _best(facts, surest)
    if chosen is not None and chosen.key.id in racing:
        # Of those that were made at once the one with the newest news, whoever looks.
        rivals = [one for one in surest if one.key.id in racing]
        newest = max(one.sourced for one in rivals)
        chosen = min((one for one in rivals if one.sourced == newest), key=lambda one: one.key.id)
    findings: list[Finding] = []
    if chosen is None:
        doubted = bool(same) or any(shared(facts, one.facts) is not None for one in candidates)
        # A merged record that was deleted is still named by those of its person, and by its reports.
        others = (one.facts.kin for one in candidates if is_another_person(facts, one.facts))
        taken = {*occupied, *(one.key.id for one in candidates), *(one for kin in others for one in kin)}
        fresh = _fresh(facts, taken, derive)
        merges = merged(Told(facts, sourced), candidates, fresh)
        findings = [Finding.PATIENTS_LINKED] if merges else []
        if doubted or unlinked(Told(facts, sourced), candidates, {one.key.id for one in merges}):
            findings.append(Finding.PATIENT_DOUBTED)
        return Choice(fresh, tuple(findings), kin=merges)
    if changed_person(facts, chosen.facts):
        findings.append(Finding.PATIENT_CHANGED)
    told = Told(facts, sourced, chosen, racing)
    kin = {one.key.id: one for one in merged(told, candidates, chosen.key.id)}
    kin |= {
        one.key.id: one
        for one in same
        if one is not chosen
        and (one.key.id in racing or _sure(facts, one.facts))
        # Two hospital numbers of one system are two people's, though a laboratory's number is both's.
        and not contradict(chosen.facts, one.facts, below=Rank.WEAK)
    }
    of_one = {chosen.key.id, *chosen.facts.kin, *kin}
    # Two people have the number by now, or a merge is doubted.
    twice = any(one.key.id not in of_one and shared(facts, one.facts) is Rank.STRONG for one in same)
    if twice or unlinked(told, candidates, of_one):
        findings.append(Finding.PATIENT_DOUBTED)
    new = kin.keys() - set(chosen.facts.kin)
    findings += [Finding.PATIENTS_LINKED] if new else []
    linked = {*racing, *chosen.facts.kin}
    twins = [
        one for one in same if one is not chosen and one.key.id in linked and _says_as_much(facts, one.facts)
    ]
    latest = max((chosen, *twins), key=lambda one: one.sourced)
    behind = [one.key.id for one in (chosen, *twins) if one.sourced < latest.sourced]
    return Choice(
        chosen.key.id,
        tuple(findings),
        chosen,
        kin=tuple(kin.values()),
        also=tuple(sorted(one.key.id for one in twins)),
        latest=latest if behind else None,
        behind=tuple(behind),
    )


def _says_as_much(facts: Facts, stored: Facts) -> bool:
    """Whether news may take a record's place: of what is surely the record's own, no number gets lost.

    News goes to all records that were made of a person at once. One that was merged keeps its own number.
    """
    told = {(number.system, number.value) for number in facts.numbers}
    sure = ((number.system, number.value) for number in stored.numbers if number.rank is Rank.STRONG)
    return told.issuperset(sure)


def _sure(one: Facts, other: Facts) -> bool:
    """Whether a second record is of the same person beyond doubt: nothing contradicts it."""
    if contradict(one, other, below=Rank.WEAK) or contradict_as_people(one, other):
        return False
    return shared(one, other) is Rank.STRONG or bool(alike_in_name(one, other) and alike_in_birth(one, other))


def _best(facts: Facts, same: Sequence[Candidate]) -> Candidate | None:
    """The record that most speaks for; None: there is none, or two are as good and not the same person."""
    if not same:
        return None

    def speaks_for(one: Candidate) -> tuple[bool, ...]:
        theirs = {(number.system, number.value) for number in one.facts.numbers}
        return (
            *((number.system, number.value) in theirs for number in facts.numbers),
            bool(alike_in_name(facts, one.facts)),
            bool(alike_in_birth(facts, one.facts)),
        )

    ranked = sorted(same, key=lambda one: (*(not yes for yes in speaks_for(one)), one.key.id))
    first = ranked[0]
    rivals = [one for one in ranked[1:] if speaks_for(one) == speaks_for(first)]
    if any(not is_same_patient(first.facts, one.facts) for one in rivals):
        return None
    return first


def _fresh(facts: Facts, taken: set[str], derive: Callable[[str], str]) -> str:
    """A new id: of the record number, else of all weaker numbers with name and birth date."""
    strong = [number for number in facts.numbers if number.rank is Rank.STRONG]
    told = [number.name for number in strong[:1] or facts.numbers]
    name = "Patient " + " ".join([*told, *(() if strong else (*facts.names, facts.born))])
    return next(made for made in _salted(name, derive) if made not in taken)


def _salted(name: str, derive: Callable[[str], str]) -> Iterable[str]:
    """Ids of a name, one after the other: what once had the first may be another by now."""
    yield derive(name)
    turn = 2
    while True:
        yield derive(f"{name} again {turn}")
        turn += 1
