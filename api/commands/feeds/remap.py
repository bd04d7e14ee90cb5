"""The work of `dod remap`: kept HL7 v2 messages mapped anew, by the profiles and the release of today.

The newest message of each report is mapped, the newest first: what older ones said is past. A resource that
comes out as it is stored makes no new version. A report that turns out to be another, because its patient's
number has another system now, takes the place of the one before.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from api.app import limits_of
from api.commands.access.tenants import existing_tenant
from api.commands.feeds.remap_journal import RemapJournal, digest_of
from api.commands.files.operator import operator_context
from api.commands.files.stopping import SIGNALLED, StopSignals
from api.feeds import known_sources
from api.search.answer import Asker, ask, begin, following
from ingest.feeds import kept
from ingest.feeds.receive import receive
from ingest.feeds.sources import Source, load_source_profile
from ingest.hl7v2.ack import Verdict
from ingest.load.results import LoadCounts
from ingest.messages.companions import settle
from ingest.pipeline.decode import decode
from ingest.writes.push_context import PushContext
from store.errors import Category, ServiceError
from store.fhir.instants import from_datetime
from store.resources.resource_keys import ResourceKey
from store.resources.versions import Stored
from store.search.parsing.context import SearchContext
from store.search.reach import Everything

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from api.search.answer import Search
    from api.settings.service import Settings
    from ingest.feeds.receive import Received
    from ingest.writes.push_context import PushContext
    from store.resources.versions import Gone
    from store.stores import Stores
    from store.tenancy import Tenant

PAGE: Final = 200
"""Provenances read at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command line."""

    tenant: Tenant
    source: str | None = None
    """Name of the source whose messages are mapped; None: of all."""
    origin: str | None = None
    """Public origin of the service; None: a local one."""
    fresh: bool = False
    """Whether what an earlier run, which was stopped, has mapped is mapped again."""
    journal: Path | None = None
    """File with what is mapped so far; None: in the data directory."""


async def remap(
    stores: Stores,
    settings: Settings,
    request: Request,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Map anew, or until a signal; the exit code: 1 when a message is refused now."""
    whose = await existing_tenant(stores.access, request.tenant)
    ctx = await operator_context(stores, settings, whose, origin=request.origin)
    declared = {one.name: one for one in known_sources(settings).of_tenant(whose.tenant)}
    # A single port's profile says nothing of the messages of another tenant.
    single = settings.mllp_profile if settings.mllp_tenant in (None, str(whose.tenant)) else None
    otherwise = Source("otherwise", whose.tenant, load_source_profile(single))
    secret = await stores.access.secret("remap journal")
    digest = digest_of(secret, whose.tenant, request.source, [*declared.values(), otherwise])
    where = request.journal or settings.data_dir / "remap.journal"
    counts: Counter[str] = Counter()
    with (
        closing(RemapJournal.opened(where, digest, fresh=request.fresh)) as journal,
        StopSignals(warn) as stop,
    ):
        async for provenance in _provenances(ctx, settings, request.source):
            if stop.event.is_set():
                break
            outcome, rules = await _outcome(ctx, declared, otherwise, provenance, journal)
            counts[outcome] += 1
            if rules:
                warn(f"Provenance/{provenance['id']}: {'; '.join(rules)}")
        else:
            journal.end()
    say(_sentence(counts))
    if stop.event.is_set() and stop.received is not None:
        warn(f"Stopped by {stop.received.name} before the end; the same command goes on from here.")
        return SIGNALLED + stop.received
    return int(counts["refused"] > 0)


def _sentence(counts: Counter[str]) -> str:
    told = [f"{counts[name]:,} {name}" for name in ("changed", "unchanged", "superseded", "refused", "gone")]
    before = f", {counts['before']:,} mapped by an earlier run" if counts["before"] else ""
    return f"{counts.total():,} messages: {', '.join(told)}{before}"


