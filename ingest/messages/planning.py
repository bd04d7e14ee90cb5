"""A message planned against the store: look up what may be the same, plan, look further where the plan asks.

What was decided is decided again when it turns out that somebody else was faster: see
`ingest.messages.carrying`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.ids import stable_id
from ingest.messages.candidates import Seen, candidate_of, candidates_under, reading_of, with_reports
from ingest.messages.deltas import Sent, found_again
from ingest.pipeline.bundle_entries import at_entry
from ingest.pipeline.completion import identifiers
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.decisions import Candidate, Race
from ingest.pipeline.identity.lookups import narrowed, unindexed, wanted
from ingest.pipeline.identity.patients import is_same_patient, is_somebody_else
from ingest.pipeline.identity.plan import plan
from ingest.pipeline.identity.reader import PATIENT, REPORT, Reader
from store.errors import Category, ServiceError
from store.fhir.datatypes import listed
from store.fhir.issues import Issue
from store.resources.versions import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ingest.messages.message import Message
    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.decisions import Placement, Planned
    from ingest.pipeline.identity.reader import Entry
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.resources.resource_keys import ResourceKey

CANDIDATES_MAX: Final = 500
"""Stored resources that one look-up for a message may find; past it only sure numbers are looked up."""
_LOST_PATIENT: Final = (
    "the report's patient is in no entry of the message: send the Patient along, or name it by"
    " `subject.identifier`"
)
_UNRESOLVED: Final = "a reference leads to no entry of the message: send what it refers to along"
UNRESOLVED: Final = "unresolved-reference"
"""Tolerance: a reference of a message that leads to nothing in it."""


class _Given(NamedTuple):
    """Record of a patient without a number, which somebody gave one."""

    known: Candidate
    resource: JsonObject


@dataclass(frozen=True, slots=True)
class Planner:
    """Message, read, and what it takes to plan it any number of times."""

    ctx: PushContext
    read: Reader
    partials: Sequence[Partial] = ()
    """Entries that do not say all that is to be kept of them."""
    tried: frozenset[str] = frozenset()
    """Ids of what attempts before were to make: who met these was decided behind this message."""

    @property
    def derive(self) -> Callable[[str], str]:
        """The id that a natural key always has."""
        return partial(stable_id, self.ctx.tenant, secret=self.ctx.secret)

    async def plan(self, *, checked: bool = False) -> tuple[Planned, Seen]:
        """Plan by what is stored now, and the candidates that were there.

        Whether a new patient's id is free shows when it is written: nearly always it is. `checked`: it was
        not, or something else was otherwise than it seemed.
        """
        asked = await self.ctx.work(wanted, self.read, self.derive)
        candidates = await self._candidates(asked)
        if checked:
            planned, candidates = await self._decided(asked, candidates)
        else:
            planned = await self._planned(candidates)
        return planned, Seen(asked, candidates)

    async def _planned(
        self,
        candidates: Sequence[Candidate],
        race: Race | None = None,
        occupied: frozenset[str] = frozenset(),
    ) -> Planned:
        made = await self.ctx.work(plan, self.read, candidates, self.derive, race, occupied)
        return await found_again(Sent(self.ctx, self.read, self.partials, self.derive), made)

    async def _decided(
        self, asked: Mapping[str, frozenset[str]], candidates: list[Candidate], race: Race | None = None
    ) -> tuple[Planned, list[Candidate]]:
        """Plan; a patient who is new gets no id under which the record of somebody else is by now.

        A record keeps its id when its number is corrected: then no look-up by the old number finds it.
        One without a number keeps it when it becomes another's. Nor does a look-up find a patient's own
        record when too many carry the number.
        """
        mine = race.mine if race else frozenset[str]()
        occupied = frozenset[str]()
        missed: dict[ResourceKey, Candidate] = {}
        given: dict[ResourceKey, _Given] = {}
        while True:
            planned = await self._planned(candidates, race, occupied)
            new = [one for one in planned.placements if _is_new(one)]
            others, own = await self._there([one for one in new if one.key.id not in mine | occupied], given)
            missed |= own
            if not others and not own:
                return (_with_numbers(planned, given) if given else planned), candidates
            # A twin may have been made a moment ago: that one has the number, and is a candidate now.
            candidates = await self._candidates(asked, mine)
            known = {one.key for one in candidates}
            candidates += [one for key, one in missed.items() if key not in known]
            occupied |= {one.id for one in others}

    async def _there(
        self, new: Sequence[Placement], given: dict[ResourceKey, _Given]
    ) -> tuple[set[ResourceKey], dict[ResourceKey, Candidate]]:
        """Keys of new patients under which somebody else's record is, and records that are their own; reports
        under the keys of new ones.

        `given` takes those of patients without a number, to whose records somebody gave one.
        """
        keys = sorted({one.key for one in new})
        known = await self.ctx.store.known(self.ctx.tenant, keys) if keys else []
        there = {one.key: candidate_of(one, self.read.reading) for one in known}
        others: set[ResourceKey] = set()
        own: dict[ResourceKey, Candidate] = {}
        for one in new:
            found = there.get(one.key)
            if found is None:
                continue
            if one.key.type == REPORT:  # Too many carry its number for a look-up to find it.
                own[one.key] = found
                continue
            if one.facts.numbers:
                if is_same_patient(one.facts, found.facts):
                    own[one.key] = found
                else:
                    others.add(one.key)
                continue
            # No look-up finds a record without a number: it may be the patient's own, of an earlier message.
            if is_somebody_else(one.facts, found.facts):
                others.add(one.key)
            elif found.facts.numbers:
                stored = await self.ctx.store.latest(self.ctx.tenant, one.key)
                if isinstance(stored, Stored):
                    given[one.key] = _Given(found, await self.ctx.work(decode, stored.raw))
        return others, own

    async def known(self, key: ResourceKey) -> Candidate | None:
        """A stored resource as it is now; None: it is not there."""
        found = await self.ctx.store.known(self.ctx.tenant, [key])
        return candidate_of(found[0], self.read.reading) if found else None

    async def plan_again(
        self,
        seen: Seen,
        mine: frozenset[str],
        made: frozenset[str] = frozenset(),
        wrote: frozenset[str] = frozenset(),
    ) -> tuple[Planned | None, Seen]:
        """Plan behind a write, when others may have written at the same time, and what is seen by then.

        `mine`: ids of what this message made, and is of it alone still; `made`, `wrote`: of all that it made,
        and wrote. None: nobody else wrote who has not seen that, so that the plan would be the same.
        """
        candidates = await self._candidates(seen.asked, mine)
        candidates = seen.before(candidates, made)
        behind = frozenset(name for one in candidates if one.key.id in wrote for name in one.behind)
        if seen.is_all_of(candidates, mine, behind):
            return None, seen
        later = seen.later(candidates, made, wrote)
        race = Race(seen.first, mine, later.gone)
        return (await self._decided(seen.asked, candidates, race))[0], later

    async def _candidates(
        self, asked: Mapping[str, frozenset[str]], mine: frozenset[str] = frozenset()
    ) -> list[Candidate]:
        found = await self._all_under(asked, mine)
        found += await self._unindexed(found)
        found = [one for one in found if self.tried.isdisjoint(one.facts.met)]
        # Without a report of the message none of them can become another one's result.
        return await with_reports(self.ctx, found, alone=bool(self.read.by_type[REPORT]))

    async def _unindexed(self, found: Sequence[Candidate]) -> list[Candidate]:
        """Resources without numbers, which are known by their ids, under any of their patient's records."""
        there = {one.key for one in found}
        wanted_too = await self.ctx.work(unindexed, self.read, self.derive, found)
        keys = [key for key in wanted_too if key not in there]
        known = await self.ctx.store.known(self.ctx.tenant, keys) if keys else []
        return [candidate_of(one, self.read.reading) for one in known]

    async def _all_under(self, asked: Mapping[str, frozenset[str]], mine: frozenset[str]) -> list[Candidate]:
        found = await self._look_up(asked)
        if len(found) > CANDIDATES_MAX:
            found = await self._one_type_after_the_other(asked)
        if not any(one.key.type == PATIENT and one.key.id not in mine for one in found):
            return found
        # Observations are found by their stored patient, who may be another than was guessed.
        again = await self.ctx.work(wanted, self.read, self.derive, found)
        more = {kind: keys - asked.get(kind, frozenset()) for kind, keys in again.items()}
        more = {kind: keys for kind, keys in more.items() if keys}
        if more:
            there = {one.key for one in found}
            later = await self._look_up(more)
            if len(later) > CANDIDATES_MAX:
                later = await self._one_type_after_the_other(more)
            found += [one for one in later if one.key not in there]
        return found

    async def _one_type_after_the_other(self, asked: Mapping[str, frozenset[str]]) -> list[Candidate]:
        """Candidates where there are too many for one look-up: those of one type hide none of another's.

        Patients first. Of a type that has too many by itself those under narrower keys are looked up; what is
        not found is looked for under its own id, or is another one.
        """
        found: list[Candidate] = []
        for kind in sorted(asked, key=lambda name: (name != PATIENT, name)):
            some = await self._look_up({kind: asked[kind]})
            if len(some) > CANDIDATES_MAX:
                keys = await self.ctx.work(narrowed, self.read, self.derive, found, kind)
                some = await self._look_up({kind: keys}) if keys else []
            found += some
        return found

    async def _look_up(self, keys: Mapping[str, frozenset[str]]) -> list[Candidate]:
        return await candidates_under(self.ctx, keys, limit=CANDIDATES_MAX)


