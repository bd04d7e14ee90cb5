"""Everything that is neither patient nor report: shared by number, one per content, or part of a report.

A part of a report is found again when the report is amended, and no other report touches it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.identity.decisions import OBSERVATION, Candidate, Choice
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.likeness import (
    contradict,
    is_to_the_minute,
    shared,
    telling,
)
from ingest.pipeline.identity.numbers import Rank
from ingest.pipeline.identity.wording import telling_words
from store.fhir.instants import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence


DIRECTORY: Final = frozenset(
    "Practitioner PractitionerRole Organization OrganizationAffiliation Location Device HealthcareService"
    " Endpoint Substance Medication InsurancePlan CareTeam Group Questionnaire ActivityDefinition"
    " PlanDefinition"
    " ObservationDefinition SpecimenDefinition".split()
)
"""Types that reports share: by number, else one per content; a report keeps the one it came with."""
NUMBERED: Final = frozenset(
    "Encounter EpisodeOfCare ServiceRequest Coverage Account RelatedPerson ResearchSubject".split()
)
"""Types of a patient's things that many reports share when they carry a number."""
RECORDS: Final = frozenset({"AuditEvent", "Bundle", "MessageHeader", "Provenance"})
"""Types that tell of one message: one per content."""


def shared_names(resource_type: str, facts: Facts) -> list[str]:
    """Natural keys by number of a resource that reports share, the surest first; empty: it has none."""
    if resource_type in DIRECTORY:
        told = [_called(number.rank, facts) for number in facts.numbers]
    elif not facts.patient:  # A number of a visit may count those of a patient.
        return []
    else:
        mine: tuple[str, ...] = (facts.patient,)
        if resource_type == "ServiceRequest":
            mine = (*mine, " ".join(sorted(facts.codes)) or facts.title, str(facts.time.start))
        told = [mine for _ in facts.numbers]
    named = [(number, one) for number, one in zip(facts.numbers, told, strict=True) if one]
    return ["\n".join([f"{resource_type} {number.name}", *one]) for number, one in named]


def _called(rank: Rank, facts: Facts) -> tuple[str, ...]:
    """Name told beside a number; empty: the number alone does not name one thing."""
    if rank is Rank.STRONG:
        return ("",)
    return ("", *facts.names, facts.patient) if facts.names else ()


def choose_shared(
    resource_type: str, facts: Facts, candidates: Sequence[Candidate], derive: Callable[[str], str]
) -> Choice:
    """The stored resource that carries one of the natural keys, else a new one."""
    names = shared_names(resource_type, facts)
    named = facts.names if resource_type in DIRECTORY else ()
    derived = derive("\n".join([names[0], *named]))
    wanted = frozenset(names)
    found = [
        one
        for one in candidates
        if one.key.type == resource_type
        and not wanted.isdisjoint(shared_names(resource_type, one.facts))
        and not _is_another(facts, one.facts)
        and not (resource_type in DIRECTORY and _is_another_name(facts, one.facts))
    ]
    known = min(
        found,
        key=lambda one: (one.facts.names != facts.names, one.key.id != derived, one.key.id),
        default=None,
    )
    return Choice(derived if known is None else known.key.id, known=known)


def _is_another(one: Facts, other: Facts) -> bool:
    """Whether numbers as sure as the one in common differ: two visits of one local number are two."""
    rank = shared(one, other)
    return rank is not None and rank is not Rank.STRONG and contradict(one, other, below=rank)


def _is_another_name(one: Facts, other: Facts) -> bool:
    """Whether of two people or organizations one has no name, or their names have no word in common.

    A number that a whole practice uses must not rename who interpreted an earlier report, nor take the name.
    """
    if bool(one.names) != bool(other.names):
        return True
    mine, theirs = telling_words(one.names), telling_words(other.names)
    return bool(mine and theirs) and mine.isdisjoint(theirs)


def contradicted(told: Sequence[tuple[int, bytes, Sequence[str]]]) -> frozenset[int]:
    """Numbers of those entries of a message that share a natural key with another, which says something else.

    Each comes with its number, its content and its natural keys.
    """
    said: defaultdict[str, set[bytes]] = defaultdict(set)
    for _, content, names in told:
        for name in names:
            said[name].add(content)
    return frozenset(number for number, _, names in told if any(len(said[name]) > 1 for name in names))


