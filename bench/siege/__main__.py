"""`make siege`: one tenant's client beside attacks by another, each in turn, on an embedded mongod.

The client asks at a fixed rate whatever comes back: 50 searches and 20 pushes a second. Latency counts from
the moment at which a request was due. Before each attack the same is measured without one, since a machine
has its moods. `ARGS='--only objects,half-heads --seconds 20'`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

from bench import servers, stores
from bench.client import Client
from bench.requests import TENANT, pushes, searches
from bench.siege.attacks import ATTACKS, EVIL
from bench.siege.attacks import BASE as EVIL_BASE
from store.mongo.embedded import embedded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEARCHES: Final = 50
PUSHES: Final = 20
"""Requests a second."""
PATIENTS: Final = 200
REPORTS: Final = 2_000
P99_MILLISECONDS: Final = 250.0
RSS_MEGABYTES: Final = 600.0


class Told(NamedTuple):
    """Account of what the client saw in one leg."""

    latencies: list[float]
    """Milliseconds, sorted."""
    errors: int
    rss: float
    """Largest memory of the service meanwhile, in megabytes."""

    def percentile(self, part: float) -> float:
        """A percentile of the latency."""
        return self.latencies[min(int(len(self.latencies) * part), len(self.latencies) - 1)]


async def leg(
    server: servers.Server, search: Callable[[], bytes], push: Callable[[], bytes], seconds: float
) -> Told:
    """Both kinds of requests at their rates, for so long."""
    client, rss, tasks = Client(server.port), 0.0, set()
    start = perf_counter()
    dues = sorted(
        itertools.chain(
            ((start + n / SEARCHES, search) for n in range(int(SEARCHES * seconds))),
            ((start + n / PUSHES, push) for n in range(int(PUSHES * seconds))),
        ),
        key=lambda due: due[0],
    )
    for number, (due, make) in enumerate(dues):
        await asyncio.sleep(max(0.0, due - perf_counter()))
        tasks.add(asyncio.ensure_future(client.ask(make(), due)))
        if number % 10 == 0:
            rss = max(rss, servers.resident(server.pid))
    await asyncio.gather(*tasks)
    return Told(sorted(client.latencies), client.errors, rss)


@contextmanager
def attack(name: str, port: int, token: str) -> Iterator[None]:
    """The attack, under way."""
    command = [sys.executable, "-m", "bench.siege.attacks", name, str(port), token]
    process = subprocess.Popen(
        command, env=servers.environment(), cwd=servers.ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n", name
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def arguments() -> argparse.Namespace:
    """Arguments: how long, and which attacks."""
    parser = argparse.ArgumentParser(prog="make siege", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each leg")
    parser.add_argument("--only", default=",".join(ATTACKS), help="attacks, with commas between them")
    return parser.parse_args()


def tokens(uri: str) -> tuple[str, str]:
    """The client's and the attacker's."""
    made = []
    for tenant in (TENANT, EVIL):
        servers.dod("tenant", "create", tenant, "--search-scope", "any", uri=uri)
        made.append(servers.dod("token", "issue", "--tenant", tenant, "--scope", "system/*.cruds", uri=uri))
    return made[0], made[1]


async def main() -> None:
    """All attacks in turn; ends with 1 when a bound does not hold."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="dod-siege-") as directory, ExitStack() as stack:
        place = Path(directory)
        async with embedded(place / "data", role="serve", cache_gigabytes=1.0) as mongod:
            ours, theirs = tokens(mongod.uri)
            nowhere = servers.Cores(frozenset(), frozenset())
            server = stack.enter_context(servers.service(mongod, place / "service.log", nowhere))
            await stores.push_all(server, ours, stores.patients_with_reports(REPORTS, PATIENTS))
            names = options.only.split(",")
            more = max(ATTACKS[name].reports for name in names)
            await stores.push_all(server, theirs, stores.patients_with_reports(more, bool(more)), EVIL_BASE)
            search = searches("patient", [("", one) for one in range(PATIENTS)], ours)
            push = pushes(PATIENTS, ours, "1")
            await leg(server, search, push, 3.0)
            idle, held = servers.resident(server.pid), True
            print(f"idle: {idle:.0f} MB; legs of {options.seconds:g} s")
            print(f"{'attack':14}{'p50':>8}{'p99':>8}{'errors':>8}{'RSS above idle':>16}   p99 before")
            for name in names:
                before = await leg(server, search, push, options.seconds)
                with attack(name, server.port, theirs):
                    told = await leg(server, search, push, options.seconds)
                above = told.rss - idle
                row = f"{name:14}{told.percentile(0.5):8.0f}{told.percentile(0.99):8.0f}{told.errors:8}"
                print(f"{row}{above:13.0f} MB{before.percentile(0.99):13.0f}", flush=True)
                good = told.percentile(0.99) <= P99_MILLISECONDS and above <= RSS_MEGABYTES
                held = held and good and not told.errors
    sys.exit(not held)


if __name__ == "__main__":
    asyncio.run(main())
