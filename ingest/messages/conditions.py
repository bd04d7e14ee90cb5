"""Conditions under which a plan may be carried out: stored records still are who they were taken for.

A plan looks at the store, and is written later. Whoever gives a record another number in between makes it
somebody else's: then nothing of the message may be written there, and who is who is decided anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.messages.message import MAIN
from ingest.pipeline.identity.decisions import OBSERVATION
from ingest.pipeline.identity.facts import as_evidence, from_stored
from ingest.pipeline.identity.likeness import shared
from ingest.pipeline.identity.patients import is_same_patient, is_somebody_else
from ingest.pipeline.identity.reader import PATIENT
from ingest.pipeline.identity.reports.incoming import forgets
from ingest.pipeline.identity.reports.sameness import Pair, is_same_report
from store.resources.resource_keys import ResourceKey
from store.resources.versions import ANOTHER_BY_NOW, Provided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.pipeline.identity.decisions import Candidate, Placement, Planned
    from ingest.pipeline.identity.facts import FactContext, Facts
    from ingest.pipeline.identity.reader import Reader
    from store.errors import ServiceError
    from store.resources.versions import SourceTime

_OF_ALL = frozenset({PATIENT, MAIN[0]})
"""Types on which all of a message hangs: when one is another's by now, nothing is written."""


class Conditions(NamedTuple):
    """Conditions under which the entries of a message are written."""

    of_all: tuple[Provided, ...]
    """Conditions of each of them."""
    own: Mapping[ResourceKey, Provided]
    """Further conditions, each of one resource."""

    def of(self, key: ResourceKey) -> tuple[Provided, ...]:
        """Conditions of one resource."""
        own = self.own.get(key)
        return self.of_all if own is None else (*self.of_all, own)


def conditions_of(planned: Planned, read: Reader) -> Conditions:
    """Conditions of a plan: its records are who they were."""
    told = zip(planned.placements, read.entries, strict=True)
    found = [one for placed, entry in told for one in _conditions(placed, entry.sourced, read.reading)]
    found += _unchanged(planned)
    of_all = tuple(one for one in found if one.key.type in _OF_ALL)
    return Conditions(of_all, {one.key: one for one in found if one.key.type not in _OF_ALL})


def as_found(one: Candidate) -> tuple[Provided, ...]:
    """Condition that a stored resource is what it was when it was found, as far as its numbers tell."""
    return (Provided(one.key, partial(_is_as_found, one.facts)),)


def is_overtaken(error: ServiceError) -> bool:
    """Whether a write was refused because a record is another's by now."""
    return ANOTHER_BY_NOW in error.issues


def _unchanged(planned: Planned) -> Iterator[Provided]:
    """Conditions that reports are as they were found, where one takes over a result that came by itself.

    Another sender may just give the report a result of its own.
    """
    takes = {
        name
        for placed in planned.placements
        if placed.key.type == OBSERVATION and placed.choice.known and not placed.choice.known.facts.within
        for name in placed.facts.within
    }
    for placed in planned.placements if takes else ():
        if placed.key.type == MAIN[0] and placed.key.id in takes:
            known = placed.choice.known
            yield Provided(placed.key, partial(_is_of_moment, known.arrived if known else None))


def _is_of_moment(arrived: int | None, told: Mapping[str, Any] | None) -> bool:
    """Whether what is stored is the version of this moment; None: nothing is there."""
    return (None if told is None else told.get("arrived")) == arrived


def _conditions(placed: Placement, sourced: SourceTime, reading: FactContext) -> Iterator[Provided]:
    facts, known = placed.facts, placed.choice.known
    if placed.key.type == PATIENT:
        if facts.numbers:
            there = known.facts if known else None
            yield Provided(placed.key, partial(_is_patient, facts, reading, is_new=known is None))
            yield Provided(placed.key, partial(_loses_nothing, facts, reading, there))
            for copy in placed.choice.also:
                yield Provided(ResourceKey(PATIENT, copy), partial(_is_patient, facts, reading, is_new=False))
        else:
            yield Provided(placed.key, partial(_is_nobody_else, facts, reading))
    elif placed.key.type == MAIN[0] and (known is not None or facts.numbers):
        # One without a number is found by its id alone, which says all that is known of it.
        found = known.facts if known else None
        yield Provided(placed.key, partial(_is_report, facts, sourced, reading, found))
    elif known is not None and shared(facts, known.facts) is not None:
        yield Provided(placed.key, partial(_is_record, facts, known.facts))


def _is_patient(facts: Facts, reading: FactContext, told: Mapping[str, Any] | None, *, is_new: bool) -> bool:
    """Whether what is stored is this patient, by the rules of the plan; of one who is new nothing need be."""
    return is_new if told is None else is_same_patient(facts, as_evidence(from_stored(told), reading))


def _loses_nothing(
    facts: Facts, reading: FactContext, known: Facts | None, told: Mapping[str, Any] | None
) -> bool:
    """Whether a record has no number, and no source, that the plan did not see, and lacks none that it saw.

    What another source gives is to stay, also when this one gives the same, until that takes it back.
    """
    if told is None:
        return True
    now = as_evidence(from_stored(told), reading)
    mine, there = _named(facts), _named(known) if known else set()
    sources = {facts.source} | (_sources(known) if known else set())
    return there - mine <= _named(now) <= there | mine and _sources(now) <= sources


def _named(facts: Facts) -> set[tuple[str, str]]:
    return {(one.system, one.value) for one in (*facts.numbers, *facts.former)}


def _sources(facts: Facts) -> set[str]:
    """The sources that gave a stored record its numbers."""
    return {one.source for one in facts.given} or {facts.source}


def _is_nobody_else(facts: Facts, reading: FactContext, told: Mapping[str, Any] | None) -> bool:
    """Whether what is stored may be this patient, who has no number, and was not given one meanwhile."""
    stored = as_evidence(from_stored(told or {}), reading)
    return not (stored.numbers or is_somebody_else(facts, stored))


def _is_as_found(found: Facts, told: Mapping[str, Any] | None) -> bool:
    """Whether what is stored is about the same, or gone already."""
    if told is None or found.numbers:
        return told is None or _is_record(found, found, told)
    now = from_stored(told)
    return now.patient == found.patient and not now.numbers


def _is_report(
    facts: Facts,
    sourced: SourceTime,
    reading: FactContext,
    known: Facts | None,
    told: Mapping[str, Any] | None,
) -> bool:
    """Whether what is stored is the report as it was found, or this one by the rules of the plan."""
    if told is None:
        return known is None
    now = as_evidence(from_stored(told), reading)
    if now == known:
        return True
    if now.corrected > facts.corrected:  # It stays known that it was corrected.
        return False
    if forgets(facts, sourced, now, told.get("sourced", "")):
        return False
    return now.patient == facts.patient and is_same_report(Pair(facts, now, linked=True, alone=False))


def _is_record(facts: Facts, known: Facts, told: Mapping[str, Any] | None) -> bool:
    """Whether what is stored still has a number in common, and is about the same patient."""
    if told is None:
        return False
    now = from_stored(told)
    return shared(facts, now) is not None and now.patient in (facts.patient, known.patient)
