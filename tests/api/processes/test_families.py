"""Metrics of several processes as one scrape: what adds up, what does not, and what outlives a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from api.processes.ended import FOLDER_VARIABLE, Ended
from api.processes.families import GAUGES, Families, Row, rows_from, rows_of
from api.reference import all_metrics


def process(requests: int, *, available: bool, queue: int) -> list[Row]:
    """The metrics of a made-up process."""
    registry = CollectorRegistry()
    Counter("dod_asked_total", "Asked.", ("code",), registry=registry).labels("200").inc(requests)
    seconds = Histogram("dod_seconds", "Seconds.", buckets=(1, 2), registry=registry)
    for _ in range(requests):
        seconds.observe(1.5)
    Gauge("dod_store_available", "Available.", registry=registry).set(available)
    Gauge("dod_store_commit_queue", "Queue.", registry=registry).set(queue)
    return rows_of(registry.collect())


def value(families: Families, name: str, **labels: str) -> float:
    [found] = [
        sample.value
        for metric in families.metrics()
        for sample in metric.samples
        if (sample.name, sample.labels) == (name, labels)
    ]
    return float(found)


def test_counts_add_up_and_gauges_are_joined_as_their_row_says() -> None:
    both = Families()
    both.take(process(3, available=True, queue=2))
    both.take(process(5, available=False, queue=4))
    assert value(both, "dod_asked_total", code="200") == 8
    assert value(both, "dod_seconds_count") == 8
    assert value(both, "dod_seconds_bucket", le="1.0") == 0
    assert value(both, "dod_seconds_bucket", le="2.0") == 8
    assert value(both, "dod_store_available") == 0
    assert value(both, "dod_store_commit_queue") == 6
    # The limit of open files is one process's, and so is the number that comes near to it.
    for files in (30.0, 20.0):
        both.take([("process_open_fds", "gauge", "Files.", [("process_open_fds", {}, files)])])
        both.take([("process_max_fds", "gauge", "Most.", [("process_max_fds", {}, 100.0)])])
    assert (value(both, "process_open_fds"), value(both, "process_max_fds")) == (30, 100)


def test_rows_that_came_as_json_are_the_same_exposition() -> None:
    registry = CollectorRegistry()
    Counter("dod_asked_total", "Asked.", registry=registry).inc(2)
    families = Families()
    families.take(
        rows_from(
            [[one[0], one[1], one[2], [list(s) for s in one[3]]] for one in rows_of(registry.collect())]
        )
    )

    class Scrape:
        def collect(self) -> object:
            return families.metrics()

    assert generate_latest(Scrape()) == generate_latest(registry)  # type: ignore[arg-type]


def test_each_gauge_says_how_it_is_joined() -> None:
    gauges = {metric.name for metric in all_metrics().collect() if metric.type == "gauge"}
    assert gauges == set(GAUGES)


COUNTING = """
import os
from prometheus_client import CollectorRegistry, Counter, Histogram
registry = CollectorRegistry()
Counter("dod_asked_total", "Asked.", ("code",), registry=registry).labels("200").inc(7)
Histogram("dod_seconds", "Seconds.", buckets=(1, 2), registry=registry).observe(1.5)
print(os.getpid(), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_killed_process_keeps_what_it_counted(tmp_path: Path) -> None:
    ended = Ended(tmp_path)
    scraped: list[Row] = [
        ("dod_asked", "counter", "Asked.", [("dod_asked_total", {"code": "200"}, 5.0)]),
        ("process_cpu_seconds", "counter", "CPU.", [("process_cpu_seconds_total", {}, 1.25)]),
        ("process_open_fds", "gauge", "Files.", [("process_open_fds", {}, 9.0)]),
    ]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", COUNTING],
            env={**os.environ, FOLDER_VARIABLE: str(tmp_path)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == -9
        ended.take(int(done.stdout), scraped)
    families = Families()
    families.take(ended.rows())
    families.take(process(1, available=True, queue=0))
    assert value(families, "dod_asked_total", code="200") == 15
    assert value(families, "dod_seconds_bucket", le="2.0") == 3
    assert value(families, "process_cpu_seconds_total") == 2.5
    with pytest.raises(ValueError, match="not enough values"):
        value(families, "process_open_fds")
    assert list(tmp_path.iterdir()) == []
