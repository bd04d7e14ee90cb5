"""Entries that say only a part, completed by what is stored: a write replaces nothing unspoken of."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.messages.message import KINDS
from ingest.pipeline.completion import complete, united, with_former_numbers
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.facts import NO_LIST, facts_of
from ingest.pipeline.identity.likeness import is_another_person
from store.fhir.datatypes import listed
from store.resources.versions import NO_VERSION, Outcome, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.decisions import Candidate, Placement, Planned
    from ingest.pipeline.identity.facts import FactContext
    from ingest.pipeline.identity.numbers import Number
    from ingest.pipeline.identity.reader import Reader
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import Json, JsonObject
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import PutResult, SourceTime

    Completing = Callable[[Placement, Stored, Partial | None, FactContext], Placement | None]

_REPORT: Final = "DiagnosticReport"
_FOUND: Final = frozenset({"Patient", "Encounter", "DiagnosticReport"})
"""Types of which a plan knows by their numbers whether they are stored; others are looked for by id."""


class Completed(NamedTuple):
    """A plan whose entries say all that is to be kept."""

    planned: Planned
    versions: Mapping[ResourceKey, int]
    """Versions that were completed: each is replaced, or the entry is completed again."""
    timeless: frozenset[ResourceKey] = frozenset()
    """Newer resources that take a merge, or results, from this message: their time stays."""


async def completed(
    ctx: PushContext,
    planned: Planned,
    read: Reader,
    partials: Sequence[Partial],
    *,
    trusting: bool = True,
) -> Completed:
    """A plan with what its entries do not speak of. What is older than what is stored changes nothing, but
    for the numbers of merged records, and results beneath a report of which changed ones alone have come.

    What the plan found nowhere must not be there: of two messages at once one completes the other.
    `trusting`: what has a number and was not found is not looked for under its id.
    """
    entries, reading = read.entries, read.reading
    told = {one.full_url: one for one in partials}
    placements = list(planned.placements)
    versions: dict[ResourceKey, int] = {}
    timeless: set[ResourceKey] = set()
    for number, placed in enumerate(planned.placements):
        partial, sourced = told.get(entries[number].full_url or ""), entries[number].sourced
        known = placed.choice.known
        late = known is not None and known.sourced > sourced
        add = _adder(placed, partial, sourced) if late else (_whole if partial else None)
        if add is None or is_anothers(placed, planned) or _is_another_person(placed):
            continue
        is_new = known is None and placed.key.type in _FOUND
        trusted = trusting and is_new and bool(placed.facts.numbers)
        stored = None if trusted else await ctx.store.latest(ctx.tenant, placed.key)
        if not isinstance(stored, Stored):
            versions[placed.key] = NO_VERSION
            placements[number] = _with_list(placed, partial)
            continue
        versions[placed.key] = stored.version
        whole = await ctx.work(add, placed, stored, partial, reading)
        if whole is not None:
            placements[number] = _with_list(whole, partial) if not late else whole
            timeless |= {placed.key} if late else set()
    return Completed(replace(planned, placements=tuple(placements)), versions, frozenset(timeless))


def _adder(placed: Placement, partial: Partial | None, sourced: SourceTime) -> Completing | None:
    """Function that adds what came late to the stored resource; None: nothing is to be added.

    Added are numbers of merged records, and results of a report of which changed ones alone have come since.
    """
    known = placed.choice.known
    if known is None:
        return None
    if placed.key.type == _REPORT and known.facts.patient == placed.facts.patient:
        if not known.facts.beneath or sourced < known.facts.beneath:
            return None
        is_whole = partial is None or not partial.results
        return functools.partial(_with_results, sourced=sourced if is_whole else "")
    return _merged if partial is not None and placed.facts.former else None


def _with_list(placed: Placement, partial: Partial | None) -> Placement:
    """A report that came with its changed results alone, and knows the list beneath them."""
    if partial is None or not partial.results:
        return placed
    known = placed.choice.known
    beneath = NO_LIST if known is None else known.facts.beneath or known.sourced or NO_LIST
    return placed._replace(facts=placed.facts._replace(beneath=beneath))


def _with_results(
    placed: Placement, stored: Stored, _: Partial | None, __: FactContext, *, sourced: SourceTime
) -> Placement | None:
    """A stored report with the results that an older message adds. `sourced`: time of its list, if that is
    whole.
    """
    resource, known = decode(stored.raw), placed.choice.known
    if known is None:
        return None
    facts = known.facts._replace(beneath=sourced or known.facts.beneath)
    resource = {
        **resource,
        "result": united(listed(placed.resource.get("result")), listed(resource.get("result"))),
    }
    return placed._replace(resource=resource, facts=facts)


def is_anothers(placed: Placement, planned: Planned) -> bool:
    """Whether a report moves here from another person: what it does not speak of is that person's."""
    before = placed.choice.moved_from
    if not before:
        return False
    return before not in planned.records_of(placed.facts.patient)


def _is_another_person(placed: Placement) -> bool:
    """Whether a record becomes somebody else's: what it says of the person before is not theirs."""
    known = placed.choice.known
    return known is not None and placed.key.type == "Patient" and is_another_person(placed.facts, known.facts)


def is_lost_merge(placed: Placement, result: PutResult | None) -> bool:
    """Whether a merge went to the history alone: something newer came while it was decided upon."""
    return bool(placed.facts.former) and result is not None and result.outcome is Outcome.STALE


def _merged(placed: Placement, stored: Stored, _: Partial | None, reading: FactContext) -> Placement | None:
    resource = with_former_numbers(decode(stored.raw), placed.resource)
    if resource is None:
        return None
    made, known = _as(placed, resource, reading), placed.choice.known
    # The record stays its newest source's, and its numbers those of whoever gave them.
    theirs = known.facts if known else made.facts
    facts = made.facts._replace(own=theirs.own, source=theirs.source, given=theirs.given)
    return made._replace(facts=facts)


def _whole(
    placed: Placement, stored: Stored, partial: Partial | None, reading: FactContext
) -> Placement | None:
    if partial is None:
        return None
    return _as(placed, complete(placed.resource, decode(stored.raw), partial), reading)


def _as(placed: Placement, resource: JsonObject, reading: FactContext) -> Placement:
    if placed.key.type != "Patient":
        return placed._replace(resource=resource)
    told, there = listed(placed.resource.get("identifier")), listed(resource.get("identifier"))
    # Without a system a number is of the source that gave it, which may be another one.
    others = [one for one in there if one not in told and isinstance(one, dict) and not one.get("system")]
    mine: list[Json] = [one for one in there if one not in others]
    facts = facts_of({**resource, "identifier": mine}, reading)
    bare = _without_system(placed.choice.known, others)
    who = placed.facts._replace(
        numbers=tuple(sorted({*facts.numbers, *bare})),
        former=facts.former,
        ending=facts.ending,
        names=facts.names,
        born=facts.born,
        sex=facts.sex,
    )
    return placed._replace(resource=resource, facts=who)


def _without_system(known: Candidate | None, identifiers: Sequence[Json]) -> tuple[Number, ...]:
    """Numbers of a stored record that these identifiers say without a system."""
    values = {one.get("value") for one in identifiers if isinstance(one, dict)}
    numbers = known.facts.numbers if known else ()
    return tuple(one for one in numbers if one.value in values and one.system.startswith(KINDS))
