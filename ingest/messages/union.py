"""Numbers of a patient that other sources gave: a message without them takes none away, be it late or not.

A list of numbers that is late goes to the history with its message; what the record does not have of it is
added to the record as it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ingest.messages.completion import Completed
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.facts import as_evidence, from_stored
from ingest.pipeline.identity.givers import Held, held, identifiers_of, list_of, merged
from ingest.pipeline.identity.likeness import is_another_person
from ingest.pipeline.identity.patients import is_same_patient
from ingest.pipeline.identity.reader import PATIENT
from ingest.writes import filing
from store.errors import Category, ServiceError
from store.fhir.datatypes import listed
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome, Provided, Stored
from store.retrying import pause_before

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.messages.planning import Planner
    from ingest.pipeline.identity.decisions import Candidate, Placement, Planned
    from ingest.pipeline.identity.facts import FactContext, Facts
    from ingest.pipeline.identity.numbers import Number
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.resources.versions import PutResult, SourceTime

_ATTEMPTS_MAX: Final = 6
"""Attempts to add late numbers to a record that others change all the while."""


async def united(
    ctx: PushContext, whole: Completed, planning: Planner, partials: frozenset[str]
) -> Completed:
    """A plan whose patients keep the numbers that other sources gave them, each under its stored version.

    `partials`: addresses of the entries whose lists speak for their systems alone.
    """
    read = planning.read
    placements, versions = list(whole.planned.placements), dict(whole.versions)
    for number in read.by_type[PATIENT]:
        placed, sourced = placements[number], read.entries[number].sourced
        known = placed.choice.known
        if known is None or (sourced and sourced < known.sourced):
            continue
        is_partial = (read.entries[number].full_url or "") in partials
        told = list_of(read.facts[number], known) if is_partial else read.facts[number]
        for one in (known, *await _copies(planning, placed)):
            placed, version = await kept_of(ctx, placed, told, sourced, one)
            if version is not None:
                versions.setdefault(one.key, version)
        placements[number] = placed
    planned = replace(whole.planned, placements=tuple(placements))
    return whole._replace(planned=planned, versions=versions)


async def _copies(planning: Planner, placed: Placement) -> list[Candidate]:
    """Other records that were made of the patient at once, and that get the same content."""
    keys = [ResourceKey(PATIENT, one) for one in placed.choice.also]
    return [known for key in keys if (known := await planning.known(key)) is not None]


async def kept_of(
    ctx: PushContext, placed: Placement, told: Facts, sourced: SourceTime, known: Candidate
) -> tuple[Placement, int | None]:
    """A patient with the numbers that other sources gave a stored record, and the version that has them.

    `told`: the list of this source. None: there are none that the patient does not have.
    """
    now = held(told, sourced, known)
    facts = placed.facts._replace(given=merged(placed.facts.given, now.given))
    kept = _missing(now, facts)
    stored = await ctx.store.latest(ctx.tenant, known.key) if any(kept) else None
    if not isinstance(stored, Stored):
        return placed._replace(facts=facts), None
    among = listed((await ctx.work(decode, stored.raw)).get("identifier"))
    whole = _with(placed.resource, kept, among)
    return placed._replace(resource=whole, facts=_knowing(facts, kept, known.facts)), stored.version


class _Kept(NamedTuple):
    numbers: tuple[Number, ...]
    former: tuple[Number, ...]


def _missing(now: Held, facts: Facts) -> _Kept:
    """Numbers that a record is to have beside those of a list."""
    told = {(one.system, one.value) for one in (*facts.numbers, *facts.former)}
    left = (
        tuple(one for one in numbers if (one.system, one.value) not in told)
        for numbers in (now.numbers, now.former)
    )
    return _Kept(*left)


def _with(resource: JsonObject, kept: _Kept, among: Sequence[Any]) -> JsonObject:
    """A resource with the identifiers among these that say the numbers."""
    there = listed(resource.get("identifier"))
    found = identifiers_of((*kept.numbers, *kept.former), among)
    made = [*there, *(one for one in found if one not in there)]
    if len(made) == len(among) and all(one in among for one in made):
        made = list(among)  # In the order in which they stand there, so that nothing new makes no version.
    return {**resource, "identifier": made}


def _knowing(facts: Facts, kept: _Kept, other: Facts) -> Facts:
    names = {(one.system, one.value) for one in kept.numbers}
    ending = [one for one in other.ending if one[:2] in names]
    return facts._replace(
        numbers=tuple(sorted((*facts.numbers, *kept.numbers))),
        former=tuple(sorted((*facts.former, *kept.former))),
        ending=tuple(sorted({*facts.ending, *ending})),
    )


# --- lists that come late


async def add_late_numbers(
    ctx: PushContext, planned: Planned, results: Mapping[ResourceKey, PutResult], planning: Planner
) -> None:
    """Add the numbers of a list that went to the history to the patient's record."""
    for number in planning.read.by_type[PATIENT]:
        placed = planned.placements[number]
        result = results.get(placed.key)
        if result is not None and result.outcome is Outcome.STALE:
            await _add(ctx, placed, planning.read.facts[number], planning, number)


async def _add(ctx: PushContext, placed: Placement, told: Facts, planning: Planner, number: int) -> None:
    entry = planning.read.entries[number]
    for attempt in range(_ATTEMPTS_MAX):
        await pause_before(attempt)
        known = await planning.known(placed.key)
        if known is None or not is_same_patient(told, known.facts):
            return
        if is_another_person(told, known.facts):
            return
        now = held(told, entry.sourced, known)
        kept = _missing(now, known.facts)
        if not any(kept) and now.numbers == known.facts.numbers and now.given == known.facts.given:
            return
        try:
            same = Provided(known.key, partial(_is_as_known, known.facts, planning.read.reading))
            await _write(ctx, known, now, listed(entry.resource.get("identifier")), same)
        except ServiceError as error:
            if error.category is not Category.PRECONDITION:
                raise
        else:
            return


async def _write(ctx: PushContext, known: Candidate, now: Held, late: Sequence[Any], same: Provided) -> None:
    """Write a stored patient with the numbers that it is to have. Raises ServiceError when it changed."""
    stored = await ctx.store.latest(ctx.tenant, known.key)
    if not isinstance(stored, Stored):
        return
    resource = await ctx.work(decode, stored.raw)
    there = listed(resource.get("identifier"))
    mine = {(one.system, one.value) for one in (*now.numbers, *now.former)}
    gone = [one for one in known.facts.numbers if (one.system, one.value) not in mine]
    dropped = identifiers_of(gone, there)
    left = [one for one in there if one not in dropped]
    added = identifiers_of((*_missing(now, known.facts).numbers,), late)
    former = identifiers_of(_missing(now, known.facts).former, late)
    left += [one for one in (*added, *former) if one not in left]
    facts = known.facts._replace(numbers=now.numbers, former=now.former, given=now.given)
    made = {**resource, "identifier": left}
    ready = await filing.prepared_again(ctx, made, known.key.id, facts=facts._replace(kin=()))
    await filing.put(ctx, [ready._replace(only_version=stored.version, provided=(same,))], (), again=True)


def _is_as_known(known: Facts, reading: FactContext, told: Mapping[str, Any] | None) -> bool:
    """Whether all that is known of a record is what the new numbers were added to."""
    if told is None:
        return False
    return as_evidence(from_stored(told), reading)._replace(kin=()) == known._replace(kin=())
