"""`make bench-subscriptions`: pushes to a tenant with a hundred subscriptions, beside one without, in turn.

Service, mongod, senders and receivers share the processors. Each leg with subscriptions ends when the last
event has arrived; its pushes count for their own time. The lag is that from `meta.lastUpdated` to the arrival
at the receiver, of every event. `ARGS='--filter none'`: each subscription hears of every report.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from bench import reports, servers
from bench.load import ask_once, head, measure, post
from bench.requests import FHIR
from bench.workers import cpu_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.servers import Server

QUIET: Final = "Quiet/Production"
TOLD: Final = "Told/Production"
WARM_UP_SECONDS: Final = 3.0
ARRIVAL_SECONDS: Final = 60.0
"""Longest time that the last events of a leg may take."""
TARGET: Final = 0.95
_EXTENSION: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport"


class Arrived(NamedTuple):
    """Account of what receivers got since the last time they were asked."""

    events: int
    notifications: int
    p50: float
    p95: float
    most: float
    """Lags, in seconds."""


class Leg(NamedTuple):
    """Account of pushes for a while."""

    rate: float
    p99: float
    cost: float
    """Microseconds of processor time of the service's processes for each, deliveries included."""
    mongod: float
    rss: float
    """Megabytes of the service behind it."""


def pushes(tenant: str, token: str, prefix: int, patients: int) -> Callable[[], bytes]:
    """Distinct reports, of one patient after the other."""
    templates = [reports.Template(one) for one in range(patients)]
    numbers = itertools.count(prefix * 10**11)
    path = f"/fhir/R4/{tenant}/DiagnosticReport"

    def make() -> bytes:
        number = next(numbers)
        body = templates[number % patients].body(number)
        return head(path, media_type=FHIR, token=token, length=len(body)) + body

    return make


def subscription(port: int, number: int, *, filters: str) -> bytes:
    """A Subscription whose receiver is ours."""
    criteria = {
        "patient": f"DiagnosticReport?patient=Patient/{reports.patient_id(number)}",
        "code": f"DiagnosticReport?code=http://loinc.org|{reports.PANELS[number % len(reports.PANELS)][0]}",
        "none": "DiagnosticReport?",
    }[filters]
    filtered = {"extension": [{"url": f"{_EXTENSION}-filter-criteria", "valueString": criteria}]}
    content = {"extension": [{"url": f"{_EXTENSION}-payload-content", "valueCode": "id-only"}]}
    return orjson.dumps(
        {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "made up, of the benchmark",
            "criteria": "urn:data-on-demand:topic:DiagnosticReport",
            **({} if filters == "none" else {"_criteria": filtered}),
            "channel": {
                "type": "rest-hook",
                "endpoint": f"http://127.0.0.1:{port}/{number}",
                "payload": FHIR,
                "_payload": content,
            },
        }
    )


