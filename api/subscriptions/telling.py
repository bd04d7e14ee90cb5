"""Telling: which changes each subscription may have to hear of, and what it is told of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from store.changes.kinds import GOING as FEED_GOING
from store.changes.kinds import Kind
from store.subscriptions.events import GOING, UNMATCHED
from store.subscriptions.matching import Dispatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from store.changes.changes import Change
    from store.search.criteria import SearchQuery
    from store.search.index_side import IndexSide
    from store.subscriptions.records import Subscription

FORGOTTEN: Final = frozenset({Kind.ERASED, Kind.EXPIRED})
"""Changes after which the name of a resource is taken out of all earlier events."""


class Asking(NamedTuple):
    """A subscription with the search that it is."""

    subscription: Subscription
    query: SearchQuery
    new_only: bool


class Row(NamedTuple):
    """A change with its key as text."""

    change: Change
    key: str


def concerned(
    asking: Sequence[Asking],
    rows: Sequence[Row],
    sides: Mapping[str, IndexSide],
    known: Mapping[str, Mapping[str, str]],
) -> Iterator[tuple[Asking, list[Row]]]:
    """Changes that each subscription may have to hear of: those that may fit, or that it knew of."""
    by_type: dict[str, list[int]] = {}
    for number, one in enumerate(asking):
        by_type.setdefault(one.query.type, []).append(number)
    dispatches = {
        name: Dispatch([asking[number].query.clauses for number in numbers])
        for name, numbers in by_type.items()
    }
    named = {one.subscription.id: number for number, one in enumerate(asking)}
    own: dict[int, list[Row]] = {}
    candidates: dict[str, set[int]] = {}
    for row in rows:
        found = candidates.get(row.key)
        if found is None:
            numbers = by_type[row.change.key.type]
            may_fit = dispatches[row.change.key.type].candidates(sides.get(row.key))
            knowing = (named[id] for id in known.get(row.key, ()) if id in named)
            found = candidates[row.key] = {*(numbers[one] for one in may_fit), *knowing}
        for number in found:
            own.setdefault(number, []).append(row)
    return ((asking[number], some) for number, some in own.items())


def is_told_as_others(asking: Asking, rows: Sequence[Row], known: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether a subscription is told of changes whatever any other with its search is: all of them came
    behind its beginning, and it knew of none of the resources.
    """
    own = asking.subscription
    if rows[0].change.number <= own.start.number:
        return False
    return not known or not any(own.id in known.get(row.key, ()) for row in rows)


def is_new(change: Change) -> bool:
    """Whether a resource is new by this change."""
    return change.kind is Kind.CREATED or (change.version == 1 and change.kind not in FEED_GOING)


def may_be_new(change: Change, *, knows: bool) -> bool:
    """Whether a resource is new to a subscriber, who knows of it or not: a scan finds its last version alone,
    so any may be one that came since.
    """
    return is_new(change) or (change.scanned and change.kind not in FEED_GOING and not knows)


def told(change: Change, fits: bool, last: str | None, *, everything: bool) -> str | None:  # noqa: FBT001
    """Tell what a subscriber hears of a change; None: nothing.

    `last` is what it was told of the resource before. That a resource went is told to those who knew of it,
    and to whoever hears of everything; that it no longer fits, once. What was stored quietly is told to those
    alone who knew of the resource.
    """
    knows = last is not None and last not in GOING
    if change.kind in FEED_GOING:
        return change.kind.value if knows or (everything and last is None) or _follows(change, last) else None
    if fits:
        return change.kind.value if knows or not change.quiet else None
    return UNMATCHED if knows else None


def _follows(change: Change, last: str | None) -> bool:
    """Whether an erasure is told after a deletion that was told: the history is gone now, too."""
    return last == Kind.DELETED.value and change.kind in FORGOTTEN
