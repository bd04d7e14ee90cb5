"""Stored resources that may be what a message brings, as evidence: looked up, and read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ingest.pipeline.identity.decisions import Candidate
from ingest.pipeline.identity.facts import FactContext, as_evidence, from_stored
from ingest.pipeline.identity.parts import OBSERVATION
from ingest.pipeline.identity.reader import REPORT
from ingest.pipeline.placeholders import placeholder_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.messages.message import Sender
    from ingest.writes.push_context import PushContext
    from store.resources.versions import Known


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


async def with_reports(ctx: PushContext, found: Sequence[Candidate]) -> list[Candidate]:
    """Candidates, of which observations that were pushed by themselves tell the reports that show them."""
    alone = [one.key for one in found if _is_alone(one)]
    shown = await ctx.store.referring(ctx.tenant, alone) if alone else {}
    reports = {key: frozenset(one.id for one in there if one.type == REPORT) for key, there in shown.items()}
    return [replace(one, shown=reports[one.key]) if one.key in reports else one for one in found]


def _is_alone(one: Candidate) -> bool:
    """Whether a stored observation was pushed by itself."""
    return one.key.type == OBSERVATION and not (one.facts.within or one.retired)


def candidate_of(known: Known, reading: FactContext) -> Candidate:
    """A stored resource as a candidate."""
    told = {name: value for name, value in known.identity.items() if name != "keys"}
    facts = as_evidence(from_stored(told), reading)
    return Candidate(known.key, facts, known.sourced, known.retired, known.arrived)
