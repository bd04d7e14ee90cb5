"""The rehearsal of a load (`--dry-run`): refusals that need no store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ingest.load.bodies import UNDER_OWN_IDS, is_remark, way_of
from ingest.load.hl7v2 import is_hl7v2, rehearsed_messages
from ingest.load.placing import placed_entry, refuse_contradictions
from ingest.load.results import Refusal, Result, refusal
from ingest.messages.message import TYPES as DELIVERED
from ingest.messages.message import read_message
from ingest.pipeline.bundle_entries import entries_of
from ingest.pipeline.decode import decode
from ingest.pipeline.prepare import prepare
from store.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.feeds.sources import Source
    from ingest.load.files import Place
    from ingest.writes.push_context import PushContext
    from store.fhir.datatypes import JsonObject


def rehearsed(ctx: PushContext, place: Place, body: bytes, sources: Sequence[Source] = ()) -> Result:
    """Refusals that a push would give by itself; nothing is asked of the store."""
    if is_hl7v2(body):
        return rehearsed_messages(place, body, sources)
    counts: Counter[str] = Counter()
    refusals: list[Refusal] = []
    try:
        resource = decode(body)
        parts = list(_parts(ctx, resource))
    except ServiceError as error:
        return Result(Counter(refused=1), (refusal(place, error),))
    for number, part in parts:
        try:
            prepare(part, str(part.get("id", "rehearsed")), base=ctx.base)
            counts["stored"] += 1
        except ServiceError as error:
            counts["refused"] += 1
            refusals.append(refusal(place._replace(entry=number), error))
    return Result(counts, tuple(refusals))


def _parts(ctx: PushContext, resource: JsonObject) -> Iterator[tuple[int | None, JsonObject]]:
    """The resources in a body, each with the number of its entry."""
    if resource.get("resourceType") != "Bundle":
        yield None, resource
        return
    way_of(resource)
    if resource.get("type") in DELIVERED:
        read_message(resource, client=ctx.caller.client, entries_max=ctx.settings.bundle_entries_max)
    entries = entries_of(resource, entries_max=ctx.settings.bundle_entries_max)
    told = [
        (number, entry)
        for number, entry in enumerate(entries)
        if entry.resource is not None and not is_remark(resource, entry)
    ]
    if resource.get("type") in UNDER_OWN_IDS:
        refuse_contradictions([placed_entry(ctx, number, entry) for number, entry in told])
    for number, entry in told:
        yield number, entry.resource or {}
