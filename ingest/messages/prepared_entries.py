"""Entries of a message made ready for the store, as a plan says."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ingest.issue_budget import IssueBudget
from ingest.messages.companions import COMPANION_TYPES
from ingest.messages.message import MAIN
from ingest.messages.planning import refuse_lost_patient
from ingest.pipeline.bundle_entries import at_entry
from ingest.pipeline.identity.reader import PATIENT, Entry
from ingest.pipeline.prepare import Ready, prepare
from ingest.pipeline.source_time import evidence_of, message_time
from ingest.pipeline.validation.validate import refuse_subset
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.resources.resource_keys import ResourceKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.messages.conditions import Conditions
    from ingest.messages.message import Message
    from ingest.pipeline.identity.decisions import Planned
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject
    from store.resources.versions import Prepared


DERIVED: Final = frozenset({"DiagnosticReport", "DocumentReference"})
"""Types of what a message is about that keep the message itself."""


_NOT_THERE: Final = "the entry of its patient is refused, and they are not stored: nobody would find it"


@dataclass(frozen=True, slots=True)
class PreparedEntries:
    """The entries of a message, prepared as a plan says."""

    entries: tuple[Ready | ServiceError, ...]
    """Each ready, or why it cannot be kept."""
    unique: dict[ResourceKey, Prepared]
    """All that is to be stored, once."""


def prepared_entries(  # noqa: PLR0913 -- all that a message is
    ctx: PushContext,
    read: Message,
    entries: Sequence[Entry],
    planned: Planned,
    *,
    conditions: Conditions,
    issues: Sequence[Issue],
    strict: bool,
) -> PreparedEntries:
    """Each entry made ready, or why it cannot be kept. Raises ServiceError when the message is refused."""
    done: list[Ready | ServiceError] = []
    unique: dict[ResourceKey, Prepared] = {}
    found, budget = list(issues), IssueBudget()
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
                    # Links are noted on all of a person's records at once.
                    facts=one.facts._replace(kin=()) if one.facts.kin else one.facts,
                    entries_max=ctx.settings.index_entries_max,
                )
                prepared = ready.prepared._replace(
                    sourced=entries[number].sourced,
                    companion=companion,
                    derived_from=ctx.derived_from if one.key.type in DERIVED else (),
                    provided=conditions.of(ready.prepared.key),
                    unless_since=None if entries[number].sourced else ctx.since,
                )
                unique[prepared.key] = prepared
        except ServiceError as error:
            told = [at_entry(issue, number) for issue in budget.told(error.issues)]
            found += told
            refused = refused or strict
            done.append(ServiceError(error.category, *told))
        else:
            done.append(Ready(prepared, ready.tolerances, ready.kept))
    for number, lost in _without_patient(planned, tuple(done)):
        done[number] = lost
        found += lost.issues
        unique.pop(planned.placements[number].key, None)
    # Without any of what it is about, the rest would be companions of nothing.
    if refused or all(isinstance(done[number], ServiceError) for number in read.main or range(len(done))):
        raise ServiceError(Category.UNPROCESSABLE, *found)
    return PreparedEntries(tuple(done), unique)


def _without_patient(
    planned: Planned, done: Sequence[Ready | ServiceError]
) -> Iterator[tuple[int, ServiceError]]:
    """Results that nobody would find: their patient's entry is refused, and no record of theirs stored."""
    placed = planned.placements
    refused = {str(placed[n].key) for n, one in enumerate(done) if isinstance(one, ServiceError)}
    stored = {str(one.key) for one in placed if one.choice.known is not None}
    lost = {name for name in refused - stored if name.startswith(f"{PATIENT}/")}
    for number, one in enumerate(placed if lost else ()):
        named = one.resource.get("subject")
        alone = not (isinstance(named, dict) and "identifier" in named)
        if one.key.type in MAIN and one.facts.patient in lost and alone and isinstance(done[number], Ready):
            issue = Issue("not-found", _NOT_THERE, (f"{one.key.type}.subject",))
            yield number, ServiceError(Category.UNPROCESSABLE, at_entry(issue, number))


def reports_of_nobody(ctx: PushContext, planned: Planned) -> list[Prepared]:
    """The reports whose patient cannot be told, as reports of nobody: their own numbers tell of them."""
    ready: list[Prepared] = []
    for number in planned.patientless:
        key, resource, *_ = planned.placements[number]
        nobodys = {name: value for name, value in resource.items() if name != "subject"}
        with suppress(ServiceError):
            ready.append(prepare(nobodys, key.id, base=ctx.base, companion=True).prepared)
    return ready


def entries_with_time(ctx: PushContext, bundle: JsonObject, read: Message) -> list[Entry]:
    """The entries with the source's time."""
    first = read.entries[0].resource
    header = first if first.get("resourceType") == "MessageHeader" else None
    made, latest = message_time(bundle, header), ctx.latest_source_time()
    return [
        Entry(resource, full_url, content, *evidence_of(resource, message=made, latest=latest))
        for resource, full_url, content, *_ in read.entries
    ]
