"""Stored resources that may be what a message brings, as evidence: looked up, and read."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ingest.pipeline.identity.decisions import OBSERVATION, Candidate
from ingest.pipeline.identity.facts import FactContext, as_evidence, from_stored
from ingest.pipeline.identity.reader import REPORT
from ingest.pipeline.placeholders import placeholder_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.messages.message import Sender
    from ingest.writes.push_context import PushContext
    from store.resources.resource_keys import ResourceKey
    from store.resources.versions import Known


class Seen(NamedTuple):
    """Candidates of a message's first plan, and the entries of the index under which they were found."""

    asked: Mapping[str, frozenset[str]]
    """Keys by resource type; they do not depend on what is stored."""
    candidates: Sequence[Candidate]
    met: Sequence[Candidate] = ()
    """Candidates of the latest look."""
    gone: tuple[Candidate, ...] = ()
    """Reports of others that a look met, and a later one did not."""
    came: tuple[ResourceKey, ...] = ()
    """Reports of others that the latest look met, and the plan did not, or not as they are."""
    racing: frozenset[str] | None = None
    """Ids of the candidates of the first plan, where these are those of a later one."""
    settled: frozenset[str] = frozenset()
    """Ids of what the message wrote by that plan."""

    @property
    def reports(self) -> list[ResourceKey]:
        """Stored reports of the latest look."""
        return sorted(one.key for one in self.met or self.candidates if one.key.type == REPORT)

    def before(self, candidates: Sequence[Candidate], made: frozenset[str]) -> list[Candidate]:
        """Later candidates; those that were decided behind what the message `made` are as they were.

        Of another record of the patient it may not have been known that both are of one person.
        """
        first = {one.key: one for one in self.candidates}
        people = {one.facts.patient for one in candidates if one.key.id in made}
        behind = {
            one.key
            for one in candidates
            if one.facts.patient in people and not made.isdisjoint(one.facts.met)
        }
        found = (first.get(one.key) if one.key in behind else one for one in candidates)
        return [one for one in found if one is not None]

    def later(self, candidates: Sequence[Candidate], made: frozenset[str], wrote: frozenset[str]) -> Seen:
        """All that was seen, with another look at the store; what the message `made` is nobody else's, and
        what it `wrote` is as it says.
        """
        there = {one.key for one in candidates}
        known = {one.key: one for one in (*self.gone, *self.met)}
        left = [one for key, one in known.items() if key not in there and key.id not in made]
        gone = [one for one in left if one.key.type == REPORT]
        first = {one.key: one for one in self.candidates}
        came = [one.key for one in candidates if one.key.type == REPORT and first.get(one.key) != one]
        others = tuple(key for key in came if key.id not in made | wrote)
        return self._replace(met=candidates, gone=tuple(gone), came=others)

    def decided(self, settled: frozenset[str]) -> Seen:
        """The latest look as that on which a plan was decided; the message wrote these ids by it."""
        others = [one for one in self.met if one.key.id not in settled]
        return self._replace(candidates=others, met=(), gone=(), came=(), racing=self.first, settled=settled)

    @property
    def first(self) -> frozenset[str]:
        """Ids of the candidates of the first plan."""
        return frozenset(one.key.id for one in self.candidates) if self.racing is None else self.racing

    def is_all_of(
        self, candidates: Sequence[Candidate], mine: frozenset[str], behind: frozenset[str]
    ) -> bool:
        """Whether later candidates are these, unchanged, but for those that the message itself made, and
        those that were decided upon behind them.
        """
        settled = self.settled | behind
        before = {one.key: one for one in self.candidates if one.key.id not in settled}
        others = [one for one in candidates if one.key.id not in mine | settled]
        return len(others) == len(before) and all(before.get(one.key) == one for one in others)


async def candidates_under(
    ctx: PushContext, keys: Mapping[str, frozenset[str]], *, limit: int
) -> list[Candidate]:
    """Stored resources under these entries of the index; more than `limit`: there are more."""
    known = await ctx.store.candidates(ctx.tenant, keys, limit=limit)
    reading = reading_of(ctx)
    return [candidate_of(one, reading) for one in known]


def reading_of(ctx: PushContext, sender: Sender | None = None) -> FactContext:
    """Circumstances in which facts are read now; without a sender those of what is stored."""
    return FactContext(
        placeholder_words(ctx.settings.identity_placeholders),
        source=str(sender) if sender else "",
        stable=sender is not None and sender.name in ctx.stable_sources,
        now=ctx.clock(),
    )


async def with_reports(
    ctx: PushContext, found: Sequence[Candidate], *, alone: bool = True
) -> list[Candidate]:
    """The candidates; observations that were pushed by themselves (`alone`), and such that are stored several
    times, come with the reports that show them.
    """
    asked = {one.key for one in found if alone and _is_alone(one)} | _several(found)
    shown = await ctx.store.referring(ctx.tenant, sorted(asked)) if asked else {}
    reports = {key: frozenset(one.id for one in there if one.type == REPORT) for key, there in shown.items()}
    return [replace(one, shown=reports[one.key]) if one.key in reports else one for one in found]


def _several(found: Sequence[Candidate]) -> set[ResourceKey]:
    """Current observations that share number, patient and code with another one."""
    groups: defaultdict[tuple[object, ...], list[ResourceKey]] = defaultdict(list)
    for one in found:
        if one.key.type == OBSERVATION and not one.retired:
            facts = one.facts
            for number in facts.numbers:
                groups[number.name, facts.patient, facts.codes, facts.title].append(one.key)
    return {key for keys in groups.values() if len(keys) > 1 for key in keys}


def _is_alone(one: Candidate) -> bool:
    """Whether a stored observation was pushed by itself."""
    return one.key.type == OBSERVATION and not (one.facts.within or one.retired)


def candidate_of(known: Known, reading: FactContext) -> Candidate:
    """A stored resource as a candidate."""
    facts = as_evidence(from_stored(known.identity), reading)
    behind = frozenset(known.identity.get("behind", ()))
    return Candidate(known.key, facts, known.sourced, known.retired, known.arrived, behind=behind)