async def _outcome(
    ctx: PushContext,
    declared: Mapping[str, Source],
    otherwise: Source,
    provenance: dict[str, Any],
    journal: RemapJournal,
) -> tuple[str, list[str]]:
    """Outcome of a kept message, and the rules that refuse it now."""
    message_id = str(provenance["id"])
    if message_id in journal.done:
        return "before", []
    targets = {str(one.get("reference")) for one in provenance["target"]}
    reports = {one for one in targets if one.startswith("DiagnosticReport/")} or targets
    if reports <= journal.reports:
        return "superseded", []
    source = declared.get(_source_of(provenance), otherwise)
    outcome, rules = await _mapped(ctx, source, provenance)
    if outcome != "refused":
        journal.add(message_id, reports)
    else:
        journal.reports.update(reports)
    return outcome, rules


async def _provenances(
    ctx: PushContext, settings: Settings, source: str | None
) -> AsyncIterator[dict[str, Any]]:
    """The records of kept messages, the newest first."""
    context = SearchContext(limits_of(settings), ctx.base, from_datetime(ctx.clock()).start, strict=True)
    asker = Asker(ctx.store, ctx.tenant, ctx.base, b"", Everything())
    pairs = [
        ("_tag", f"{kept.TAG_SYSTEM}|{source or ''}"),
        ("_sort", "-recorded"),
        ("_count", str(PAGE)),
        ("_total", "none"),
    ]
    search: Search | None = begin("Provenance", pairs, context, link_seconds=1)
    while search is not None:
        answer = await ask(asker, search)
        for entry in answer.page.entries:
            yield dict(decode(entry.raw))
        search = following(answer)


def _source_of(provenance: dict[str, Any]) -> str:
    tags = provenance.get("meta", {}).get("tag", ())
    return next((str(one.get("code")) for one in tags if one.get("system") == kept.TAG_SYSTEM), "")


async def _mapped(ctx: PushContext, source: Source, provenance: dict[str, Any]) -> tuple[str, list[str]]:
    """The outcome of one message, and the rules that refuse it now."""
    message_id = str(provenance["id"])
    found = await ctx.store.get(ctx.tenant, ResourceKey("Binary", message_id))
    content = await kept.content_of(ctx, decode(found.raw)) if isinstance(found, Stored) else None
    if content is None:
        return "gone", []
    tally = LoadCounts()

    async def keep(message: bytes, source: Source, error: ServiceError) -> None:
        """Keep no dead letter: the message is kept already."""

    received = await receive(ctx._replace(metrics=tally), content, source, keep=keep, anew=True)
    if received.answer.verdict is not Verdict.ACCEPT:
        return "refused", [
            f"{one.place}: {one.rule}" for one in received.answer.faults if one.severity == "E"
        ]
    name = _source_of(provenance)
    if await _moved(ctx, provenance, received) and received.header is not None:
        made = received.made
        await kept.keep(ctx, message_id, content, header=received.header, source=name, made=made)
    changed = tally.counts["created"] + tally.counts["replaced"]
    return ("changed" if changed else "unchanged"), []


async def _unless_changed(ctx: PushContext, there: Stored) -> list[Gone]:
    """The deletion of this version; none when somebody has changed it just now."""
    try:
        deleted = await ctx.store.delete(ctx.tenant, there.key, only_version=there.version)
    except ServiceError as error:
        if error.category is not Category.PRECONDITION:
            raise
        return []
    return [deleted] if deleted is not None else []


async def _moved(ctx: PushContext, provenance: dict[str, Any], received: Received) -> bool:
    """Whether the message is stored as other resources now; the reports that it was before are deleted.

    A report that somebody else has changed since stays.
    """
    before = {str(one.get("reference")) for one in provenance["target"]}
    now = {str(key) for key in received.made}
    recorded = datetime.fromisoformat(str(provenance["recorded"]))
    gone = []
    for name in sorted(before - now):
        key = ResourceKey(*name.split("/", 1))
        there = await ctx.store.get(ctx.tenant, key) if key.type == "DiagnosticReport" else None
        if isinstance(there, Stored) and there.last_updated <= recorded:
            gone += await _unless_changed(ctx, there)
    await settle(ctx, (), {}, sourced="", gone=gone)
    return not before <= now
