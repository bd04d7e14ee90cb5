"""Cost of the pure line of a push, without HTTP and database: the quickest of many rounds, in CPU time.

Part of `make bench`; alone, in two seconds: `.venv/bin/python -m bench.preparing`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson

from bench import reports
from ingest.pipeline.decode import decode
from ingest.pipeline.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS: Final = 15
DISTINCT: Final = 200
"""Resources of each kind: enough that not all of what is remembered helps."""
_BASE: Final = "http://localhost/fhir/R4/bench/Development"


def _report(number: int) -> dict[str, Any]:
    return reports.report(number, number % 100)


def _observation(number: int) -> dict[str, Any]:
    return reports.observation(f"bench-{number}", _report(number), number)


KINDS: Final[dict[str, Callable[[int], dict[str, Any]]]] = {
    "report": _report,
    "observation": _observation,
    "patient": reports.patient,
}


def microseconds(work: Callable[[Any], object], each: Sequence[Any], *, rounds: int = ROUNDS) -> float:
    """CPU time for one, in the quickest round."""
    quickest = float("inf")
    for _ in range(rounds):
        started = time.process_time_ns()
        for one in each:
            work(one)
        quickest = min(quickest, time.process_time_ns() - started)
    return quickest / len(each) / 1_000


def table(*, rounds: int = ROUNDS) -> list[str]:
    """A line for each kind of resource."""
    lines = ["Preparing a push, CPU us each", f"  {'':34}{'bytes':>8}{'decode':>9}{'prepare':>9}"]
    for kind, make in KINDS.items():
        bodies = [orjson.dumps(make(number)) for number in range(DISTINCT)]
        resources = list(map(decode, bodies))
        size = sum(map(len, bodies)) / len(bodies)
        decoding = microseconds(decode, bodies, rounds=rounds)
        preparing = microseconds(lambda one: prepare(one, "1", base=_BASE), resources, rounds=rounds)
        lines.append(f"  {kind:34}{size:>8,.0f}{decoding:>9.1f}{preparing:>9.1f}")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
