"""Reports compared: whether two of one number are one, by the table of `docs/identity.md`.

A number alone decides nothing: reports of one number are told apart by code, patient, specimen and clinical
time, and by the source's own id where that says more than a place in the message.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ingest.pipeline.identity.facts import Facts
from ingest.pipeline.identity.likeness import (
    alike_in_code,
    alike_in_moment,
    alike_in_time_or_specimen,
    apart_in_parent,
    apart_in_specimen,
    apart_in_time,
    contradict,
    is_bare,
    is_of_its_message,
    is_same_bare,
    is_uuid,
    lasting,
    other_own,
    other_source,
    same_own,
    says_more,
    shared,
    telling,
)
from ingest.pipeline.identity.numbers import Rank

CORRECTING: Final = frozenset({"corrected", "amended", "appended", "cancelled", "entered-in-error"})
"""Statuses with which a laboratory mends what it said."""


class Pair(NamedTuple):
    """Pair of reports under one number, the newer one first."""

    newer: Facts
    older: Facts
    linked: bool
    """Whether their patients are one person."""
    alone: bool
    """Whether nothing else is known under the number."""
    places: bool = False
    """Whether the ids under the number turned out to be places in messages: one id is of two codes."""
    mended: bool = False
    """Whether the report was corrected behind the older one, whatever came since."""
    own: bool = False
    """Whether the newer one was about its patient already when the older one was said of another."""


def is_same_report(pair: Pair) -> bool:
    """Whether two reports are one, by the table of `docs/identity.md`. Symmetrical but for what is newer."""
    new, old = pair.newer, pair.older
    if not share_number(new, old):
        return False
    same_id, mends = same_own(new, old), new.status in CORRECTING
    # What was mended before is only surely the older one where more than number and code say so.
    correcting = mends or (pair.mended and is_surely(new, old))
    if not pair.linked:
        # A mix-up that the laboratory mends: the report moves.
        movable = _is_movable(new, old) and (not other_source(new, old) or alike_in_moment(new, old))
        movable = movable and not pair.own and not _told_apart(pair, places=True)
        return correcting and movable and alike_in_code(new, old)
    if not alike_in_code(new, old):
        return correcting and same_id and (telling(new) or (mends and _meant(pair)))
    if same_id and not apart_in_parent(new, old) and (lasting(new) or (correcting and telling(new))):
        return True
    return not _told_apart(pair, places=pair.places)


def _is_movable(new: Facts, old: Facts) -> bool:
    """Whether a number in common is a report's own beyond the patient: `1` may be another one's, too."""
    rank = shared(new, old)
    if rank is not Rank.WEAK:
        return rank is not None and rank < Rank.ORDER
    theirs = {(number.system, number.value) for number in old.numbers}
    return any(says_more(n.value) for n in new.numbers if (n.system, n.value) in theirs)


def share_number(one: Facts, other: Facts) -> bool:
    """Whether two reports carry a number in common, or what stands in for one."""
    rank = shared(one, other)
    if not (one.patient or other.patient) and is_of_its_message(one):
        return same_own(one, other)  # Whose they are nobody says.
    if rank is None:
        # Without any number the source's own id stands in for one, and without that all that is said.
        alike = is_same_bare(one, other) if is_bare(one) else same_own(one, other)
        return alike and not (one.numbers or other.numbers)
    # Of two numbers the surer one decides: one order, or accession, brings several reports.
    return rank is Rank.STRONG or not contradict(one, other, below=Rank(rank - 1))


def _told_apart(pair: Pair, *, places: bool) -> bool:
    """Whether time, specimen, or else the source's own id tell two reports of one number and code apart."""
    new, old = pair.newer, pair.older
    if apart_in_time(new, old) or apart_in_parent(new, old):
        return True
    if apart_in_specimen(new, old, numbers_only=new.status in CORRECTING):
        return True
    if not other_own(new, old):
        return False
    if new.apart or old.apart or (new.stable and old.stable):
        return True
    if places:
        return False
    # A converter makes new UUIDs for each message; other ids are as good as a time, where there is none.
    return not alike_in_time_or_specimen(new, old) and not (is_uuid(new) and is_uuid(old))


def _meant(pair: Pair) -> bool:
    """Whether one id of the source means one report though the code is another.

    An accession is shared, and `r1` may be another report of the next message.
    """
    if telling(pair.newer):
        return True
    rank = shared(pair.newer, pair.older)
    return pair.alone and rank is not None and rank not in (Rank.SHARED, Rank.ORDER)


def is_surely(one: Facts, other: Facts) -> bool:
    """Whether more than number and code says that two reports are one."""
    return same_own(one, other) or (
        alike_in_time_or_specimen(one, other) and not (other_own(one, other) and (one.apart or other.apart))
    )
