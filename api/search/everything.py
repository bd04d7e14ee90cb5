"""All of one person, page by page: the Patient, what is about them by type, and what that refers to. Pure.

A person may have several records, linked as one's: what an erasure of them takes is what this gives.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from api.search.answer import Search, ask, begin
from api.search.linked import names_only
from store.fhir import instants
from store.fhir.instants import Interval
from store.search.criteria import Dates, Position, Total
from store.search.parameters import TYPES
from store.search.reach import INCLUDE, reaches
from store.search.values.dates import DateValue

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from api.search.answer import Asker
    from store.resources.pages import Entry
    from store.search.parsing.context import SearchContext
    from store.search.parsing.query_text import Pair

ABOUT_PATIENTS: Final = ("Patient", *sorted(name for name, row in TYPES.items() if "patient" in row.by_name))
"""Types of a patient's record, in the order of the pages."""
_SHAPE: Final[tuple[Pair, ...]] = (("_include", "*"), ("_total", "none"))


@dataclass(frozen=True, slots=True)
class Wish:
    """Conditions on the resources."""

    types: tuple[str, ...] = ABOUT_PATIENTS
    """Types that are looked through."""
    only: frozenset[str] = frozenset()
    """Types that are shown; empty: all, and whatever they refer to."""
    since: str = ""
    """Instant since which a resource was stored."""
    start: str = ""
    """First day of care; of types that have a clinical date."""
    end: str = ""
    count: int = 50
    """Resources that are looked at for a page, without what they refer to."""

    def shows(self, type: str) -> bool:
        """Whether resources of a type are asked for."""
        return not self.only or type in self.only


class Place(NamedTuple):
    """Start of a page: a type by its place among those of the wish, and a position within it."""

    type: int = 0
    within: Position | None = None


@dataclass(slots=True)
class Part:
    """A page as it fills."""

    entries: list[Entry] = field(default_factory=list)
    included: dict[str, Entry] = field(default_factory=dict)
    looked: int = 0
    """Resources that were looked at, some for what they refer to alone."""
    size: int = 0
    next: Place | None = None


async def page(
    asker: Asker, patients: Sequence[str], wish: Wish, place: Place, context: SearchContext
) -> Part:
    """The resources from a place on, as many as a page may have; `patients` are ids of a person's records."""
    part, own = Part(), [f"Patient/{one}" for one in patients]
    number, within = place
    while number < len(wish.types):
        name = wish.types[number]
        if not reaches(asker.reach, name, INCLUDE):
            number, within = number + 1, None
            continue
        left = wish.count - part.looked
        room = context.limits.bytes_max - part.size
        if left <= 0 or room <= 0:
            part.next = Place(number, within)
            return part
        limits = replace(context.limits, bytes_max=room) if part.looked else context.limits
        pairs = _pairs(name, patients, wish, left)
        search = begin(name, pairs, context._replace(limits=limits), link_seconds=1)
        clauses = (*search.query.clauses, *_in_care(name, wish))
        query = replace(search.query, clauses=clauses, position=within, total=Total.NONE)
        found = (await ask(asker, Search(search.state, query))).page
        part.entries += found.entries if wish.shows(name) else ()
        part.looked += len(found.entries)
        part.size += found.size
        for entry in found.included:
            kind = entry.key.type
            if kind != "Patient" and wish.shows(kind) and names_only(own, entry.key, entry.raw):
                part.included[str(entry.key)] = entry
        if found.next is not None:
            within = found.next
        else:
            number, within = number + 1, None
    return part


def about(resource_type: str, patients: Sequence[str]) -> Pair:
    """The search parameter for a type of the record of the patients with these ids."""
    if resource_type == "Patient":
        return "_id", ",".join(patients)
    return "patient", ",".join(f"Patient/{one}" for one in patients)


def _pairs(resource_type: str, patients: Sequence[str], wish: Wish, count: int) -> list[Pair]:
    pairs = [about(resource_type, patients), *_SHAPE, ("_count", str(count))]
    return [*pairs, ("_lastUpdated", f"ge{wish.since}")] if wish.since else pairs


def _in_care(resource_type: str, wish: Wish) -> Iterator[Dates]:
    """Clauses for what reaches into the days of care: a stay belongs to the day on which it ends, too.

    Not `ge` and `le`, which leave out what begins before a day and ends on it.
    """
    dated = next((row for row in TYPES[resource_type].parameters if row.when), None)
    if dated is not None and wish.start:
        first = instants.parse(wish.start).start
        yield Dates(dated, (DateValue("gt", Interval(first, first)),))
    if dated is not None and wish.end:
        last = instants.parse(wish.end).end
        yield Dates(dated, (DateValue("lt", Interval(last, last)),))


def without_doubles(part: Part) -> Sequence[Entry]:
    """Resources that come along and are no match on the page."""
    matches = {str(entry.key) for entry in part.entries}
    return [entry for name, entry in part.included.items() if name not in matches]
