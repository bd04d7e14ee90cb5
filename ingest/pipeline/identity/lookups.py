"""Entries of the index under which the candidates of a message are looked up, and stored."""

from __future__ import annotations

from collections import Counter, defaultdict
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from ingest.pipeline.identity.decisions import OBSERVATION, Candidate
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.likeness import is_bare, told_of_bare
from ingest.pipeline.identity.lone_parts import DOCUMENT
from ingest.pipeline.identity.numbers import Rank
from ingest.pipeline.identity.parts import (
    DIRECTORY,
    NUMBERED,
    owners_of,
)
from ingest.pipeline.identity.plan import Planning
from ingest.pipeline.identity.reader import PATIENT, REPORT, Reader
from ingest.pipeline.identity.reports.choosing import names_of_bare
from store.resources.resource_keys import ResourceKey
from store.search.values.escapes import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def wanted(
    read: Reader, derive: Callable[[str], str], candidates: Sequence[Candidate] = ()
) -> dict[str, frozenset[str]]:
    """Entries of the index under which candidates are, by resource type.

    Those of an observation's numbers hold its patient, who is decided on by what is known so far.
    """
    guess = Planning(read, candidates, derive)
    guess.decide_patients()
    lone = _lone(read)
    found: defaultdict[str, set[str]] = defaultdict(set)
    for number, entry in enumerate(read.entries):
        facts = read.facts[number]
        if entry.type == PATIENT:
            found[PATIENT] |= {f"identifier={escape(n.value)}" for n in (*facts.numbers, *facts.former)}
            found[PATIENT] |= {f"former={escape(n.value)}" for n in facts.numbers}
            found[PATIENT].add(f"kin={guess.choices[number].id}")
        elif entry.type == OBSERVATION:
            found[PATIENT] |= {f"identifier={escape(n.value)}" for n in read.logical[number]}
            about = guess.about(number) if facts.numbers else facts
            # In a report it may be what came by itself, under another name of the patient.
            names = guess.names_of(number, about.patient, sure=number not in lone) if facts.numbers else ()
            for patient in {about.patient, *names}:
                found[OBSERVATION].update(keys_of(OBSERVATION, about._replace(patient=patient)))
        elif entry.type in _LOOKED_UP:
            if entry.type == REPORT:
                found[PATIENT] |= {f"identifier={escape(n.value)}" for n in read.logical[number]}
            found[entry.type] |= {f"identifier={escape(n.value)}" for n in facts.numbers}
        if entry.type in (REPORT, OBSERVATION) and read.patients[number].startswith(
            f"{read.base}/{PATIENT}/"
        ):
            # One of ours by its address, who may have been merged.
            found[PATIENT].add(f"kin={facts.patient.removeprefix(f'{PATIENT}/')}")
        if facts.own and _has_own_key(entry.type, facts):
            found[entry.type].add(own_key(facts.own))
    if read.reading.stable:
        for kind, key in _keys_of_missing(read):
            found[kind].add(key)
    return {kind: frozenset(keys) for kind, keys in found.items() if keys}


def narrowed(
    read: Reader, derive: Callable[[str], str], candidates: Sequence[Candidate], kind: str
) -> frozenset[str]:
    """Keys that find fewer candidates of a type of which too many carry the message's numbers.

    Patients are found by their sure numbers, reports by their patient; other types have no such keys.
    """
    if kind == PATIENT:
        sure = [n for p in read.by_type[PATIENT] for n in read.facts[p].numbers if n.rank is Rank.STRONG]
        return frozenset(f"identifier={escape(n.value)}" for n in sure)
    if kind != REPORT:
        return frozenset()
    guess = Planning(read, candidates, derive)
    guess.decide_patients()
    return frozenset(f"patient={guess.about(n).patient}" for n in read.by_type[REPORT])


def unindexed(
    read: Reader, derive: Callable[[str], str], candidates: Sequence[Candidate]
) -> list[ResourceKey]:
    """Keys under which entries of the message may be stored, which no entry of the index tells.

    Reports without number and id, and observations by themselves without number under other records of
    their patient: DECISIONS.md#bare-reports
    """
    has_bare = any(is_bare(read.facts[n]) for n in read.by_type[REPORT])
    lone = any(not read.facts[n].numbers for n in _lone(read))
    if not (has_bare or lone):
        return []
    guess = Planning(read, candidates, derive)
    if lone:
        guess.planned()
    else:
        guess.decide_patients()
    bare = [one for one in guess.incoming()[1] if is_bare(one.facts)] if has_bare else []
    turns = Counter(told_of_bare(one.facts) for one in bare)
    names = {
        name
        for one in bare
        for turn in range(1, turns[told_of_bare(one.facts)] + 1)
        for name in names_of_bare(one, turn)
    }
    return sorted(guess.sought | {ResourceKey(REPORT, derive(name)) for name in names})


def _lone(read: Reader) -> frozenset[int]:
    """Observations that no report leads to."""
    reports, results = read.by_type[REPORT], frozenset(read.by_type[OBSERVATION])
    if not reports or not results:
        return results
    if results.issubset([there for one in reports for there in read.leads[one]]):
        return frozenset()
    through = frozenset(n for n, kind in enumerate(read.types) if kind != PATIENT)
    return results.difference(owners_of(read.leads, reports, through))


def _keys_of_missing(read: Reader) -> Iterator[tuple[str, str]]:
    """Types and keys under which earlier resources of a source with stable ids are found."""
    for number in range(len(read.entries)):
        for text in read.missing(number):
            kind, _, own = text.partition("/_history/")[0].partition("/")
            if own:
                yield kind, own_key(f"{read.reading.source}|{own}")


_LOOKED_UP: Final = frozenset({PATIENT, REPORT, OBSERVATION, DOCUMENT}) | NUMBERED | DIRECTORY


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
    if resource_type in (PATIENT, REPORT):  # A patient without a number is known by what is said of them.
        return True
    return facts.stable or (resource_type in _LOOKED_UP and bool(facts.numbers or facts.former))