def planner(
    ctx: PushContext, message: Message, entries: Sequence[Entry], partials: Sequence[Partial]
) -> Planner:
    """The planner of a message."""
    return Planner(ctx, Reader(entries, reading_of(ctx, message.sender), base=ctx.base), partials)


def _is_new(placed: Placement) -> bool:
    """Whether a patient, or a report with a number, was not found."""
    is_told = placed.key.type == PATIENT or (placed.key.type == REPORT and bool(placed.facts.numbers))
    return is_told and placed.choice.known is None


def _with_numbers(planned: Planned, given: Mapping[ResourceKey, _Given]) -> Planned:
    """A plan whose patients without a number keep those that their records were given meanwhile."""
    placements = tuple(
        _numbered(one, given[one.key]) if one.key in given else one for one in planned.placements
    )
    return replace(planned, placements=placements)


def _numbered(placed: Placement, given: _Given) -> Placement:
    known, stored = given
    told = identifiers(listed(placed.resource.get("identifier")), listed(stored.get("identifier")))
    facts = placed.facts._replace(numbers=known.facts.numbers, former=known.facts.former)
    resource: JsonObject = {**placed.resource, "identifier": told}
    return placed._replace(resource=resource, facts=facts, choice=placed.choice._replace(known=known))


def refuse_lost_patient(planned: Planned, number: int) -> None:
    """Raise ServiceError for a report whose patient cannot be told."""
    if number in planned.patientless:
        issue = Issue("not-found", _LOST_PATIENT, ("DiagnosticReport.subject",))
        raise ServiceError(Category.UNPROCESSABLE, issue)


def faults(planned: Planned) -> list[Issue]:
    """Lost references of a planned message: under strict handling they refuse it."""
    return [
        at_entry(Issue("not-found", _UNRESOLVED, (placement.key.type,)), number)
        for number, placement in enumerate(planned.placements)
        if placement.unresolved and number not in planned.patientless
    ]
