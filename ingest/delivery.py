"""What a message does to the store: upserts, what comes late, and what nothing refers to any more.

Lenient: what cannot be kept is refused in its own entry, and the rest is stored; when none of the reports can
be kept, the message is refused. Strict: any deviation refuses the message, with every issue.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeAlias

from ingest import filing
from ingest.bundles import BundleEntry, at_entry
from ingest.companions import COMPANION_TYPES, settle
from ingest.messages import MAIN, place, read_message
from ingest.prepare import Ready, prepare
from ingest.push import Pushed, check_scope
from ingest.source_time import message_time, source_time
from ingest.validate import refuse_subset
from store.errors import Category, ServiceError
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.messages import Message
    from ingest.push import Pusher
    from store.fhir.datatypes import JsonObject
    from store.resources import PutResult, ResourceKey

Delivered: TypeAlias = "Pushed | ServiceError"
"""What became of one entry."""
_GENERAL: Final = "$process-message"


async def message(
    to: Pusher, bundle: JsonObject, *, operation: str = _GENERAL, strict: bool = False
) -> list[Delivered]:
    """Upsert the resources of a message, answered in the order of entries.

    Raises ServiceError when nothing is stored.
    """
    # First of all: what is left is small, however often it is copied from here on.
    filed = await filing.taken_out(to, bundle)
    read = read_message(
        filed.resource,
        client=to.caller.client,
        entries_max=to.settings.bundle_entries_max,
        operation=operation,
        strict=strict,
    )
    for entry in read.entries:
        check_scope(to.caller, str(entry.resource["resourceType"]), "cu")
    known = await to.store.identified(to.tenant, read.identifiers)
    placed = place(read, to.tenant, known=known, secret=to.secret)
    taken = _prepared(to, read, placed, strict=strict)
    dated = _dated(to, filed.resource, read, taken)
    # Reports last: whoever finds one finds what it refers to. Twins within the message are put once.
    unique = {ready.prepared.key: ready.prepared for ready in dated if isinstance(ready, Ready)}
    ordered = sorted(unique.values(), key=lambda one: one.key.type == "DiagnosticReport")
    results = {result.stored.key: result for result in await filing.put(to, ordered, filed.files)}
    latest = max((one.sourced for one in ordered), default="")
    settled = await settle(to, ordered, results, sourced=latest)
    results |= settled.back
    gone = Counter(settled.gone.values())
    dated = await _letters(to, placed, dated)
    envelope = (*read.tolerances, *filed.tolerances)
    return [_delivered(to, one, results, gone, envelope if n == 0 else ()) for n, one in enumerate(dated)]


async def _letters(
    to: Pusher, placed: Sequence[tuple[JsonObject, str]], taken: Sequence[Ready | ServiceError]
) -> list[Ready | ServiceError]:
    """With companions that were refused kept as dead letters: updates, under the ids they would have."""
    refused = {n: one for n, one in enumerate(taken) if isinstance(one, ServiceError)}
    if not refused or to.refused is None:
        return list(taken)
    letters = await to.refused([(_as_update(*placed[n]), error) for n, error in refused.items()])
    told: dict[int, ServiceError] = {}
    for (n, error), letter in zip(refused.items(), letters, strict=True):
        said = Issue("informational", f"Dead-Letter: {letter}", severity="information")
        told[n] = error if letter is None else ServiceError(error.category, *error.issues, said)
    return [told.get(n, one) for n, one in enumerate(taken)]


def _as_update(resource: JsonObject, resource_id: str) -> BundleEntry:
    url = f"{resource['resourceType']}/{resource_id}"
    return BundleEntry({**resource, "id": resource_id}, None, {"method": "PUT", "url": url})


def _delivered(
    to: Pusher,
    ready: Ready | ServiceError,
    results: dict[ResourceKey, PutResult],
    gone: Mapping[ResourceKey, int],
    envelope: tuple[str, ...],
) -> Delivered:
    if isinstance(ready, ServiceError):
        to.metrics.count("refused", ("faulty-companion",))
        return ready
    result = results[ready.prepared.key]
    retired = gone.get(ready.prepared.key, 0)
    text = f"{retired} resources that nothing current refers to any more left the current data."
    done = Pushed(result, (*envelope, *ready.tolerances), (text,) if retired else (), kept=ready.kept)
    to.metrics.count(result.outcome.value, done.tolerances)
    for _ in range(retired):
        to.metrics.count("retired")
    return done


def _prepared(
    to: Pusher, read: Message, placed: Sequence[tuple[JsonObject, str]], *, strict: bool
) -> list[Ready | ServiceError]:
    """Each entry made ready, or why it cannot be kept. Raises ServiceError when the message is refused."""
    done: list[Ready | ServiceError] = []
    issues = list(read.issues)
    refused = bool(issues)
    for number, (resource, resource_id) in enumerate(placed):
        main = number in read.main
        # Faults that do not touch search are borne in a patient too that comes without any result.
        borne = not main or resource["resourceType"] not in MAIN
        try:
            refuse_subset(resource)
            done.append(prepare(resource, resource_id, base=to.base, companion=borne, strict=strict))
        except ServiceError as error:
            found = [at_entry(issue, number) for issue in error.issues]
            issues += found
            refused = refused or strict
            done.append(ServiceError(error.category, *found))
    # Without any of what it is about, the rest would be companions of nothing.
    if refused or all(isinstance(done[number], ServiceError) for number in read.main or range(len(done))):
        raise ServiceError(Category.UNPROCESSABLE, *issues)
    return done


def _dated(
    to: Pusher, bundle: JsonObject, read: Message, taken: Sequence[Ready | ServiceError]
) -> list[Ready | ServiceError]:
    """With the source's time, and whether each came along with a report."""
    first = read.entries[0].resource
    header = first if first.get("resourceType") == "MessageHeader" else None
    made, now = message_time(bundle, header), to.clock()
    reported = any(one.resource.get("resourceType") == MAIN[0] for one in read.entries)
    dated: list[Ready | ServiceError] = []
    for entry, ready in zip(read.entries, taken, strict=True):
        if isinstance(ready, ServiceError):
            dated.append(ready)
            continue
        sourced = source_time(entry.resource, message=made, now=now)
        companion = reported and ready.prepared.key.type in COMPANION_TYPES
        dated.append(ready._replace(prepared=replace(ready.prepared, sourced=sourced, companion=companion)))
    return dated
