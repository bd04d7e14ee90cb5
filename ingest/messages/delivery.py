"""Delivery of a message into the store: upserts, late versions, and companions that nothing refers to.

Lenient: what cannot be kept is refused in its own entry, and the rest is stored; when none of the reports can
be kept, the message is refused. Strict: any deviation refuses the message, with every issue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

from ingest.messages.companions import COMPANION_TYPES, settle
from ingest.messages.completion import Completed, completed
from ingest.messages.message import MAIN, read_message
from ingest.messages.planning import UNRESOLVED, faults, planner, refuse_lost_patient
from ingest.pipeline.bundle_entries import BundleEntry, at_entry
from ingest.pipeline.identity.decisions import TEXTS, Finding
from ingest.pipeline.identity.reader import PATIENT
from ingest.pipeline.prepare import Ready, prepare
from ingest.pipeline.source_time import message_time, source_time
from ingest.pipeline.validate import refuse_subset
from ingest.writes import filing
from ingest.writes.push import Pushed, check_scope
from store.audit.records import AuditRecord, Deed
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.fhir.references import RELATIVE
from store.resource_keys import ResourceKey
from store.retrying import pause_before
from store.versions import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.messages.message import Message
    from ingest.messages.planning import Planner, Seen
    from ingest.pipeline.completion import Partial
    from ingest.pipeline.identity.facts import Facts
    from ingest.pipeline.identity.placements import Placement, Planned
    from ingest.pipeline.identity.reader import Entry
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.files import NewFile
    from store.versions import Gone, Prepared, PutResult

Delivered: TypeAlias = "Pushed | ServiceError"
"""Outcome for one entry."""
_GENERAL: Final = "$process-message"
DERIVED: Final = frozenset({"DiagnosticReport", "DocumentReference"})
"""Types of what a message is about that keep the message itself."""
_DECIDED: Final = frozenset({"DiagnosticReport", "Observation", "Patient"})
"""Types of which a race may make two: who they are is decided by what is stored."""
_NEWS: Final = frozenset({Outcome.REPLACED, Outcome.STALE})
_DECISIONS_MAX: Final = 4
"""Looks behind a write; each further one takes another sender who was faster."""
_COMPLETIONS_MAX: Final = 12
"""Attempts to put a completed entry in the place of the version that it was completed by."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """The entries of a message, prepared as a plan says."""

    entries: tuple[Ready | ServiceError, ...]
    """Each ready, or why it cannot be kept."""
    unique: dict[ResourceKey, Prepared]
    """All that is to be stored, once."""


@dataclass(frozen=True, slots=True)
class _Done:
    """The effect of a plan in the store."""

    taken: _Taken
    results: Mapping[ResourceKey, PutResult]
    retired: Counter[ResourceKey]
    """Companions that left the current data, by the entry that let go of them."""


async def message(
    ctx: PushContext,
    bundle: JsonObject,
    *,
    operation: str = _GENERAL,
    strict: bool = False,
    partials: Sequence[Partial] = (),
) -> list[Delivered]:
    """Upsert the resources of a message, answered in the order of entries.

    `partials`: entries that keep what they do not speak of. Raises ServiceError when nothing is stored.
    """
    # First of all: what is left is small, however often it is copied from here on.
    filed = await filing.taken_out(ctx, bundle)
    read = await ctx.work(
        read_message,
        filed.resource,
        client=ctx.caller.client,
        entries_max=ctx.settings.bundle_entries_max,
        operation=operation,
        strict=strict,
    )
    for entry in read.entries:
        check_scope(ctx.caller, entry.type, "cu")
    entries = await ctx.work(_sourced, ctx, filed.resource, read)
    planning = await ctx.work(planner, ctx, read, entries)
    planned, seen = await planning.plan()
    issues = [*read.issues, *(faults(planned) if strict else ())]
    if planned.patientless:
        # A refusal is kept, so that it must be said before that this was erased on purpose.
        await ctx.store.admit(ctx.tenant, await ctx.work(_of_nobody, ctx, planned))
    write = _Write(ctx, read, planning, partials, strict)
    planned, done = await write.carry_out(planned, filed.files, issues)
    if not _is_open(planned, done):
        await _link(ctx, planning, done, seen)
    for _ in range(_DECISIONS_MAX):
        if not _is_open(planned, done):
            break
        # Who is who was decided by what was there; whoever writes looks afterwards who else was faster.
        again = await planning.plan_again(seen, _made(done))
        if again is None or (again.keys == planned.keys and not again.kin and not again.leaving):
            break
        before = done
        planned, done = await write.carry_out(again, (), (), before=before)
        await _withdraw(ctx, before, done)
    refused = await _letters(ctx, planned.placements, done.taken.entries)
    envelope = (*read.tolerances, *filed.tolerances)
    return [
        _delivered(ctx, one, done, placement, envelope if n == 0 else ())
        for n, (one, placement) in enumerate(zip(refused, planned.placements, strict=True))
    ]


@dataclass(frozen=True, slots=True)
class _Write:
    """A message on its way into the store, by one plan or another."""

    ctx: PushContext
    read: Message
    planning: Planner
    partials: Sequence[Partial]
    strict: bool

    async def carry_out(
        self,
        planned: Planned,
        files: Sequence[NewFile],
        issues: Sequence[Issue],
        *,
        before: _Done | None = None,
    ) -> tuple[Planned, _Done]:
        """Write what a plan says, completed by what is stored, as often as others write at the same time."""
        for attempt in range(_COMPLETIONS_MAX if self.partials else 1):
            await pause_before(attempt)
            whole = await self._completed(planned)
            taken = await self.ctx.work(self._taken, whole, issues)
            try:
                return whole.planned, await _store(self.ctx, whole.planned, taken, files, before=before)
            except ServiceError as error:
                if not whole.versions or error.category is not Category.PRECONDITION:
                    raise
        text = "what the message leaves unsaid kept changing in the store; send it again"
        raise ServiceError(Category.CONFLICT, Issue("conflict", text))

    async def _completed(self, planned: Planned) -> Completed:
        if not self.partials:
            return Completed(planned, {})
        read = self.planning.read
        return await completed(self.ctx, planned, read.entries, self.partials, read.reading)

    def _taken(self, whole: Completed, issues: Sequence[Issue]) -> _Taken:
        entries = self.planning.read.entries
        taken = _prepared(self.ctx, self.read, entries, whole.planned, issues=issues, strict=self.strict)
        for key in taken.unique.keys() & whole.versions.keys():
            taken.unique[key] = replace(taken.unique[key], only_version=whole.versions[key])
        return taken


def _made(done: _Done) -> frozenset[str]:
    """Ids of what this message made."""
    return frozenset(key.id for key, one in done.results.items() if one.outcome is Outcome.CREATED)


def _is_open(planned: Planned, done: _Done) -> bool:
    """Whether somebody else may have decided otherwise at the same time: something was made."""
    return any(
        one.key.type in _DECIDED
        and (one.facts.numbers or one.key.type == MAIN[0])
        and one.key in done.results
        and done.results[one.key].outcome is Outcome.CREATED
        for one in planned.placements
    )


async def _link(ctx: PushContext, planning: Planner, done: _Done, seen: Seen) -> None:
    """Link again the records of one person that a patient's update may have missed, or put apart."""
    if any(key.type == PATIENT and one.outcome in _NEWS for key, one in done.results.items()):
        again = await planning.plan_again(seen, frozenset())
        for group in again.kin if again else ():
            await ctx.store.relate(ctx.tenant, group)