@contextmanager
def receivers() -> Iterator[int]:
    """The port of a process that is the receiver of all."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.subscriptions.receiver"],
        env=servers.environment(),
        cwd=servers.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def arrived(port: int) -> Arrived:
    """Ask the receivers what came, and have them forget it."""
    answer = await ask_once(port, b"GET /arrived HTTP/1.1\r\nHost: bench\r\n\r\n")
    return Arrived(**orjson.loads(answer.partition(b"\r\n\r\n")[2]))


async def all_arrived(port: int, events: int) -> list[Arrived]:
    """Wait for so many events; the sum of lags stays apart for each time that was asked."""
    until, some = monotonic() + ARRIVAL_SECONDS, [await arrived(port)]
    while sum(one.events for one in some) < events and monotonic() < until:
        await asyncio.sleep(0.5)
        some.append(await arrived(port))
    return [one for one in some if one.events]


async def leg(server: Server, make: Callable[[], bytes], *, connections: int, seconds: float) -> Leg:
    """Push for a while."""
    before = cpu_of(server.pid), servers.cpu_seconds(server.mongod)
    measured = await measure(server.port, make, status=b"201", connections=connections, seconds=seconds)
    assert not measured.failures, measured.sample[:1]
    number = len(measured.latencies)
    cost = (cpu_of(server.pid) - before[0]) / number * 1e6
    mongod = (servers.cpu_seconds(server.mongod) - before[1]) / number * 1e6
    return Leg(measured.rate, measured.milliseconds(0.99), cost, mongod, servers.resident(server.pid))


def told_of(pushed: int, options: argparse.Namespace) -> int:
    """Events that so many pushes make, of all subscriptions together; of filters by code about so many."""
    share = {"patient": 1.0, "code": options.subscriptions / len(reports.PANELS)}
    return int(pushed * share.get(options.filter, options.subscriptions))


def shown(name: str, legs: list[Leg]) -> str:
    """A row: medians."""
    one = Leg(*(median(leg[part] for leg in legs) for part in range(len(Leg._fields))))
    return f"  {name:28}{one.rate:>10,.0f}{one.p99:>9.1f}{one.cost:>14.0f}{one.mongod:>12.0f}{one.rss:>9.0f}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.subscriptions", description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=100)
    parser.add_argument("--filter", choices=("patient", "code", "none"), default="patient")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--apart", action="store_true", help="what is told, in a process of role `jobs`")
    return parser.parse_args()


async def main() -> None:
    """Measure in turn, print."""
    options = arguments()
    async with servers.database(cache_gigabytes=1.0) as (mongod, place, on):
        with ExitStack() as stack:
            port = stack.enter_context(receivers())
            allowed = {"DOD_SUBSCRIPTION_NETWORKS": "127.0.0.0/8"}
            if options.apart:
                jobs = {**allowed, "DOD_ROLE": "jobs"}
                stack.enter_context(servers.service(mongod, place / "jobs.log", on, **jobs))
                allowed["DOD_ROLE"] = "ingest"
            server = stack.enter_context(servers.service(mongod, place / "service.log", on, **allowed))
            token = servers.token(QUIET, TOLD, uri=mongod.uri)
            for number in range(options.subscriptions):
                body = subscription(port, number, filters=options.filter)
                request = post(f"/fhir/R4/{TOLD}/Subscription", body, media_type=FHIR, token=token)
                await ask_once(server.port, request)
            made = {name: pushes(name, token, 1, options.subscriptions) for name in (QUIET, TOLD)}
            legs: dict[str, list[Leg]] = {name: [] for name in made}
            lags: list[Arrived] = []
            for number in range(options.rounds + 1):
                for name in list(made)[:: 1 if number % 2 else -1]:
                    seconds = options.seconds if number else WARM_UP_SECONDS
                    one = await leg(server, made[name], connections=options.connections, seconds=seconds)
                    if number:
                        legs[name].append(one)
                    if name == TOLD:
                        some = await all_arrived(port, told_of(int(one.rate * seconds), options))
                        lags += some if number else []
            head_ = ("pushes/s", "p99 ms", "CPU us each", "mongod us", "RSS MB")
            print(f"  {'':28}{head_[0]:>10}{head_[1]:>9}{head_[2]:>14}{head_[3]:>12}{head_[4]:>9}")
            print(shown("without subscriptions", legs[QUIET]))
            print(shown(f"{options.subscriptions} of them, {options.filter}", legs[TOLD]))
            ratios = [told.rate / quiet.rate for told, quiet in zip(legs[TOLD], legs[QUIET], strict=True)]
            print(f"  ratio {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}; target {TARGET})")
            events, sent = sum(one.events for one in lags), sum(one.notifications for one in lags)
            p50, p95 = (max(one[at] for one in lags) for at in (2, 3))
            print(
                f"  {events:,} events in {sent:,} notifications; lag p50 {p50:.2f}, p95 {p95:.2f} s at most"
            )


if __name__ == "__main__":
    asyncio.run(main())