class Part(NamedTuple):
    """A resource that has its identity within others."""

    number: int
    """Number of its entry."""
    type: str
    facts: Facts
    within: tuple[str, ...]
    """`Type/id` of the reports that lead to it, or of what else holds it; else of its patient."""
    held: bool
    """Whether those lead to it."""
    content: bytes
    """Content of its entry, without the id."""
    said: str = ""
    """Digest of all that it says, by which it is known when nothing else tells."""
    kin: frozenset[str] = frozenset()
    """`Patient/id` of the other records of its patient."""


_HELD: Final = frozenset({"Media", "Specimen"})
"""Types of which a source's own id, or the patient, says too little: also UUIDs come again for others."""


def is_nameless(resource_type: str, facts: Facts) -> bool:
    """Whether something that no report leads to is known within what leads to it alone.

    Without a patient, as a Binary, its number or id may be another person's in the next message.
    """
    if resource_type == OBSERVATION or facts.stable:
        return False
    return not facts.patient or (resource_type in _HELD and not is_told(facts))


def is_told(facts: Facts) -> bool:
    """Whether number, or time and patient, tell what something by itself is; a day has room for several."""
    return bool(facts.numbers) or (is_to_the_minute(facts) and bool(facts.patient))


def name_parts(parts: Sequence[Part]) -> dict[int, str]:
    """A natural key for each: type, owners and code, and what tells several of those apart."""
    groups: defaultdict[tuple[str, ...], list[Part]] = defaultdict(list)
    for part in parts:
        groups[_base(part)].append(part)
    names: dict[int, str] = {}
    for base, group in groups.items():
        # Twins without ids that say the same are one.
        twins = {(part.facts.own, part.content): part for part in reversed(group)}
        firsts = [part for part in group if twins[part.facts.own, part.content] is part]
        told = dict(zip([part.number for part in firsts], _distinguished(firsts), strict=True))
        for part in group:
            first = twins[part.facts.own, part.content]
            names[part.number] = "\n".join([*base, told[first.number]])
    return names


def _base(part: Part) -> tuple[str, ...]:
    facts = part.facts
    code = " ".join(sorted(facts.codes)) or facts.title
    base = (part.type, *part.within, code)
    if part.held:
        return base
    # By itself it is told by its number, or by the source and its time.
    if facts.numbers:
        return (*base, facts.numbers[0].name, str(facts.time.start))
    when = str(facts.time.start)
    if not is_told(facts):
        is_own = facts.stable or (bool(facts.patient) and telling(facts))
        when += f" {facts.own}" if facts.own and is_own else f" {part.said}"
    return (*base, facts.own.partition("|")[0], when)


def _distinguished(group: Sequence[Part]) -> list[str]:
    """Marks of a group's members: the first of number, time and own id that differs, else the order."""
    for tell in (_by_number, _by_nothing, _by_time, _by_own_id):
        told = [tell(part.facts) for part in group]
        if (all(told) or len(group) == 1) and len(set(told)) == len(told):
            return told
    seen: Counter[str] = Counter()
    told = []
    for part in group:
        same = f"{_by_number(part.facts)}\n{_by_time(part.facts)}"
        seen[same] += 1
        told.append(f"{same}\n{seen[same]}")
    return told


def _by_number(facts: Facts) -> str:
    return facts.numbers[0].name if facts.numbers else ""


def _by_nothing(_: Facts) -> str:
    return ""


def _by_time(facts: Facts) -> str:
    return f"{facts.time.start}-{facts.time.end}" if facts.time != ABSENT else ""


def _by_own_id(facts: Facts) -> str:
    return facts.own


def owners_of(
    leads_to: Mapping[int, Sequence[int]], reports: Sequence[int], through: Collection[int]
) -> dict[int, tuple[int, ...]]:
    """Reports that lead to each entry, directly or through others.

    `through` are the entries that a walk goes on from: not from a patient, who leads to everything.
    """
    owners: defaultdict[int, list[int]] = defaultdict(list)
    for report in reports:
        for reached in _reached(leads_to, report, through):
            owners[reached].append(report)
    return {number: tuple(found) for number, found in owners.items()}


def _reached(leads_to: Mapping[int, Sequence[int]], start: int, through: Collection[int]) -> Iterator[int]:
    seen, ahead = {start}, list(leads_to.get(start, ()))
    while ahead:
        number = ahead.pop()
        if number in seen:
            continue
        seen.add(number)
        yield number
        if number in through:
            ahead += leads_to.get(number, ())