async def _store(
    ctx: PushContext,
    planned: Planned,
    taken: _Taken,
    files: Sequence[NewFile],
    *,
    before: _Done | None = None,
) -> _Done:
    """Write what a plan says; what an earlier plan of the same message wrote already is not written again."""
    written = before.taken.unique if before else {}
    new = [
        one for key, one in taken.unique.items() if key not in written or written[key].digest != one.digest
    ]
    # Reports last: whoever finds one finds what it refers to. Twins within the message are put once.
    ordered = sorted(new, key=lambda one: one.key.type == MAIN[0])
    await _note_moves(ctx, planned)
    results = {result.stored.key: result for result in await filing.put(ctx, ordered, files)}
    for group in planned.kin:
        await ctx.store.relate(ctx.tenant, group)
    gone = await _unite(ctx, planned)
    latest = max((one.sourced for one in taken.unique.values()), default="")
    settled = await settle(ctx, ordered, results, sourced=latest, gone=gone)
    results |= settled.back
    retired = Counter(settled.gone.values())
    if before:
        results, retired = {**before.results, **results}, before.retired + retired
    return _Done(taken, results, retired)


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
            deleted = await ctx.store.delete(ctx.tenant, other.key, sourced=other.sourced)
            gone += [deleted] if deleted is not None else []
    return gone


async def _withdraw(ctx: PushContext, before: _Done, done: _Done) -> None:
    """Take back the reports that an earlier plan of this message made, and a later one calls by other ids.

    Observations stay: another report may have come to refer to one meanwhile.
    """
    gone = []
    for key, prepared in before.taken.unique.items():
        made = key in before.results and before.results[key].outcome is Outcome.CREATED
        if made and key not in done.taken.unique and key.type == MAIN[0]:
            deleted = await ctx.store.delete(ctx.tenant, key, sourced=prepared.sourced)
            gone += [deleted] if deleted is not None else []
    if gone:
        await settle(ctx, (), {}, sourced="", gone=gone)


