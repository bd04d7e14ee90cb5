"""Records of patients within one message: names for those without number, and links between records."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from ingest.pipeline.identity.decisions import Candidate, Choice, Finding, Kin
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.likeness import is_uuid
from ingest.pipeline.identity.numbers import LINKS
from ingest.pipeline.identity.reader import PATIENT, REPORT
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.pipeline.identity.reader import Reader


def named(facts: Facts) -> frozenset[tuple[str, str]]:
    """Systems and values of the numbers of a record, former ones too."""
    return frozenset((one.system, one.value) for one in (*facts.numbers, *facts.former))


def name_without_number(read: Reader, number: int) -> str:
    """Name of a patient without any number: who it is said to be, else within what came with it.

    A name without a birth date is that of many, and so is a local id such as `Patient/1`: then another
    message is about another patient, unless it carries a report of the same number.
    """
    facts = read.facts[number]
    told = f"{read.reading.source} {' / '.join(facts.names)} {facts.born} {facts.sex}"
    if facts.names and facts.born:
        return told
    about = [n for n in read.by_type[REPORT] if number in read.leads_to(n)]
    anchors = [one.name for n in about for one in read.facts[n].numbers[:1]]
    if anchors:
        return f"{told} {' '.join(sorted(anchors))}"
    own = facts.own if facts.names or is_uuid(facts) else ""
    said = [read.entries[number].content] if own else sorted(one.content for one in read.entries)
    return f"{told} {own} {sha256(b''.join(said)).hexdigest()}"


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
        behind = {one.key.id: frozenset(one.facts.kin) for one in _claiming(candidates, choice.id)}
        group |= frozenset(behind)
        complete = all(group - {one} <= kin for one, kin in (members | behind).items())
        if len(group) > 1 and not complete:
            mine = named(read.facts[number]) | stored.get(choice.id, frozenset())
            found.append({one: stored.get(one, frozenset()) for one in group} | {choice.id: mine})
    return found


def _claiming(candidates: Sequence[Candidate], patient: str) -> list[Candidate]:
    """Stored Patients that name this one as their kin."""
    return [one for one in candidates if one.key.type == PATIENT and patient in one.facts.kin]
