"""The summary of `dod load`: outcomes by kind of file, refusals, files with refusals, time and rate."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from time import monotonic
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ingest.load.files import Piece
    from ingest.load.results import Refusal, Result

SHOWN_MAX: Final = 20
"""Refusals, and files with refusals, shown at the end; `--report` has all."""
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "stored": ("stored", "created", "replaced"),
    "unchanged": ("unchanged", "exists"),
    "stale": ("stale",),
    "deleted": ("deleted",),
    "refused": ("refused",),
}
"""The columns of the summary, and the outcomes that each sums up."""
_ALWAYS: Final = ("stored", "unchanged", "refused")


@dataclass(slots=True)
class Summary:
    """The outcomes so far. A body pushed again for what was refused of it is counted once."""

    files: Counter[str]
    """Number of files by kind."""
    show: Callable[[int, str], None]
    report: IO[str] | None
    clock: Callable[[], float] = monotonic
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    earlier: int = 0
    """Number of resources that runs before this one stored."""
    shown: list[Refusal] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    """Number of refusals by file."""
    resources: int = 0
    """Number of resources that this run pushed."""
    _read: Counter[Path] = field(default_factory=Counter)
    _started: float = field(init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def refused(self) -> int:
        """Number of refusals."""
        return self.refusals.total()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return max(self.clock() - self._started, 1e-3)

    def before(self, kind: str, counts: Counter[str]) -> None:
        """Take in what earlier runs stored of a file."""
        self.counts[kind] += counts
        self.earlier += counts.total()

    def loaded(self, piece: Piece, result: Result) -> None:
        """See `ingest.load.load.Watcher`."""
        counts = self.counts[piece.source.kind]
        counts.update(result.counts)
        counts.subtract(result.earlier)
        self.resources += result.counts.total()
        for one in result.refusals:
            self.refusals[one.place.file] += 1
            if len(self.shown) < SHOWN_MAX:
                self.shown.append(one)
            if self.report is not None:
                self.report.write(json.dumps(one.report()) + "\n")
        self.passed(piece)

    def passed(self, piece: Piece) -> None:
        """See `ingest.load.load.Watcher`."""
        self._read[piece.source.path] = max(self._read[piece.source.path], piece.read)
        self.show(self._read.total(), self.pace())

    def pace(self) -> str:
        """The number of resources and the rate."""
        return f"{self.resources:,} resources, {self.resources / self.seconds:,.0f}/s"

    def rows(self) -> list[tuple[str, ...]]:
        """The table, one row for each kind of file and one for all."""
        everything = sum(self.counts.values(), Counter[str]())
        wanted = [name for name in COLUMNS if name in _ALWAYS or _sum(everything, name)]
        rows = [("KIND", "FILES", *(name.upper() for name in wanted))]
        for kind, number in sorted(self.files.items()):
            rows.append((kind, f"{number:,}", *(f"{_sum(self.counts[kind], name):,}" for name in wanted)))
        total = f"{self.files.total():,}"
        return [*rows, ("all", total, *(f"{_sum(everything, name):,}" for name in wanted))]

    def refusal_lines(self) -> Iterator[str]:
        """The first refusals with their reasons; of more, the files that have them."""
        for one in self.shown:
            yield f"refused: {one.place}: {'; '.join(str(issue['text']) for issue in one.issues)}"
        if self.refused == len(self.shown):
            return
        hint = "" if self.report else "; `--report FILE` lists all"
        yield f"… and {self.refused - len(self.shown):,} more{hint}"
        for file, number in self.refusals.most_common(SHOWN_MAX):
            yield f"{number:,} refused in {file}"
        if len(self.refusals) > SHOWN_MAX:
            yield f"… and in {len(self.refusals) - SHOWN_MAX:,} more files"

    def sentence(self, *, skipped: int, dry_run: bool) -> str:
        """The line below the table: files, those with refusals, earlier runs, time and rate."""
        rate = f"{self.resources / self.seconds:,.0f} a second"
        said = [
            f"{self.files.total():,} files, {len(self.refusals):,} of them with refusals",
            f"{skipped:,} others passed over" if skipped else "",
            f"{self.resources:,} resources in {self.seconds:,.1f} s, {rate}",
            f"{self.earlier:,} resources loaded by earlier runs (`--fresh` loads them again)"
            if self.earlier
            else "",
            "dry run: nothing was stored, `stored` is what would be sent" if dry_run else "",
        ]
        return "; ".join(one for one in said if one)


def _sum(counts: Counter[str], column: str) -> int:
    return sum(counts[outcome] for outcome in COLUMNS[column])
