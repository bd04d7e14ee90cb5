"""Execution of a message's plan in the store, and what is taken back when another sender was faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ingest.messages.companions import settle
from ingest.messages.conditions import as_found, is_overtaken
from ingest.messages.linking import link
from ingest.messages.message import MAIN
from ingest.messages.prepared_entries import PreparedEntries
from ingest.messages.twins import give_news, share_news
from ingest.pipeline.decode import decode
from ingest.pipeline.identity.decisions import OBSERVATION
from ingest.pipeline.identity.reader import PATIENT
from ingest.pipeline.identity.reports.sameness import CORRECTING
from ingest.writes import filing
from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.references import RELATIVE
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Outcome, PutResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.messages.candidates import Seen
    from ingest.messages.planning import Planner
    from ingest.pipeline.identity.decisions import Placement, Planned
    from ingest.writes.push_context import PushContext
    from store.files import NewFile
    from store.resources.versions import Gone, Prepared, SourceTime, Stored

_DECIDED: Final = frozenset({"DiagnosticReport", "Observation", "Patient"})
"""Types of which a race may make two: who they are is decided by what is stored."""
_NEWS: Final = frozenset({Outcome.REPLACED, Outcome.STALE})
_WRITTEN: Final = frozenset({Outcome.CREATED, Outcome.REPLACED})


@dataclass(frozen=True, slots=True)
class Executed:
    """The effect of a plan in the store."""

    taken: PreparedEntries
    results: Mapping[ResourceKey, PutResult]
    retired: Counter[ResourceKey]
    """Companions that left the current data, by the entry that let go of them."""
    raced: bool = False
    """Whether others wrote between the plan and an attempt before, of which a part may be stored."""
    tried: frozenset[str] = frozenset()
    """Ids of what attempts before this one were to make, and may have made."""


def made_by(done: Executed) -> frozenset[str]:
    """Ids of what this message made."""
    return frozenset(
        key.id
        for key, one in done.results.items()
        if one.outcome is Outcome.CREATED or (one.outcome is Outcome.UNCHANGED and key.id in done.tried)
    )


def written_by(done: Executed) -> frozenset[str]:
    """Ids of what this message wrote as it is current now."""
    return frozenset(key.id for key, one in done.results.items() if one.outcome in _WRITTEN)


def came_back(planned: Planned) -> frozenset[str]:
    """Ids of what had left the current data with a version of its report: it is not made by this message."""
    known = (one.choice.known for one in planned.placements)
    return frozenset(one.key.id for one in known if one is not None and one.retired)


def is_open(planned: Planned, done: Executed) -> bool:
    """Whether somebody else may have decided otherwise at the same time."""
    return done.raced or any(
        _is_open(one, done.results[one.key], done.taken.unique[one.key].sourced)
        for one in planned.placements
        if one.key.type in _DECIDED and one.key in done.results and one.key in done.taken.unique
    )


def _is_open(placed: Placement, result: PutResult, sourced: SourceTime) -> bool:
    """Whether who a resource is was decided without what another sender may have written meanwhile."""
    known, outcome = placed.choice.known, result.outcome
    if placed.key.type != MAIN[0]:
        return outcome is Outcome.CREATED and bool(placed.facts.numbers)
    if known is None:
        return outcome is Outcome.CREATED or bool(placed.facts.numbers)
    if outcome is Outcome.CREATED:
        return True
    if outcome is Outcome.REPLACED:
        # It takes away the report of another patient: one that came as it was written, too.
        return placed.facts.status in CORRECTING
    # Its report was older than this one when it was decided that it is the same.
    return outcome is Outcome.STALE and known.sourced <= sourced


def without_lost(done: Executed, again: Planned, seen: Seen) -> Executed:
    """The effect in the store without reports that another sender took away, and that are to be there.

    It decided while this message was stored in part.
    """
    there = {one.key for one in seen.met}
    lost = {
        key
        for key in again.ids
        if key.type == MAIN[0] and key not in there and _is_written(done.results.get(key))
    }
    left = {key: one for key, one in done.results.items() if key not in lost}
    return replace(done, results=left) if lost else done


def _is_written(result: PutResult | None) -> bool:
    return result is not None and result.outcome in _WRITTEN


async def link_again(ctx: PushContext, planning: Planner, done: Executed, seen: Seen) -> None:
    """Link again the records of one person that a patient's update may have missed, or put apart."""
    if any(key.type == PATIENT and one.outcome in _NEWS for key, one in done.results.items()):
        again, _ = await planning.plan_again(seen, frozenset())
        if again is not None:
            await share_news(ctx, again, done.taken)
            gone = await link(ctx, again.kin)
            await settle(ctx, (), {}, sourced="", gone=gone)


async def execute(
    ctx: PushContext,
    planned: Planned,
    taken: PreparedEntries,
    files: Sequence[NewFile],
    *,
    before: Executed | None = None,
) -> Executed:
    """Write what a plan says; what an earlier plan of the same message wrote already is not written again."""
    written = _made_current(before) if before else {}
    new = [one for key, one in taken.unique.items() if written.get(key) != one.digest]
    # Reports last: whoever finds one finds what it refers to. Twins within the message are put once.
    ordered = sorted(new, key=lambda one: one.key.type == MAIN[0])
    await _note_moves(ctx, planned)
    results = await _put(ctx, planned, taken, ordered, files)
    await share_news(ctx, planned, taken)
    gone = [*await link(ctx, planned.kin), *await _unite(ctx, planned)]
    latest = max((one.sourced for one in taken.unique.values()), default="")
    settled = await settle(ctx, [*taken.unique.values()], results, sourced=latest, gone=gone)
    results |= settled.back
    retired = Counter(settled.gone.values())
    if before:
        still = {key: _still_made(before.results.get(key), one) for key, one in results.items()}
        results, retired = {**before.results, **still}, before.retired + retired
    return Executed(taken, results, retired)


