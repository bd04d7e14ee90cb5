"""What `dod load` does, without the command line around it: progress on stderr, a table at the end."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import IO, TYPE_CHECKING, Final, Literal, Self

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from api.access_commands import columns, existing_tenant
from api.app import limits_of, utc_now
from ingest.keys import base_under
from ingest.load.bodies import Operator
from ingest.load.files import Bounds, sources
from ingest.load.journal import Journal
from ingest.load.load import Load
from ingest.metrics import IngestMetrics
from ingest.push import Pusher
from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from api.settings import Settings
    from ingest.load.files import Piece, Source
    from ingest.load.results import Refusal, Result
    from store.mongo.stores import Stores
    from store.tenancy import Tenant

Mode = Literal["normal", "backfill"]
CONCURRENCY: Final[Mapping[Mode, int]] = {"normal": 64, "backfill": 8}
"""Bodies under way at once."""
BYTES_MAX: Final = 32_000_000
"""Of bodies under way at once; one alone may be larger."""
NICE: Final = 10
"""How much processor time a backfill leaves to others."""
SHOWN_MAX: Final = 20
"""Refusals shown at the end; `--report` has all."""
TELL_SECONDS: Final = 10.0
"""Between two lines of progress where there is no terminal."""
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "stored": ("stored", "created", "replaced"),
    "unchanged": ("unchanged", "exists"),
    "stale": ("stale",),
    "deleted": ("deleted",),
    "refused": ("refused",),
}
"""The columns of the summary, and the outcomes that each sums up."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    paths: Sequence[Path]
    tenant: Tenant
    concurrency: int | None = None
    mode: Mode = "normal"
    dry_run: bool = False
    fresh: bool = False
    journal: Path | None = None
    report: Path | None = None
    origin: str | None = None


class Summary:
    """What came of it, by kind of file."""

    def __init__(self, *, total: int, show: Callable[[int, str], None], report: IO[str] | None) -> None:
        self.total = total
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.earlier = 0
        """Resources that runs before this one stored."""
        self.shown: list[Refusal] = []
        self.refusals = 0
        self._show = show
        self._report = report
        self._resources = 0
        self._read: Counter[Path] = Counter()
        self._started = monotonic()

    def loaded(self, piece: Piece, result: Result) -> None:
        """See `ingest.load.load.Watcher`."""
        self.counts[piece.source.kind] += result.counts
        self._resources += result.counts.total()
        for one in result.refusals:
            self.refusals += 1
            if len(self.shown) < SHOWN_MAX:
                self.shown.append(one)
            if self._report is not None:
                self._report.write(json.dumps(one._asdict()) + "\n")
        self.passed(piece)

    def passed(self, piece: Piece) -> None:
        """See `ingest.load.load.Watcher`."""
        self._read[piece.source.path] = max(self._read[piece.source.path], piece.read)
        rate = self._resources / max(monotonic() - self._started, 1e-3)
        self._show(self._read.total(), f"{self._resources:,} resources, {rate:,.0f}/s")

    def rows(self) -> list[tuple[str, ...]]:
        """The table, one row for each kind of file and one for all."""
        wanted = [
            name
            for name in COLUMNS
            if name in ("stored", "unchanged", "refused") or any(_sum(c, name) for c in self.counts.values())
        ]
        everything: Counter[str] = Counter()
        rows = [("FILES", *(name.upper() for name in wanted))]
        for kind, counts in sorted(self.counts.items()):
            everything += counts
            rows.append((kind, *(f"{_sum(counts, name):,}" for name in wanted)))
        return [*rows, ("all", *(f"{_sum(everything, name):,}" for name in wanted))]


def _sum(counts: Counter[str], column: str) -> int:
    return sum(counts[outcome] for outcome in COLUMNS[column])


