"""Records of patients: names for those without number, links between records, and which were merged."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.identity.decisions import Candidate, Choice, Finding, Kin
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.likeness import (
    alike_in_birth,
    alike_in_name,
    contradict_as_people,
    is_another_person,
    is_uuid,
)
from ingest.pipeline.identity.numbers import LINKS, Rank
from ingest.pipeline.identity.reader import PATIENT, REPORT
from store.resources.resource_keys import ResourceKey
from store.resources.versions import SourceTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.pipeline.identity.numbers import Number
    from ingest.pipeline.identity.reader import Reader


FILLED_IN: Final = frozenset(
    ("0001-01-01", "1753-01-01", "1800-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "9999-12-31")
)
"""Days on which nobody who is tested was born: first and last ones of databases, spreadsheets and .NET."""


def named(facts: Facts) -> frozenset[tuple[str, str]]:
    """Systems and values of the numbers of a record, former ones too."""
    return frozenset((one.system, one.value) for one in (*facts.numbers, *facts.former))


def name_without_number(read: Reader, number: int) -> str:
    """Name of a patient without any number: who it is said to be, else within what came with it.

    A name without a day of birth is that of many, and so is a local id such as `Patient/1`: then another
    message is about another patient, unless it carries a report of the same number.
    """
    facts = read.facts[number]
    told = f"{read.reading.source} {' / '.join(facts.names)} {facts.born} {facts.sex}"
    if facts.names and tells_a_day(facts.born):
        return told
    about = [n for n in read.by_type[REPORT] if number in read.leads_to(n)]
    anchors = [one.name for n in about for one in read.facts[n].numbers[:1]]
    if anchors:
        return f"{told} {' '.join(sorted(anchors))}"
    own = facts.own if facts.names or is_uuid(facts) else ""
    said = [read.entries[number].content] if own else sorted(one.content for one in read.entries)
    return f"{told} {own} {sha256(b''.join(said)).hexdigest()}"


def tells_a_day(born: str) -> bool:
    """Whether a birth date tells people of one name apart: a year does not, nor does what systems fill in."""
    return len(born) == len("1950-01-01") and born not in FILLED_IN


def link_records(read: Reader, choices: dict[int, Choice]) -> None:
    """Relate the choices of Patients whose `link` says that one record replaces the other."""
    for number in read.by_type[PATIENT]:
        for other in _linked(read, number):
            if other in choices:
                choices[number] = _related(choices[number], choices[other])
                choices[other] = _related(choices[other], choices[number])


def _linked(read: Reader, number: int) -> Iterator[int]:
    """Entries of the message that a Patient's `link` names as the same person."""
    links = read.entries[number].resource.get("link")
    for link in links if isinstance(links, list) else ():
        other = link.get("other") if isinstance(link, dict) and link.get("type") in LINKS else None
        text = other.get("reference") if isinstance(other, dict) else None
        there = read.targets[number].get(text) if isinstance(text, str) else None
        if there is not None and there != number:
            yield there


def _related(choice: Choice, there: Choice) -> Choice:
    """A choice with another record among its kin."""
    if there.id == choice.id:
        return choice
    kin = Candidate(ResourceKey(PATIENT, there.id), there.known.facts if there.known else Facts())
    findings = choice.findings
    if choice.known is None or there.id not in choice.known.facts.kin:
        findings = tuple(dict.fromkeys((*findings, Finding.PATIENTS_LINKED)))
    return choice._replace(kin=(*choice.kin, kin), findings=findings)


def unknown_kin(read: Reader, choices: dict[int, Choice], candidates: Sequence[Candidate]) -> list[Kin]:
    """Groups of records of one person each that are not all stored as such."""
    found: list[Kin] = []
    stored = {one.key.id: named(one.facts) for one in candidates if one.key.type == PATIENT}
    for number in read.by_type[PATIENT]:
        choice = choices[number]
        members = {choice.id: frozenset(choice.known.facts.kin if choice.known else ())}
        members |= {one.key.id: frozenset(one.facts.kin) for one in choice.kin}
        group = frozenset(members).union(*members.values())
        behind = {one.key.id: frozenset(one.facts.kin) for one in _claiming(candidates, choice)}
        group |= frozenset(behind)
        complete = all(group - {one} <= kin for one, kin in (members | behind).items())
        if len(group) > 1 and not complete:
            mine = named(read.facts[number]) | stored.get(choice.id, frozenset())
            found.append({one: stored.get(one, frozenset()) for one in group} | {choice.id: mine})
    return found


