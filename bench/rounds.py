"""Two things measured in turn, A B B A A B …, so that what else the machine does meets both alike."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from bench.load import measure
from bench.servers import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.load import Measured
    from bench.servers import Server

WARM_UP_SECONDS: Final = 1.0


def of_comparisons(module: str, about: str | None) -> argparse.ArgumentParser:
    """The command line that all comparisons share, for each to add its own."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison [5]")
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of one leg [2]")
    parser.add_argument("--no-pin", action="store_true", help="leave processes where the kernel puts them")
    return parser


@dataclass(slots=True)
class Contender:
    """Side of a comparison."""

    label: str
    server: Server
    make: Callable[[], bytes]
    """The next request."""
    check: Callable[[bytes], None]
    """Raises AssertionError when an answer is not what it must be."""
    legs: list[Measured] = field(default_factory=list)
    alone: list[Measured] = field(default_factory=list)
    """Leg on one connection: how long a request takes that meets no other."""
    cpu: list[float] = field(default_factory=list)
    """Microseconds of the server's processor time for one request, by leg."""
    mongod: list[float] = field(default_factory=list)
    """Processor time of mongod."""

    def forget(self) -> None:
        """Drop what was measured while warming up."""
        for series in (self.legs, self.alone, self.cpu, self.mongod):
            series.clear()

    async def run(self, *, status: bytes, connections: int, seconds: float, counted: bool = True) -> Measured:
        """Run a leg, checked; its processor time is kept when it is counted."""
        processes = (self.server.pid, self.server.mongod)
        before = [cpu_seconds(pid) for pid in processes]
        leg = await measure(
            self.server.port, self.make, status=status, connections=connections, seconds=seconds
        )
        assert not leg.failures, f"{self.label}: {leg.failures} answers of another status than {status!r}"
        used = [cpu_seconds(pid) - start for pid, start in zip(processes, before, strict=True)]
        if counted:
            for series, seconds_used in zip((self.cpu, self.mongod), used, strict=True):
                series.append(seconds_used / len(leg.latencies) * 1e6)
        for answer in leg.sample:  # After the processor time is read.
            self.check(answer)
        return leg


@dataclass(frozen=True, slots=True)
class Target:
    """Target of a ratio: at least, or (for a cost) at most."""

    ratio: float | None
    """None: shown beside one that is judged."""
    stretch: float | None = None
    at_most: bool = False
    of_p50: bool = False
    """Whether it is about the median latency; else it is about requests a second."""

    @property
    def name(self) -> str:
        """Name of what the ratio is of."""
        return "p50 ratio" if self.of_p50 else "cost ratio" if self.at_most else "ratio"

    def of(self, first: Measured, second: Measured) -> float:
        """The ratio of one round."""
        if self.of_p50:
            return first.milliseconds(0.5) / second.milliseconds(0.5)
        return second.rate / first.rate if self.at_most else first.rate / second.rate

    def verdict(self, ratio: float) -> str:
        """PASS or FAIL, and how far the stretch goal is; nothing when it is not judged."""
        if self.ratio is None:
            return ""
        met = ratio <= self.ratio if self.at_most else ratio >= self.ratio
        words = f"{'PASS' if met else 'FAIL'} (target {'<=' if self.at_most else '>='} {self.ratio:g}"
        if self.stretch is not None:
            words += f", stretch {self.stretch:g} {'reached' if ratio >= self.stretch else 'not reached'}"
        return words + ")"


async def compare(  # noqa: PLR0913 (one call for each comparison)
    pair: tuple[Contender, Contender],
    *,
    status: bytes,
    connections: int,
    seconds: float,
    rounds: int,
    alone: float = 0,
) -> None:
    """Warm both up, then measure them in turn; then so many seconds of each round on one connection."""
    for one in pair:
        await one.run(status=status, connections=connections, seconds=WARM_UP_SECONDS)
        one.forget()
    for number in range(rounds):
        for one in pair if number % 2 == 0 else pair[::-1]:
            one.legs.append(await one.run(status=status, connections=connections, seconds=seconds))
    # Afterwards: these legs' processor time is no part of the table.
    for number in range(rounds if alone else 0):
        for one in pair if number % 2 == 0 else pair[::-1]:
            one.alone.append(await one.run(status=status, connections=1, seconds=alone, counted=False))


def rows(title: str, pair: tuple[Contender, Contender], target: Target) -> list[str]:
    """The comparison as text; the ratio is first / second, or its inverse for a cost."""
    lines = [
        title,
        f"  {'':34}{'requests/s':>22}{'p50 ms':>9}{'p99 ms':>9}{'CPU us each':>13}{'mongod us':>11}",
    ]
    if pair[0].alone:
        lines[-1] += f"{'alone p50':>11}"
    for one in pair:
        rates = [leg.rate for leg in one.legs]
        p50, p99 = (median(leg.milliseconds(at) for leg in one.legs) for at in (0.50, 0.99))
        cpu = f"{median(one.cpu):>13.0f}{median(one.mongod):>11.0f}"
        rate = f"{median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})"
        alone = f"{median(leg.milliseconds(0.5) for leg in one.alone):>11.2f}" if one.alone else ""
        lines.append(f"  {one.label:34}{rate:>22}{p50:>9.{2 if p50 < 10 else 1}f}{p99:>9.1f}{cpu}{alone}")
    ratios = [target.of(a, b) for a, b in zip(pair[0].legs, pair[1].legs, strict=True)]
    ratio = median(ratios)
    spread = f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    lines.append(f"  {target.name:34}{spread:>22}  {target.verdict(ratio)}".rstrip())
    return lines


def busiest(contenders: Sequence[Contender]) -> float:
    """The largest share of a core that the load generator took in any leg."""
    return max(leg.busy for one in contenders for leg in one.legs)
