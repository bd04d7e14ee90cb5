"""Whether a service that has run for long stands still: its memory and descriptors, minute by minute."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
SLOPE_MAX: Final = 0.01
"""Share of its memory by which a process may grow in ten minutes."""
DESCRIPTORS_MAX: Final = 2.0
"""Descriptors by which the last third may have more than the first: one connection more is no leak."""
_ROLES: Final = (
    ("api.annex", "annex"),
    ("api.herald", "herald"),
    ("api.workers", "worker"),
    ("mongod", "mongod"),
)


class Held(NamedTuple):
    """Memory and descriptors of all processes of a role."""

    megabytes: float = 0.0
    descriptors: int = 0

    def with_also(self, other: Held) -> Held:
        """Both together."""
        return Held(self.megabytes + other.megabytes, self.descriptors + other.descriptors)


def held_by(*pids: int) -> dict[str, Held]:
    """Memory and descriptors of these processes and of those that they started, by role."""
    found: dict[str, Held] = defaultdict(Held)
    for pid in pids:
        for one in _family(pid):
            with suppress(OSError):  # It has ended.
                role = _role(one)
                found[role] = found[role].with_also(_held(one))
    return dict(found)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
            yield from _family(int(child))


def _role(pid: int) -> str:
    line = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    return next((role for part, role in _ROLES if part in line), "service")


def _held(pid: int) -> Held:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return Held(pages * PAGE / 1e6, len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208 -- counted, not used


def slope(values: Sequence[float], *, per: int = 10) -> float:
    """Growth in so many steps as a share of the mean, by least squares."""
    if len(values) < 2:
        return 0.0
    middle, mean = (len(values) - 1) / 2, fmean(values)
    steps = [step - middle for step in range(len(values))]
    rise = sum(step * value for step, value in zip(steps, values, strict=True))
    return per * rise / sum(step * step for step in steps) / mean


def growth(values: Sequence[int]) -> float:
    """Median of the last third beyond that of the first."""
    third = max(len(values) // 3, 1)
    return median(values[-third:]) - median(values[:third])


def verdicts(minutes: Sequence[Mapping[str, Held]]) -> list[tuple[str, bool]]:
    """A line for each role of the service, and whether it stood still. `minutes` are those after warm-up.

    A mongod grows as its cache fills: it is shown, and not judged.
    """
    said = []
    for role in sorted({role for minute in minutes for role in minute}):
        seen = [minute[role] for minute in minutes if role in minute]
        memory, descriptors = (
            slope([one.megabytes for one in seen]),
            growth([one.descriptors for one in seen]),
        )
        holds = role == "mongod" or (memory < SLOPE_MAX and descriptors <= DESCRIPTORS_MAX)
        first, last = seen[0], seen[-1]
        line = (
            f"{role}: RSS {first.megabytes:.1f} → {last.megabytes:.1f} MB, {memory:+.2%} in 10 minutes;"
            f" descriptors {first.descriptors} → {last.descriptors}, {descriptors:+.0f}"
        )
        said.append((line, holds))
    return said