def _claiming(candidates: Sequence[Candidate], choice: Choice) -> list[Candidate]:
    """Stored Patients that name this one as their kin; of whoever is new they mean who had the id before."""
    if choice.known is None:
        return []
    known = choice.known.facts
    naming = (one for one in candidates if one.key.type == PATIENT and choice.id in one.facts.kin)
    return [one for one in naming if one.key.id in known.kin or not contradict_as_people(one.facts, known)]


# --- merges


class Told(NamedTuple):
    """A pushed patient, and what the plan knows of it."""

    facts: Facts
    sourced: SourceTime
    known: Candidate | None = None
    """The stored record that it is."""
    racing: Collection[str] = ()


def merged(told: Told, candidates: Iterable[Candidate], own_id: str) -> tuple[Candidate, ...]:
    """Records that are merged with this one: a number of `use` `old` is the current one of the other."""
    others = [one for one in candidates if one.key.id != own_id]
    facts, this = told.facts, Candidate(ResourceKey(PATIENT, own_id), told.facts)
    return tuple(
        one
        for one in others
        if (_lists(facts, one.facts) and not (_is_passed_on(this, one, others) or _is_no_news(told, one)))
        or (
            _lists(one.facts, facts) and not (_is_passed_on(one, this, others) or _is_issued_again(told, one))
        )
    )


def _is_no_news(survivor: Told, carrier: Candidate) -> bool:
    """Whether a survivor that listed the number before meets somebody else, who was not linked then.

    The merged record itself need not be stored: it never came, was deleted, or is past its retention.
    """
    known = survivor.known
    return (
        known is not None
        and carrier.key.id not in {*known.facts.kin, *survivor.racing}
        and _lists(known.facts, carrier.facts)
        and is_another_person(survivor.facts, carrier.facts)
    )


def _is_issued_again(carrier: Told, survivor: Candidate) -> bool:
    """Whether somebody else comes with the number of a merged record behind the merge: older news is of that
    record.
    """
    is_linked = carrier.known is not None and carrier.known.key.id in survivor.facts.kin
    is_late = bool(carrier.sourced) and carrier.sourced < survivor.sourced
    return not is_linked and not is_late and is_another_person(survivor.facts, carrier.facts)


def is_retired_of_another(facts: Facts, record: Candidate, merging: Iterable[Candidate]) -> bool:
    """Whether a record was merged into another, and neither is this patient: a number was issued again.

    `merging` are the records that list former numbers.
    """
    survivors = [one for one in merging if one is not record and _lists(one.facts, record.facts)]
    linked = [one for one in survivors if one.key.id in record.facts.kin]
    return bool(linked) and all(contradict_as_people(facts, one.facts) for one in (record, *survivors))


def _is_passed_on(survivor: Candidate, carrier: Candidate, candidates: Iterable[Candidate]) -> bool:
    """Whether a carrier of a survivor's former number is somebody else, who got it after the merge.

    The record that was merged is another one, which is stored.
    """
    if not contradict_as_people(survivor.facts, carrier.facts):
        return False
    return any(
        one not in (survivor, carrier)
        and survivor.key.id in one.facts.kin
        and _lists(survivor.facts, one.facts)
        and contradict_as_people(carrier.facts, one.facts)
        for one in candidates
    )


def _lists(survivor: Facts, retired: Facts) -> bool:
    """Whether a record lists the number of another as a former one; families share untyped numbers.

    Where one stands for another of its system, a merge may be what corrects the name or the birth date.
    """
    if not survivor.former:
        return False
    former = {(number.system, number.value): number.rank for number in survivor.former}
    ranks = [
        min(number.rank, former[number.system, number.value])
        for number in retired.numbers
        if (number.system, number.value) in former
    ]
    if not ranks:
        return False
    if min(ranks) is Rank.STRONG:
        return True
    counted = {number.system for number in survivor.numbers}
    if any(one.system in counted for one in retired.numbers if (one.system, one.value) in former):
        return not contradict_as_people(survivor, retired)
    return alike_in_name(survivor, retired) is not False and alike_in_birth(survivor, retired) is not False


def unlinked(told: Told, candidates: Iterable[Candidate], linked: Collection[str]) -> bool:
    """Whether a number of a merge is news, and the current one of a record that is not linked with this."""
    known = told.known.facts if told.known else Facts()
    former = _names(told.facts.former) - _names(known.former)
    current = _names(told.facts.numbers) - _names(known.numbers)
    return any(
        one.key.id not in linked
        and bool(former & _names(one.facts.numbers) or current & _names(one.facts.former))
        for one in candidates
    )


def _names(numbers: Iterable[Number]) -> set[tuple[str, str]]:
    return {(one.system, one.value) for one in numbers}