async def load_files(
    stores: Stores,
    settings: Settings,
    request: Request,
    *,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> int:
    """Load everything; how many resources or files were refused. `say` the summary, `warn` the rest."""
    tenant = (await existing_tenant(stores.access, request.tenant)).tenant
    skipped: list[Path] = []
    files = list(dict.fromkeys(sources(request.paths, skipped=skipped.append)))
    secret = await stores.access.secret("identities")
    base = base_under(request.origin or "http://localhost", str(tenant))
    to = Pusher(
        store=stores.resources,
        attachments=stores.attachments,
        tenant=tenant,
        caller=Operator(),
        base=base,
        secret=secret,
        clock=utc_now,
        settings=settings,
        limits=limits_of(settings),
        metrics=IngestMetrics(CollectorRegistry()),
    )
    journal = None
    if not request.dry_run:
        where = request.journal or settings.data_dir / "load.journal"
        journal = Journal.opened(where, secret=await stores.access.secret("load journal"))
    report = None
    try:
        report = None if request.report is None else _opened(request.report)
        summary = await _loaded(settings, request, to, files, journal, report, warn)
    finally:
        if journal is not None:
            journal.close()
        if report is not None:
            report.close()
    _tell(summary, request, len(files), skipped, say, warn)
    return summary.refusals


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise StartupError(f"The report {path} cannot be written: {error.strerror}.") from None


async def _loaded(  # noqa: PLR0913 (the parts of one story)
    settings: Settings,
    request: Request,
    to: Pusher,
    files: Sequence[Source],
    journal: Journal | None,
    report: IO[str] | None,
    warn: Callable[[str], None],
) -> Summary:
    total = sum(one.size for one in files)
    before: list[tuple[str, Counter[str]]] = []
    if journal is not None:
        names = {journal.name(one, str(to.tenant)): one for one in files}
        if request.fresh:
            journal.forget(names)
        before = [(one.kind, journal.before(name)) for name, one in names.items()]
    if request.mode == "backfill":
        with suppress(OSError):  # Not everywhere allowed, and only a courtesy.
            os.nice(NICE)
    with _Shown(total, warn) as show:
        summary = Summary(total=total, show=show.update, report=report)
        for kind, counts in before:
            summary.counts[kind] += counts
            summary.earlier += counts.total()
        job = Load(
            to=to,
            bounds=Bounds(settings.body_bytes_max, settings.load_expanded_bytes_max),
            concurrency=request.concurrency or CONCURRENCY[request.mode],
            bytes_max=BYTES_MAX,
            journal=journal,
            watcher=summary,
            backfill=request.mode == "backfill",
            dry_run=request.dry_run,
            ours=None if request.origin else f"/fhir/R4/{to.tenant}/".encode(),
        )
        await job.run(files)
    return summary


def _tell(  # noqa: PLR0913 (the parts of one story)
    summary: Summary,
    request: Request,
    files: int,
    skipped: Sequence[Path],
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    for one in summary.shown:
        reasons = "; ".join(str(issue["text"]) for issue in one.issues)
        warn(f"refused: {one.where}: {reasons}")
    if summary.refusals > len(summary.shown):
        more = summary.refusals - len(summary.shown)
        warn(f"… and {more:,} more" + ("" if request.report else "; `--report FILE` lists all"))
    say(columns(summary.rows()))
    said = [f"{files:,} files", *([f"{len(skipped):,} others passed over"] if skipped else [])]
    if summary.earlier:
        said.append(f"{summary.earlier:,} resources loaded by earlier runs (`--fresh` loads them again)")
    if request.dry_run:
        said.append("dry run: nothing was stored, `stored` is what would be sent")
    say("; ".join(said))


class _Shown:
    """Progress as a bar on a terminal, else as a line now and then."""

    def __init__(self, total: int, warn: Callable[[str], None]) -> None:
        self._total = total
        self._warn = warn
        self._next = monotonic() + TELL_SECONDS
        self._started = monotonic()
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("loading"),
                BarColumn(),
                DownloadColumn(),
                TextColumn("{task.fields[said]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                refresh_per_second=4,
            )
            self._task = self._bar.add_task("load", total=total, said="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, read: int, said: str) -> None:
        """So many bytes of the files are read."""
        if self._bar is not None:
            self._bar.update(self._task, completed=read, said=said)
            return
        now = monotonic()
        if now >= self._next and read:
            self._next = now + TELL_SECONDS
            left = (now - self._started) * max(self._total - read, 0) / read
            self._warn(f"{read / max(self._total, 1):.0%} read, {said}, about {left:,.0f} s left")
