"""Changed results that come alone: each is the stored one of its report that it changes, else one more.

A plan names a result by what tells it apart from those beside it. Where these did not come along, what is
stored of the report decides instead: DECISIONS.md#changed-results
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.messages.companions import companions
from ingest.messages.completion import is_anothers
from ingest.pipeline.bundle_references import rewritten
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.decisions import OBSERVATION, Choice
from ingest.pipeline.identity.facts import facts_of
from ingest.pipeline.identity.likeness import alike_in_code, apart_in_time, contradict, shared
from ingest.pipeline.identity.numbers import Rank
from ingest.pipeline.identity.reader import REPORT
from ingest.pipeline.identity.reports.sameness import CORRECTING
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.decisions import Placement, Planned
    from ingest.pipeline.identity.facts import Facts
    from ingest.pipeline.identity.reader import Reader
    from ingest.writes.push_context import PushContext

_UNFINISHED: Final = frozenset({"registered", "preliminary", "unknown"})
"""Statuses of a result of which there is news to come."""


class Sent(NamedTuple):
    """A message, and what it takes to name its entries."""

    ctx: PushContext
    read: Reader
    partials: Sequence[Partial]
    """Entries that do not say all that is to be kept of them."""
    derive: Callable[[str], str]
    """The id that a natural key always has."""


async def found_again(sent: Sent, planned: Planned) -> Planned:
    """A plan whose changed results are those of the stored report that they change."""
    read, changed = sent.read, {one.full_url for one in sent.partials if one.results}
    moved: dict[int, ResourceKey] = {}
    for number in read.by_type[REPORT] if changed else ():
        placed = planned.placements[number]
        is_known = placed.choice.known is not None and not is_anothers(placed, planned)
        if read.entries[number].full_url in changed and is_known:
            results = [n for n in read.leads_to(number) if read.types[n] == OBSERVATION]
            moved |= await _found(sent, planned.placements, placed, results)
    return _with_keys(planned, moved) if moved else planned


async def _found(
    sent: Sent, placements: Sequence[Placement], report: Placement, results: Iterable[int]
) -> dict[int, ResourceKey]:
    """Other keys than those of the plan, for results of one report."""
    ctx = sent.ctx
    stored = await ctx.store.latest(ctx.tenant, report.key)
    if not isinstance(stored, Stored):
        return {}
    there = [one for one in sorted(companions(stored, ctx.base)) if one.type == OBSERVATION]
    new = {n: placements[n].facts for n in results}
    if all(facts.numbers and placements[n].key in there for n, facts in new.items()):
        return {}  # Code and number say which.
    before = await ctx.store.newest(ctx.tenant, there)
    old = {
        key: facts_of(await ctx.work(decode, one.raw), sent.read.reading)
        for key, one in sorted(before.items())
    }
    found = same_results(new, old)
    others = {
        n: ResourceKey(OBSERVATION, sent.derive(f"{placements[n].key} beside at {facts.time.start}"))
        for n, facts in new.items()
        if n not in found and placements[n].key in there
    }
    return {n: key for n, key in (found | others).items() if key != placements[n].key}


def same_results(new: Mapping[int, Facts], old: Mapping[ResourceKey, Facts]) -> dict[int, ResourceKey]:
    """The stored result that each changed one is: by number, by time, else as the only one of its code."""
    found: dict[int, ResourceKey] = {}
    for rule in (_says_the_same, _of_one_number, _of_one_time, _changes):
        left = {key: facts for key, facts in old.items() if key not in found.values()}
        pairs = [
            (n, key)
            for n, mine in new.items()
            for key, theirs in left.items()
            if n not in found and alike_in_code(mine, theirs) and rule(mine, theirs)
        ]
        mine_of, theirs_of = Counter(n for n, _ in pairs), Counter(key for _, key in pairs)
        found |= {n: key for n, key in pairs if mine_of[n] == theirs_of[key] == 1}
    return found


def _says_the_same(new: Facts, old: Facts) -> bool:
    return new.numbers == old.numbers and new.time == old.time


def _of_one_number(new: Facts, old: Facts) -> bool:
    return shared(new, old) is not None


def _of_one_time(new: Facts, old: Facts) -> bool:
    return not contradict(new, old, below=Rank.WEAK) and new.time == old.time


def _changes(new: Facts, old: Facts) -> bool:
    """Whether news may be of a result at another time: one more of a series is another result."""
    is_mended = new.status in CORRECTING or old.status in _UNFINISHED
    return not contradict(new, old, below=Rank.WEAK) and (is_mended or not apart_in_time(new, old))


def _with_keys(planned: Planned, moved: Mapping[int, ResourceKey]) -> Planned:
    """A plan with other keys for some entries, and references to them."""
    targets = {str(planned.placements[n].key): str(key) for n, key in moved.items()}
    placements = [one._replace(resource=rewritten(one.resource, targets)) for one in planned.placements]
    for n, key in moved.items():
        placements[n] = placements[n]._replace(key=key, choice=Choice(key.id, placements[n].choice.findings))
    return replace(planned, placements=tuple(placements))