def _made_current(before: Executed) -> dict[ResourceKey, bytes]:
    """Digests of what an earlier plan wrote; what went to the history alone may have to be current yet."""
    current = {key for key, one in before.results.items() if one.outcome is not Outcome.STALE}
    return {key: one.digest for key, one in before.taken.unique.items() if key in current}


async def _put(
    ctx: PushContext,
    planned: Planned,
    taken: PreparedEntries,
    ordered: Sequence[Prepared],
    files: Sequence[NewFile],
) -> dict[ResourceKey, PutResult]:
    """Put the entries. Raises the first refusal; what was stored for somebody who has changed is taken back.

    Another process may change the patient's record between the look-up and the writes of one group: then the
    patient's write is refused behind those of the results.
    """
    outcomes = await filing.put_each(ctx, ordered, files)
    results = {one.stored.key: one for one in outcomes if isinstance(one, PutResult)}
    refused = [one for one in outcomes if isinstance(one, ServiceError)]
    if any(is_overtaken(one) for one in refused):
        await _take_back(ctx, planned, taken, results)
    if refused:
        raise next((one for one in refused if is_overtaken(one)), refused[0])
    return results


def _still_made(before: PutResult | None, now: PutResult) -> PutResult:
    """Result of a write: what this message made, and alone has replaced since, is its own still."""
    if before is None or before.outcome is not Outcome.CREATED or now.outcome is not Outcome.REPLACED:
        return now
    return replace(now, outcome=Outcome.CREATED) if now.stored.version == before.stored.version + 1 else now


async def _note_moves(ctx: PushContext, planned: Planned) -> None:
    """Note in the audit which reports move, before they do: rather a note too many than none."""
    for one in planned.placements:
        if one.choice.moved_from and ctx.audit is not None:
            there = f"from {_record(one.choice.moved_from)} to {_record(one.facts.patient)}"
            records = (one.choice.moved_from, one.facts.patient)
            await ctx.audit.note(
                AuditRecord(
                    ctx.tenant,
                    ctx.clock(),
                    ctx.caller.client,
                    Deed.REPORT_MOVED,
                    there,
                    str(one.key),
                    patients=tuple(patient for patient in records if RELATIVE.fullmatch(patient)),
                )
            )


def _record(patient: str) -> str:
    """A patient's record as the audit may name it: never the number that a report names the patient by."""
    return patient if RELATIVE.fullmatch(patient) else "a patient named by number"


async def _unite(ctx: PushContext, planned: Planned) -> list[Gone]:
    """Take out of the current data what turned out to be another record of a report of this message."""
    gone = []
    for one in planned.placements:
        for other in one.choice.united:
            if other.key.type == OBSERVATION:
                await give_news(ctx, planned, one, other)
                continue
            deleted = await ctx.store.delete(
                ctx.tenant, other.key, sourced=other.sourced, provided=as_found(other)
            )
            gone += [deleted] if deleted is not None else []
    return gone


async def _take_back(
    ctx: PushContext,
    planned: Planned,
    taken: PreparedEntries,
    results: Mapping[ResourceKey, PutResult],
) -> None:
    """Take back what was made or replaced for a patient whose record turned out to be another's by now."""
    patients = {str(one.key) for one in planned.placements if one.key.type == PATIENT}
    about = {
        one.key: one
        for one in planned.placements
        if one.facts.patient in patients and one.key in results and results[one.key].outcome in _WRITTEN
    }
    # Reports first: none refers to what is no longer there.
    for key in sorted(about, key=lambda one: one.type != MAIN[0]):
        await _undo(ctx, results[key].stored, taken.unique[key], about[key])


async def _undo(ctx: PushContext, stored: Stored, mine: Prepared, placed: Placement) -> None:
    """Put the version before this one back in its place, or delete what was made, unless it has changed."""
    key, version = stored.key, stored.version
    before = (await ctx.store.preceding(ctx.tenant, {key: version})).get(key) if version > 1 else None
    try:
        if before is None:
            await ctx.store.delete(ctx.tenant, key, only_version=version, sourced=mine.sourced)
            return
        facts = (placed.choice.known or placed).facts
        resource = await ctx.beside(decode, before.stored.raw)
        ready = await filing.prepared_again(ctx, resource, key.id, facts=facts)
        again = ready._replace(
            only_version=version,
            companion=mine.companion,
            derived_from=mine.derived_from,
            # With this message's time it would keep the message out when that is tried again.
            sourced=before.sourced,
            restores=True,
        )
        await filing.put(ctx, [again], (), again=True)
    except ServiceError as error:
        if error.category is not Category.PRECONDITION:  # Else somebody changed it just now.
            raise


async def withdraw(ctx: PushContext, before: Executed, done: Executed) -> frozenset[str]:
    """Take back the reports that an earlier plan of this message made, and a later one calls by other ids.

    Returns the ids of those that stay: another message has amended them meanwhile, and they are no longer of
    this one alone. Observations stay, too: another report may have come to refer to one.
    """
    gone, amended = [], set()
    for key, prepared in before.taken.unique.items():
        made = before.results.get(key)
        if made is None or made.outcome is not Outcome.CREATED or key.type != MAIN[0]:
            continue
        if key in done.taken.unique:
            continue
        try:
            deleted = await ctx.store.delete(
                ctx.tenant, key, only_version=made.stored.version, sourced=prepared.sourced
            )
        except ServiceError as error:
            if error.category is not Category.PRECONDITION:
                raise
            amended.add(key.id)
        else:
            gone += [deleted] if deleted is not None else []
    if gone:
        await settle(ctx, (), {}, sourced="", gone=gone)
    return frozenset(amended)
