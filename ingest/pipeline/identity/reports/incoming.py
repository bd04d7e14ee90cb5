"""Reports of a message, and what is known of them: whose they were from when, and when they were mended."""

from __future__ import annotations

from typing import NamedTuple

from ingest.pipeline.identity.decisions import Candidate, Choice
from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.reports.sameness import CORRECTING
from store.resources.versions import SourceTime


class FirstNews(NamedTuple):
    """First news of a report that was about its patient, as `Facts` has them."""

    since: SourceTime = ""
    mended_since: SourceTime = ""
    """Time of the first correction, which may have made it this patient's."""
    moved_here: bool = False

    @property
    def sourced(self) -> SourceTime:
        """Time of the first of all."""
        return _earlier(self.since, self.mended_since)

    @property
    def is_mended(self) -> bool:
        """Whether a correction was the first."""
        return bool(self.mended_since) and not (self.since and self.since <= self.mended_since)

    def with_news(self, other: FirstNews) -> FirstNews:
        """The first of both."""
        return FirstNews(
            _earlier(self.since, other.since),
            _earlier(self.mended_since, other.mended_since),
            self.moved_here or other.moved_here,
        )


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


def first_of(stored: Facts, sourced: SourceTime) -> FirstNews:
    """First news of a stored report that was about its patient; `sourced` is the time of the latest."""
    told = FirstNews(stored.since, stored.mended_since, stored.moved_here)
    return told if told.sourced else _alone(stored, sourced)


def _alone(facts: Facts, sourced: SourceTime) -> FirstNews:
    """News of which no earlier ones are known."""
    return FirstNews(mended_since=sourced) if facts.status in CORRECTING else FirstNews(sourced)


def _earlier(one: SourceTime, other: SourceTime) -> SourceTime:
    return min(one, other) if one and other else one or other


def is_since(stored: Candidate, sourced: SourceTime) -> bool:
    """Whether a stored report was about its patient already at this time; without one the arrival counts."""
    return not sourced or first_of(stored.facts, stored.sourced).sourced <= sourced


def is_own(stored: Candidate, sourced: SourceTime) -> bool:
    """Whether no correction behind this time made a stored report its patient's."""
    return is_since(stored, sourced) or not first_of(stored.facts, stored.sourced).is_mended


def first_news(one: Incoming, choice: Choice) -> FirstNews:
    """First news of a report that was about its patient, as they are kept; none: the latest is the first."""
    known = choice.known
    if known is None or not one.sourced:
        return FirstNews()
    if not is_of_person(one, known):
        return FirstNews(mended_since=one.sourced, moved_here=True) if choice.moved_from else FirstNews()
    before = first_of(known.facts, known.sourced)
    if not before.sourced:
        return FirstNews()
    came = any(not is_of_person(one, other) for other in choice.united)
    first = before.with_news(_alone(one.facts, one.sourced))._replace(moved_here=before.moved_here or came)
    is_told = first.moved_here or first_of(known.facts, "").sourced or known.sourced != one.sourced
    return first if is_told else FirstNews()


def forgets(mine: Facts, sourced: SourceTime, stored: Facts, latest: SourceTime) -> bool:
    """Whether a report written with these facts would lose what is stored of its first news by now.

    What is kept in so many words is also noted on a report that is newer.
    """
    first, now = first_of(mine, sourced), first_of(stored, latest)
    both, is_kept = first.with_news(now), bool(mine.since or mine.mended_since)
    return both != first or not (is_kept or both == now)


def corrected(one: Incoming, choice: Choice) -> SourceTime:
    """Time of the newest correction of a report: what is older was said before it."""
    before = [known.facts.corrected for known in (choice.known, *choice.united) if known is not None]
    return max([*before, one.sourced if one.facts.status in CORRECTING else ""])
