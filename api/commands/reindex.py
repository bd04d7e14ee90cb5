"""Command `dod reindex`, without the command line around it: all tenants or one, told as it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.commands.access.tenants import tenants_of
from ingest.http.app_keys import base_under
from ingest.reindex import Job, ReindexCounts, reindex

if TYPE_CHECKING:
    from collections.abc import Callable

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
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Bring up one tenant or all; how many resources could not be. `say` the summary, `warn` the rest."""
    tenants = await tenants_of(stores.access, tenant)

    def failed(owner: Tenant, key: ResourceKey, why: str) -> None:
        warn(f"{owner} {key} is left as it was: {why}")

    def progress(owner: Tenant, tally: ReindexCounts) -> None:
        if tally.examined // TELL_EVERY > max(tally.examined - batch, 0) // TELL_EVERY:
            warn(f"{owner}: {_told(tally, dry_run=dry_run)} so far")

    left = 0
    for owner in tenants:
        base = None if origin is None else base_under(origin, str(owner))
        job = Job(stores.resources, base, batch, dry_run, failed, progress)
        tally = await reindex(job, owner)
        say(f"{owner}: {_told(tally, dry_run=dry_run)}")
        left += tally.failed
    return left


def _told(tally: ReindexCounts, *, dry_run: bool) -> str:
    parts = [
        f"{tally.examined:,} examined",
        f"{tally.done:,} {'to reindex' if dry_run else 'reindexed'}",
        *([f"{tally.moved:,} changed meanwhile"] if tally.moved else []),
        *([f"{tally.failed:,} left as they were"] if tally.failed else []),
    ]
    return ", ".join(parts)
