"""Numbers of a patient by the source that gave them: what one source does not know, another one's list keeps.

A source speaks for the numbers that it gave. Its newest list takes the place of its earlier ones, and takes
nothing from those of others, but for weak numbers of a system that it names itself. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.identity.facts import Given
from ingest.pipeline.identity.likeness import is_another_person
from ingest.pipeline.identity.numbers import Rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from ingest.pipeline.identity.decisions import Candidate
    from ingest.pipeline.identity.facts import Facts
    from ingest.pipeline.identity.numbers import Number
    from store.fhir.datatypes import Json
    from store.resources.versions import SourceTime

SOURCES_MAX: Final = 20
"""Sources whose numbers a record keeps: those that spoke last."""


class Held(NamedTuple):
    """Numbers of a record as all of its sources give them."""

    given: tuple[Given, ...] = ()
    """The list of each source, the newest first; empty: one source alone."""
    numbers: tuple[Number, ...] = ()
    former: tuple[Number, ...] = ()


def held(facts: Facts, sourced: SourceTime, known: Candidate) -> Held:
    """The numbers of a stored record once a list of these facts has come, be it late or the newest.

    Somebody of another name and birth date gets nothing of what was given to the one before. The number of a
    merged record stays, whoever tells of it, and however late.
    """
    if is_another_person(facts, known.facts):
        return Held(numbers=facts.numbers, former=facts.former)
    before = _given_to(known)
    own = next((one for one in before if one.source == facts.source), None)
    if own is not None and sourced and own.sourced > sourced:
        former = _former((known.facts.former, facts.former), known.facts.numbers)
        return Held(known.facts.given, known.facts.numbers, former)
    newest = max((one.sourced for one in before), default="")
    told = Given(facts.source, sourced or newest, facts.numbers)
    others = [one for one in before if one.source != facts.source]
    given = merged((told, *others))
    is_late = bool(sourced) and sourced < known.sourced
    lists = (known.facts.former, facts.former) if is_late else (facts.former, known.facts.former)
    numbers = _numbers(given, {(one.system, one.value) for one in lists[0]})
    return Held(given if len(given) > 1 else (), numbers, _former(lists, numbers))


def merged(*lists: Sequence[Given]) -> tuple[Given, ...]:
    """The newest list of each source, the newest first."""
    newest: dict[str, Given] = {}
    for one in (one for each in lists for one in each):
        known = newest.get(one.source)
        if known is None or known.sourced < one.sourced:
            newest[one.source] = one
    return tuple(sorted(newest.values(), key=lambda one: one.sourced, reverse=True)[:SOURCES_MAX])


def list_of(facts: Facts, known: Candidate) -> Facts:
    """A list that speaks for its own systems alone, with what its source gave the same person before in
    others.
    """
    if is_another_person(facts, known.facts):
        return facts
    before = next((one.numbers for one in _given_to(known) if one.source == facts.source), ())
    systems = {one.system for one in facts.numbers}
    left = (one for one in before if one.system not in systems)
    return facts._replace(numbers=tuple(sorted((*facts.numbers, *left))))


def _given_to(known: Candidate) -> Sequence[Given]:
    """The lists of a stored record; of one source alone it is the record's."""
    facts = known.facts
    return facts.given or (Given(facts.source, known.sourced, facts.numbers),)


def _numbers(given: Sequence[Given], merged: AbstractSet[tuple[str, str]]) -> tuple[Number, ...]:
    """The numbers of lists, the newest first; by older ones what was merged since is no current number."""
    numbers = {(one.system, one.value): one for one in given[0].numbers}
    for one in given[1:]:
        systems = {system for system, _ in numbers}
        for number in one.numbers:
            name = number.system, number.value
            if name not in merged and (number.rank is Rank.STRONG or number.system not in systems):
                numbers.setdefault(name, number)
    return tuple(sorted(numbers.values()))


def _former(lists: Sequence[Sequence[Number]], current: Iterable[Number]) -> tuple[Number, ...]:
    """The numbers of merged records in lists: of the first one all, of others what is not current again."""
    first, *others = lists
    found = {(one.system, one.value): one for one in first}
    there = {(one.system, one.value) for one in current}
    for number in (one for each in others for one in each):
        if (number.system, number.value) not in there:
            found.setdefault((number.system, number.value), number)
    return tuple(sorted(found.values()))


def identifiers_of(numbers: Iterable[Number], among: Sequence[Json]) -> list[Json]:
    """The identifiers among these that say one of the numbers."""
    wanted = {(one.system, one.value) for one in numbers}
    bare = {value for _, value in wanted}
    return [
        one
        for one in among
        if isinstance(one, dict)
        and (
            (one.get("system"), one.get("value")) in wanted
            or (not one.get("system") and one.get("value") in bare)
        )
    ]
