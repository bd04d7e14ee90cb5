"""`make bench-workers`: one worker beside several, on one embedded mongod, by requests and by processor time.

Load generator and mongod run on the same processors, so on a small machine requests a second are bounded by
all of them together; processor time for one request says what a machine of only this service would reach.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from bench import servers, stores
from bench.load import measure
from bench.requests import TENANT, searches
from store.mongo.embedded import embedded

if TYPE_CHECKING:
    from bench.servers import Server

REPORTS: Final = 10_000
PATIENTS: Final = 1_000
WARM_UP_SECONDS: Final = 2.0
ANYWHERE: Final = servers.Cores(frozenset(), frozenset())


class Leg(NamedTuple):
    """Measurement of a service for a while."""

    rate: float
    p50: float
    p99: float
    cost: float
    """Microseconds of processor time for one request, of all processes of the service."""
    mongod: float
    """Processor time of mongod."""
    cores: float
    """Processors that the service used."""


def processes_of(pid: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *map(int, children)]


def cpu_of(pid: int) -> float:
    """Processor time that the process and its children have used."""
    return sum(servers.cpu_seconds(one) for one in processes_of(pid))


async def leg(server: Server, token: str, *, connections: int, seconds: float) -> Leg:
    """Search for a while."""
    make = searches("chain", [("", number) for number in range(PATIENTS)], token)
    before, mongod = cpu_of(server.pid), servers.cpu_seconds(server.mongod)
    measured = await measure(server.port, make, status=b"200", connections=connections, seconds=seconds)
    assert not measured.failures, measured.sample[:1]
    used, number = cpu_of(server.pid) - before, len(measured.latencies)
    return Leg(
        measured.rate,
        measured.milliseconds(0.5),
        measured.milliseconds(0.99),
        used / number * 1e6,
        (servers.cpu_seconds(server.mongod) - mongod) / number * 1e6,
        used / measured.seconds,
    )


def shown(name: str, legs: list[Leg]) -> str:
    """A row: medians."""
    middle = Leg(*(median(one[part] for one in legs) for part in range(len(Leg._fields))))
    return (
        f"  {name:28}{middle.rate:>12,.0f}{middle.p50:>9.1f}{middle.p99:>9.1f}"
        f"{middle.cost:>14.0f}{middle.mongod:>12.0f}{middle.cores:>8.2f}"
    )


async def main() -> None:
    """Measure in turn, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.workers", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--connections", type=int, default=64)  # Thirty-two for each of two workers.
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dod-bench-") as directory, ExitStack() as stack:
        place = Path(directory)
        async with embedded(place / "data", role="serve", cache_gigabytes=1.0) as mongod:
            made = {
                name: stack.enter_context(
                    servers.service(mongod, place / f"{index}.log", ANYWHERE, **settings)
                )
                for index, (name, settings) in enumerate(
                    {
                        "1 process": {},
                        f"{options.workers} workers": {"DOD_WORKERS": str(options.workers)},
                    }.items()
                )
            }
            servers.dod("tenant", "create", TENANT, uri=mongod.uri)
            token = servers.dod(
                "token", "issue", "--tenant", TENANT, "--scope", "system/*.cruds", uri=mongod.uri
            )
            first = next(iter(made.values()))
            await stores.push_all(first, token, stores.patients_with_reports(REPORTS, PATIENTS))
            legs: dict[str, list[Leg]] = {name: [] for name in made}
            for number in range(options.rounds + 1):
                for name in list(made)[:: 1 if number % 2 else -1]:
                    seconds = options.seconds if number else WARM_UP_SECONDS
                    one = await leg(made[name], token, connections=options.connections, seconds=seconds)
                    if number:
                        legs[name].append(one)
            head = ("requests/s", "p50 ms", "p99 ms", "CPU us each", "mongod us", "cores")
            print(f"  {'':28}{head[0]:>12}{head[1]:>9}{head[2]:>9}{head[3]:>14}{head[4]:>12}{head[5]:>8}")
            for name, some in legs.items():
                print(shown(name, some))
            alone, together = (median(leg.cost for leg in some) for some in legs.values())
            print(f"  processor time for one request: {together / alone:.3f} x (target <= 1.05)")


if __name__ == "__main__":
    asyncio.run(main())
