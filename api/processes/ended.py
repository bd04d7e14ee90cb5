"""Counts of processes that have ended, so that no counter shrinks: Prometheus would read that as a restart.

A further process keeps its counters and histograms in mapped files (prometheus-client's mode for several
processes), which outlive it, whatever killed it. What is in no such file, as the time of its processor,
counts as it was last scraped.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.multiprocess import MultiProcessCollector

from api.processes.families import MONOTONIC, Families

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from api.processes.families import Row

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Read by prometheus-client when it is imported; set for further processes alone."""
_MAPPED: Final = ("counter", "histogram")


class Ended:
    """Counters and histograms of all processes that have ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._families = Families()

    def rows(self) -> list[Row]:
        """Counts of all ended processes together."""
        return self._families.rows()

    def take(self, pid: int, scraped: Sequence[Row], beside: Sequence[Row] = ()) -> None:
        """Take in what a process counted, by its files and its last scrape, and remove the files.

        What it started itself is taken as it was last scraped.
        """
        mapped = list(self._mapped(pid))
        names = {row[0] for row in mapped}
        self._families.take(mapped)
        self._families.take((row for row in scraped if row[0] not in names), only=MONOTONIC)
        self._families.take(beside, only=MONOTONIC)
        for file in self._folder.glob(f"*_{pid}.db"):
            file.unlink()

    def _mapped(self, pid: int) -> Iterator[Row]:
        files = [str(file) for kind in _MAPPED for file in self._folder.glob(f"{kind}_{pid}.db")]
        for one in MultiProcessCollector.merge(files, accumulate=True):  # type: ignore[no-untyped-call]
            samples = [(sample.name, dict(sample.labels), sample.value) for sample in one.samples]
            yield one.name, one.type, one.documentation, samples
