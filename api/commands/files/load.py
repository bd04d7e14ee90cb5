"""The work of `dod load`, without the command line around it: progress on stderr, a table at the end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from api.commands.access.tenants import columns, existing_tenant
from api.commands.files.load_frames import LoadOrder
from api.commands.files.load_pool import LoadWorkers
from api.commands.files.load_progress import Progress
from api.commands.files.load_summary import Summary
from api.commands.files.operator import operator_context
from api.commands.files.stopping import SIGNALLED, StopSignals
from api.feeds import known_sources
from ingest.load.files import Bounds, sources
from ingest.load.journal import Journal
from ingest.load.load import Load
from ingest.load.pushers import Here
from ingest.writes.push_context import PushContext
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from api.settings.service import Settings
    from ingest.load.files import Source
    from ingest.load.pushers import Pusher
    from store.stores import Stores
    from store.tenancy import Tenant

Mode = Literal["normal", "backfill"]
CONCURRENCY: Final[Mapping[Mode, int]] = {"normal": 64, "backfill": 8}
"""Bodies under way at once, for each process that pushes."""
BYTES_MAX: Final = 32_000_000
"""Bytes of bodies under way at once; one alone may be larger."""
NICE: Final = 10
"""Processor time that a backfill leaves to others, as niceness."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Order of the command line."""

    paths: Sequence[Path]
    tenant: Tenant
    concurrency: int | None = None
    mode: Mode = "normal"
    dry_run: bool = False
    fresh: bool = False
    journal: Path | None = None
    report: Path | None = None
    origin: str | None = None
    workers: int = 1
    """Processes that push; 1: this one."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that name settings, for the workers."""
    uri: str = ""
    """Address at which workers find the database."""

    @property
    def at_once(self) -> int:
        """Bodies under way at once."""
        return self.concurrency or CONCURRENCY[self.mode] * self.workers


async def load_files(
    stores: Stores,
    settings: Settings,
    request: LoadRequest,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Load everything, or until a signal; the exit code. `say` the summary, `warn` the rest."""
    whose = await existing_tenant(stores.access, request.tenant)
    tenant = whose.tenant
    skipped: list[Path] = []
    files = list(dict.fromkeys(sources(request.paths, skipped=skipped.append)))
    ctx = await operator_context(stores, settings, whose, origin=request.origin)
    if request.mode == "backfill":
        with suppress(OSError):  # Not everywhere allowed, and only a courtesy.
            os.nice(NICE)
    async with AsyncExitStack() as stack:
        journal = None
        if not request.dry_run:
            where = request.journal or settings.data_dir / "load.journal"
            secret = await stores.access.secret("load journal")
            journal = stack.enter_context(closing(Journal.opened(where, secret=secret)))
        report = None if request.report is None else stack.enter_context(_opened(request.report))
        stop = stack.enter_context(StopSignals(warn))
        show = stack.enter_context(Progress(sum(one.size for one in files), warn))
        summary = Summary(Counter(one.kind.value for one in files), show.update, report)
        pusher: Pusher = Here(ctx, known_sources(settings).of_tenant(tenant))
        if request.workers > 1 and not request.dry_run:
            order = LoadOrder(request.options, request.uri, str(tenant), request.origin)
            pusher = await stack.enter_async_context(LoadWorkers(order, workers=request.workers))
        job = _job(settings, request, ctx, pusher, journal, summary, stop)
        if journal is not None:
            _note_earlier(journal, files, summary, str(tenant), fresh=request.fresh)
        try:
            done = await job.run(files)
        finally:
            show.close()
            _tell(summary, request, len(skipped), say, warn)
    if done or stop.received is None:
        return int(summary.refused > 0)
    goes_on = "" if request.dry_run else "; the same command goes on from here"
    warn(f"Stopped by {stop.received.name} before the end{goes_on}.")
    return SIGNALLED + stop.received


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise StartupError(f"The report {path} cannot be written: {error.strerror}.") from None


def _note_earlier(
    journal: Journal, files: Sequence[Source], summary: Summary, tenant: str, *, fresh: bool
) -> None:
    """Take in what earlier runs stored of these files, or forget it."""
    names = {journal.name(one, tenant): one for one in files}
    if fresh:
        journal.forget(names)
    for name, one in names.items():
        summary.before(one.kind, journal.before(name))


def _job(  # noqa: PLR0913 (the parts of one story)
    settings: Settings,
    request: LoadRequest,
    ctx: PushContext,
    pusher: Pusher,
    journal: Journal | None,
    summary: Summary,
    stop: StopSignals,
) -> Load:
    return Load(
        ctx=ctx,
        pusher=pusher,
        bounds=Bounds(settings.body_bytes_max, settings.load_expanded_bytes_max),
        concurrency=request.at_once,
        bytes_max=BYTES_MAX,
        journal=journal,
        watcher=summary,
        backfill=request.mode == "backfill",
        dry_run=request.dry_run,
        sources=known_sources(settings).of_tenant(ctx.tenant),
        ours=None if request.origin else f"/fhir/R4/{ctx.tenant}/".encode(),
        stop=stop.event,
    )


def _tell(
    summary: Summary,
    request: LoadRequest,
    skipped: int,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    for line in summary.refusal_lines():
        warn(line)
    say(columns(summary.rows()))
    say(summary.sentence(skipped=skipped, dry_run=request.dry_run))
