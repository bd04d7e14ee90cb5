"""Command `dod reindex`, without the command line around it: all tenants or one, told as it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.commands.access.tenants import tenants_of
from api.commands.files.stopping import SIGNALLED, StopSignals
from api.commands.progress_file import ProgressFile
from ingest.http.app_keys import base_under
from ingest.reindex import Job, ReindexCounts, reindex
from store.search.index import INDEX_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.resources.resource_keys import ResourceKey
    from store.stores import Stores
    from store.tenancy import Tenant

TELL_EVERY: Final = 10_000
"""Resources looked at between two lines of progress."""


async def reindex_tenants(  # noqa: PLR0913 (all keyword-only, one per option)
    stores: Stores,
    *,
    tenant: Tenant | None,
    origin: str | None,
    batch: int,
    dry_run: bool,
    progress: Path | None = None,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Bring up one tenant or all, or as many as until a signal; the exit code. `say` the summary, `warn` the
    rest. How far it has come is kept in the file `progress`, but for a dry run.
    """
    tenants = await tenants_of(stores.access, tenant)
    kept = ProgressFile(None if dry_run else progress, f"dod reindex {INDEX_VERSION}", ReindexCounts)

    def failed(owner: Tenant, key: ResourceKey, why: str) -> None:
        warn(f"{owner} {key} is left as it was: {why}")

    def progressed(owner: Tenant, tally: ReindexCounts) -> None:
        kept.keep(owner, tally)
        if tally.examined // TELL_EVERY > max(tally.examined - batch, 0) // TELL_EVERY:
            warn(f"{owner}: {_told(tally, dry_run=dry_run)} so far")

    left = 0
    with StopSignals(warn) as stop:
        for owner in tenants:
            base = None if origin is None else base_under(origin, str(owner))
            job = Job(stores.resources, base, batch, dry_run, failed, progressed, stop.event.is_set)
            tally = await reindex(job, owner, kept.of(owner))
            left += tally.failed
            if not tally.is_done:
                break
            say(f"{owner}: {_told(tally, dry_run=dry_run)}")
        else:
            kept.end()
            return int(left > 0)
    say(f"{owner}: {_told(tally, dry_run=dry_run)} so far")
    assert stop.received is not None  # noqa: S101 -- nothing else breaks it off
    again = "" if dry_run else "; the same command goes on from here"
    warn(f"Stopped by {stop.received.name} before the end{again}.")
    return SIGNALLED + stop.received


def _told(tally: ReindexCounts, *, dry_run: bool) -> str:
    parts = [
        f"{tally.examined:,} examined",
        f"{tally.done:,} {'to reindex' if dry_run else 'reindexed'}",
        *([f"{tally.moved:,} changed meanwhile"] if tally.moved else []),
        *([f"{tally.failed:,} left as they were"] if tally.failed else []),
    ]
    return ", ".join(parts)