async def _letters(
    ctx: PushContext, placed: Sequence[Placement], taken: Sequence[Ready | ServiceError]
) -> list[Ready | ServiceError]:
    """With companions that were refused kept as dead letters: updates, under the ids they would have."""
    refused = {n: one for n, one in enumerate(taken) if isinstance(one, ServiceError)}
    if not refused or ctx.refused is None:
        return list(taken)
    letters = await ctx.refused([(_as_update(placed[n]), error) for n, error in refused.items()])
    told: dict[int, ServiceError] = {}
    for (n, error), letter in zip(refused.items(), letters, strict=True):
        said = Issue("informational", f"Dead-Letter: {letter}", severity="information")
        told[n] = error if letter is None else ServiceError(error.category, *error.issues, said)
    return [told.get(n, one) for n, one in enumerate(taken)]


def _as_update(placed: Placement) -> BundleEntry:
    resource = {**placed.resource, "id": placed.key.id}
    return BundleEntry(resource, None, {"method": "PUT", "url": str(placed.key)})


def _delivered(
    ctx: PushContext,
    ready: Ready | ServiceError,
    done: _Done,
    placed: Placement,
    envelope: tuple[str, ...],
) -> Delivered:
    if isinstance(ready, ServiceError):
        ctx.metrics.count("refused", ("faulty-companion",))
        return ready
    result = done.results[ready.prepared.key]
    retired = done.retired.get(ready.prepared.key, 0)
    notes = [f"{retired} resources that nothing current refers to any more left the current data."]
    findings = [*placed.choice.findings, *([Finding.REFERENCE_UNRESOLVED] if placed.unresolved else [])]
    said = (*(notes if retired else ()), *(TEXTS[one] for one in findings))
    told = (*envelope, *ready.tolerances, *((UNRESOLVED,) if placed.unresolved else ()))
    for finding in findings:
        ctx.metrics.decided(finding)
    ctx.metrics.count(result.outcome.value, told)
    for _ in range(retired):
        ctx.metrics.count("retired")
    return Pushed(result, told, said, kept=ready.kept)


def _prepared(  # noqa: PLR0913 -- all that a message is
    ctx: PushContext,
    read: Message,
    entries: Sequence[Entry],
    planned: Planned,
    *,
    issues: Sequence[Issue],
    strict: bool,
) -> _Taken:
    """Each entry made ready, or why it cannot be kept. Raises ServiceError when the message is refused."""
    done: list[Ready | ServiceError] = []
    unique: dict[ResourceKey, Prepared] = {}
    found = list(issues)
    refused = bool(issues)
    reported = any(one.key.type == MAIN[0] for one in planned.placements)
    for number, one in enumerate(planned.placements):
        # Faults that do not touch search are borne in a patient too that comes without any result.
        borne = number not in read.main or one.key.type not in MAIN
        companion = reported and one.key.type in COMPANION_TYPES
        try:
            refuse_subset(one.resource)
            refuse_lost_patient(planned, number)
            for resource_id in (*one.choice.also, one.key.id):
                ready = prepare(
                    one.resource,
                    resource_id,
                    base=ctx.base,
                    companion=borne,
                    strict=strict,
                    facts=_as_copy(one, resource_id),
                    entries_max=ctx.settings.index_entries_max,
                )
                prepared = replace(
                    ready.prepared,
                    sourced=entries[number].sourced,
                    companion=companion,
                    derived_from=ctx.derived_from if one.key.type in DERIVED else (),
                )
                unique[prepared.key] = prepared
        except ServiceError as error:
            told = [at_entry(issue, number) for issue in error.issues]
            found += told
            refused = refused or strict
            done.append(ServiceError(error.category, *told))
        else:
            done.append(ready._replace(prepared=prepared))
    # Without any of what it is about, the rest would be companions of nothing.
    if refused or all(isinstance(done[number], ServiceError) for number in read.main or range(len(done))):
        raise ServiceError(Category.UNPROCESSABLE, *found)
    return _Taken(tuple(done), unique)


def _as_copy(placed: Placement, resource_id: str) -> Facts:
    """The facts of a copy: of a patient's records each names the others."""
    if resource_id == placed.key.id or placed.key.type != "Patient":
        return placed.facts
    kin = dict.fromkeys((placed.key.id, *placed.choice.also, *placed.facts.kin))
    return placed.facts._replace(kin=tuple(one for one in kin if one != resource_id))


def _of_nobody(ctx: PushContext, planned: Planned) -> list[Prepared]:
    """The reports whose patient cannot be told, as reports of nobody: their own numbers tell of them."""
    ready: list[Prepared] = []
    for number in planned.patientless:
        key, resource, *_ = planned.placements[number]
        nobodys = {name: value for name, value in resource.items() if name != "subject"}
        with suppress(ServiceError):
            ready.append(prepare(nobodys, key.id, base=ctx.base, companion=True).prepared)
    return ready


def _sourced(ctx: PushContext, bundle: JsonObject, read: Message) -> list[Entry]:
    """The entries with the source's time."""
    first = read.entries[0].resource
    header = first if first.get("resourceType") == "MessageHeader" else None
    made, now = message_time(bundle, header), ctx.clock()
    return [
        entry._replace(sourced=source_time(entry.resource, message=made, now=now)) for entry in read.entries
    ]
