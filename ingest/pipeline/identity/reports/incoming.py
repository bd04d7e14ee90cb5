"""Reports of a message, and what is known of them: whose they were from when, and when they were mended."""

from __future__ import annotations

from typing import Final, NamedTuple

from ingest.pipeline.identity.decisions import Candidate, Choice
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.reports.sameness import CORRECTING
from store.resources.versions import SourceTime

MENDING: Final = " mending"
"""Mark behind the time of first news that were a correction."""
MOVED: Final = " moved"
"""The same, where another patient's report has moved with it."""


class First(NamedTuple):
    """First news of a report that was about its patient."""

    sourced: SourceTime
    mended: bool
    """Whether it was a correction, which may have made it this patient's."""
    moved: bool = False
    """Whether another patient's report has moved here: no further one does."""


class Incoming(NamedTuple):
    """A report of a message, ready to be compared."""

    facts: Facts
    sourced: SourceTime
    kin: frozenset[str] = frozenset()
    """Names of its patient: `Patient/id` of each stored record, and the numbers."""
    mine: frozenset[str] = frozenset()
    """Ids of what the same message made: no evidence of others."""
    gone: tuple[Candidate, ...] = ()
    """Reports of others that left while it was decided: evidence, though they cannot be this one any more."""


def is_of_person(one: Incoming, stored: Candidate) -> bool:
    """Whether a stored report is about the same person."""
    return stored.facts.patient in {one.facts.patient, *one.kin}


def first_of(stored: Candidate) -> First:
    """First news of a stored report that was about its patient."""
    told = stored.facts.since
    if not told:
        return First(stored.sourced, stored.facts.status in CORRECTING)
    return First(
        told.removesuffix(MENDING).removesuffix(MOVED), told.endswith((MENDING, MOVED)), told.endswith(MOVED)
    )


def is_since(stored: Candidate, sourced: SourceTime) -> bool:
    """Whether a stored report was about its patient already at this time; without one the arrival counts."""
    return not sourced or first_of(stored).sourced <= sourced


def is_own(stored: Candidate, sourced: SourceTime) -> bool:
    """Whether no correction behind this time made a stored report its patient's."""
    return is_since(stored, sourced) or not first_of(stored).mended


def since(one: Incoming, choice: Choice) -> SourceTime:
    """First news of a report that was about its patient, as it is kept; empty: it is the latest."""
    known, mine = choice.known, First(one.sourced, one.facts.status in CORRECTING)
    if known is None or not one.sourced:
        return ""
    if not is_of_person(one, known):
        return f"{one.sourced}{MOVED}" if choice.moved_from else ""
    before = first_of(known)
    if not before.sourced:
        return ""
    first = min(before, mine)
    moved = before.moved or any(not is_of_person(one, other) for other in choice.united)
    if not (moved or known.facts.since or before.sourced != one.sourced):
        return ""
    return f"{first.sourced}{(MOVED if moved else MENDING) if first.mended else ''}"


def corrected(one: Incoming, choice: Choice) -> SourceTime:
    """Time of the newest correction of a report: what is older was said before it."""
    before = [known.facts.corrected for known in (choice.known, *choice.united) if known is not None]
    return max([*before, one.sourced if one.facts.status in CORRECTING else ""])
