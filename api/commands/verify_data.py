"""Command `dod verify-data`, without the command line around it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from api.commands.access.tenants import columns, tenants_of
from ingest.http.app_keys import base_under
from ingest.verify import PARTS, Report, verify
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.stores import Stores
    from store.tenancy import Tenant

TELL_EVERY: Final = 50_000
"""Contents looked at between two lines of progress."""


class Progress:
    """Progress of each tenant, in a file: a run that was broken off goes on from there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._reports: dict[str, Any] = {}
        if path is not None and path.exists():
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                self._reports = {name: asdict(Report(**one)) for name, one in told.items()}
            except (OSError, ValueError, TypeError, AttributeError):
                raise StartupError(
                    f"The progress file {path} cannot be read: remove it to begin anew."
                ) from None

    def of(self, tenant: Tenant) -> Report:
        """Place to go on from."""
        return Report(**self._reports.get(str(tenant), {}))

    def keep(self, tenant: Tenant, report: Report) -> None:
        """Note how far it has come; replaced in one step, readable by us alone."""
        if self._path is None:
            return
        self._reports[str(tenant)] = asdict(report)
        fresh = self._path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(self._reports), encoding="utf-8")
        fresh.replace(self._path)

    def end(self) -> None:
        """All is looked at: the next run begins anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


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
    kept = Progress(progress)
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
    kept: Progress,
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
