"""Order of a run's tests on several workers: modules that take long are spread over all of the run.

A test that waits for a killed process or a browser leaves its processor to the others then, and none is
left for the end, when the others have gone.
"""

from __future__ import annotations

import os
import sys
from itertools import chain, groupby
from typing import TYPE_CHECKING, Final, TypeVar

from tests.support.memory_backed import available_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")

WORKERS_A_CORE: Final = 2
"""Tests wait for processes, journals and clocks for a third of their time."""
WORKERS_MAX: Final = 8
BYTES_A_WORKER: Final = 1_200_000_000
"""A worker with all tests loaded, its mongod, and what its tests start."""
LAST_PART: Final = 0.2
"""Part of a worker's tests, at their end, among which no long ones begin."""


def workers(a_core: int) -> int:
    """So many workers a core, as far as this machine has room for them."""
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    room = available_bytes() // BYTES_A_WORKER
    return max(1, min(a_core * processors, WORKERS_MAX, room))


def spread(
    items: Sequence[T], workers: int, *, module: Callable[[T], Hashable], is_long: Callable[[T], bool]
) -> list[T]:
    """Items in order: `--dist worksteal` gives each worker a stretch, here with its share of long modules.

    Items of a module stay together, for the sake of its fixtures.
    """
    modules = [list(group) for _, group in groupby(items, key=module)]
    long = [group for group in modules if any(map(is_long, group))]
    short = list(chain.from_iterable(group for group in modules if not any(map(is_long, group))))
    order: list[T] = []
    for worker in range(workers):
        mine = long[worker::workers]
        size = (len(items) - len(order)) // (workers - worker)
        room = max(0, size - sum(map(len, mine)))
        order += _among(short[:room], mine, module=module)
        del short[:room]
    return order + short


def _among(short: list[T], long: list[list[T]], *, module: Callable[[T], Hashable]) -> list[T]:
    """The short ones with a long module now and then, the first at once."""
    order: list[T] = []
    done = 0
    for number, group in enumerate(long):
        upto = max(done, int(number * len(short) * (1 - LAST_PART) / len(long)))
        while 0 < upto < len(short) and module(short[upto]) == module(short[upto - 1]):
            upto += 1
        order += [*short[done:upto], *group]
        done = upto
    return order + short[done:]
