"""Command `dod verify-data`, without the command line around it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from api.commands.access.tenants import columns, tenants_of
from api.commands.progress_file import ProgressFile
from ingest.http.app_keys import base_under
from ingest.verify import PARTS, Report, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.stores import Stores
    from store.tenancy import Tenant

TELL_EVERY: Final = 50_000
"""Contents looked at between two lines of progress."""


async def verify_tenants(  # noqa: PLR0913 -- all keyword-only, one per option
    stores: Stores,
    *,
    tenant: Tenant | None,
    origin: str | None,
    batch: int,
    progress: Path | None,
    as_json: bool,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Verify one tenant or all; the number of faults. `say` the summary, `warn` the rest."""
    tenants = await tenants_of(stores.access, tenant)
    kept = ProgressFile(progress, "dod verify-data", Report)
    reports: dict[str, Report] = {}
    for owner in tenants:
        report = reports[str(owner)] = kept.of(owner)
        if not report.is_done:
            await _verified(stores, owner, report, kept, origin=origin, batch=batch, warn=warn)
    kept.end()
    if as_json:
        say(json.dumps({name: _told(report) for name, report in reports.items()}, indent=1))
    else:
        head = ("TENANT", *(part.upper() for part in PARTS), "NOT COMPARED", "FAULTS", "FINGERPRINT")
        rows = [(name, *map(str, _told(report).values())) for name, report in reports.items()]
        say(columns([head, *rows]))
    return sum(report.faults for report in reports.values())


async def _verified(  # noqa: PLR0913 -- all but four keyword-only
    stores: Stores,
    owner: Tenant,
    report: Report,
    kept: ProgressFile[Report],
    *,
    origin: str | None,
    batch: int,
    warn: Callable[[str], None],
) -> None:
    told = 0

    def progressed(now: Report) -> None:
        nonlocal told
        kept.keep(owner, now)
        if (reached := sum(now.counts.values()) // TELL_EVERY) > told:
            told = reached
            warn(f"{owner}: {sum(now.counts.values()):,} looked at so far")

    await verify(
        stores.verifying,
        owner,
        base=None if origin is None else base_under(origin, str(owner)),
        batch=batch,
        report=report,
        fault=lambda place, why: warn(f"{place}: {why}"),
        progress=progressed,
    )


def _told(report: Report) -> dict[str, Any]:
    return {
        **report.counts,
        "not_compared": report.not_compared,
        "faults": report.faults,
        "fingerprint": report.fingerprint,
    }
