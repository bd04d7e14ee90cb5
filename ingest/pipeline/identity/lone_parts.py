"""Observations and documents that are found again by their own numbers, within their reports or alone.

An observation within reports is only ever found again by just these. A document by itself is the one of its
number, whatever a later notification leaves unsaid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.pipeline.identity.decisions import OBSERVATION, Candidate, Choice, Finding
from ingest.pipeline.identity.likeness import (
    alike_in_code,
    apart_in_time,
    lasting,
    same_own,
    says_more,
    shared,
)
from ingest.pipeline.identity.parts import Part
from store.fhir.instants import ABSENT

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.pipeline.identity.facts import Facts


DOCUMENT: Final = "DocumentReference"
_TAKEN_BACK: Final = "entered-in-error"


def is_found_by_number(part: Part) -> bool:
    """Whether something is looked for among what is stored, and not under its own name alone."""
    if part.type == DOCUMENT:
        return bool(part.facts.numbers) and not part.held
    return part.type == OBSERVATION and (bool(part.facts.numbers) or part.facts.stable)


def choose_numbered(
    part: Part,
    derived: str,
    candidates: Sequence[Candidate],
    taken: Collection[str],
    mine: Collection[str] = (),
) -> Choice:
    """The stored resource with the same number, patient and code, else the one named by the part.

    An observation within reports is only ever found again by just these, so that news of one changes no
    other; or it was pushed by itself before. `mine`: ids of what the message made itself.
    """
    facts = part.facts
    under = [
        one
        for one in candidates
        if one.key.type == part.type and one.key.id not in taken and _share(facts, one.facts)
    ]
    same = [one for one in under if _is_same(part, one.facts)]
    left = _made_at_once(part, derived, same) if part.type == OBSERVATION else ()
    if left:
        found = [one for one in same if one not in left]
        mine = ()
    else:
        # What the message made itself, not knowing of the others, is in nobody's way, unless a report shows
        # it by now.
        found = [one for one in same if one.key.id not in mine or one.shown]
    if part.held:
        choice = _within(part, derived, found)
    else:
        choice = _alone(part, derived, found)
        is_doubted = not choice.known and part.type == OBSERVATION
        if is_doubted and any(one.key.id not in mine for one in under):
            choice = choice._replace(findings=(Finding.OBSERVATION_DOUBTED,))
    return choice._replace(united=left) if choice.known is not None else choice


def _made_at_once(part: Part, derived: str, same: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Observations that no report shows, while another one stays that is the same: senders made them at once.

    What was put has no id of a source, and stays.
    """
    reports = {one.partition("/")[2] for one in part.within} if part.held else None
    there = [one for one in same if not one.retired and one.facts.patient == part.facts.patient]
    lying = [
        one
        for one in there
        if (one.facts.within if reports is None else reports == set(one.facts.within) or reports & one.shown)
    ]
    staying = [one for one in lying if one.shown] or sorted(
        lying, key=lambda one: (one.key.id != derived, one.key.id)
    )[:1]
    others = [one for one in there if not one.shown and one.facts.own and one not in staying]
    if reports is not None:  # Those of other reports are theirs.
        others = [one for one in others if set(one.facts.within) <= reports]
    return tuple(one for one in others if staying and _is_made_twice(one, staying))


def _is_made_twice(one: Candidate, staying: Sequence[Candidate]) -> bool:
    """Whether an observation is the one that stays: by what it says, or as the only one of its source id."""
    if all(_surely_one(one.facts, other.facts) for other in staying):
        return True
    return len(staying) == 1 and same_own(one.facts, staying[0].facts)


def _alone(part: Part, derived: str, same: Sequence[Candidate]) -> Choice:
    """An observation, or document, that no report of the message leads to."""
    facts = part.facts
    same = [one for one in same if not one.retired] or same
    own = [one for one in same if same_own(facts, one.facts)]
    likely = same if len(same) == 1 else [one for one in same if one.key.id == derived] or own
    surely = all(_surely_one(facts, one.facts) for one in same)
    if len(likely) == 1:
        first = likely[0]
        # Made under each of two numbers before their records were merged.
        others = [one for one in same if one.facts.patient != first.facts.patient] if surely else []
        return Choice(first.key.id, known=first, also=tuple(sorted(one.key.id for one in others)))
    if same and surely:
        # One observation that several reports carry, each its own copy.
        first, *copies = sorted(same, key=lambda one: one.key.id)
        return Choice(first.key.id, known=first, also=tuple(one.key.id for one in copies))
    return Choice(derived)


def _within(part: Part, derived: str, same: Sequence[Candidate]) -> Choice:
    """An observation that reports lead to."""
    reports = {one.partition("/")[2] for one in part.within}
    # A report that was put shows what was put; another one's news is not about that.
    alone = [one for one in same if not (one.facts.within or one.retired) and one.shown <= reports]
    mine = [one for one in same if reports == set(one.facts.within)]
    found = alone if len(alone) == 1 else [one for one in mine if one.key.id == derived] or mine
    return Choice(found[0].key.id, known=found[0]) if len(found) == 1 else Choice(derived)


def _surely_one(one: Facts, other: Facts) -> bool:
    """Whether the number is hardly one of a report's own counting, or the time is the same."""
    theirs = {(number.system, number.value) for number in other.numbers}
    mine = [number.value for number in one.numbers if (number.system, number.value) in theirs]
    return one.time == other.time != ABSENT or any(map(says_more, mine))


def _share(one: Facts, other: Facts) -> bool:
    return shared(one, other) is not None or (one.stable and same_own(one, other))


def _is_same(part: Part, other: Facts) -> bool:
    one = part.facts
    if other.patient not in {one.patient, *part.kin}:
        return False
    if part.type != DOCUMENT:
        return alike_in_code(one, other) and not apart_in_time(one, other)
    if other.within:
        return False
    if alike_in_code(one, other) or (lasting(one) and same_own(one, other)):
        return True
    # Whoever takes a document back says less of it.
    untold = not (one.codes or one.title) or not (other.codes or other.title)
    return untold and _TAKEN_BACK in (one.status, other.status)
