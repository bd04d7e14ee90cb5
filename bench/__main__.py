"""`make bench`: this service beside a floor, in one run on one embedded mongod, over loopback.

How to read it is in `docs/benchmark.md`. The exit code says whether it ran, not whether targets were met.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo import MongoClient

from bench import feeds, reports, servers, stores
from bench.answers import all_stored, found, found_of_patient, stored, verify_same
from bench.requests import BASE, TENANT, bundles, pushes, search, searches
from bench.rounds import Contender, Target, busiest, compare, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.servers import Cores, Server
    from store.mongo.embedded import Embedded

DATABASE: Final = "dod"
"""Name of the database of most comparisons: the service's default."""
SMALL_DATABASE: Final = "dod_small"
LARGE_DATABASE: Final = "dod_large"
SMALL_REPORTS: Final = 5_000
"""Reports in the small store, and at each site of the large one."""
LARGE_REQUESTS: Final = 50_000
"""Requests made beforehand for either: as many as the large store has patients, so that few come twice."""
INCLUDE_SITE: Final = "-include"
INCLUDE_PATIENTS: Final = 100
INCLUDE_RESULTS: Final = 5
"""Observations of each report of `INCLUDE_SITE`; all are stored, by the service."""
ONE_WRITE_PER_PUSH: Final = {"DOD_COMMIT_OPERATIONS_MAX": "1", "DOD_COMMIT_PARALLEL": "16"}
"""Each push is a write of its own, as many at once as there are driver threads for."""
GIB: Final = 2**30
BATCH_REPORTS: Final = 100
BATCHES_AT_ONCE: Final = 4
MESSAGE_RESULTS: Final = 12
MESSAGES_AT_ONCE: Final = 16
MODEST: Final = 4
"""Connections at which stores of different sizes are compared: enough to meet others, no queue."""


class Stage(NamedTuple):
    """Stage that every comparison needs."""

    options: argparse.Namespace
    mongod: Embedded
    place: Path
    on: Cores
    stack: ExitStack

    def service(self, name: str, **settings: str) -> Server:
        """A service that runs until the end."""
        log = self.place / f"{name}.log"
        return self.stack.enter_context(servers.service(self.mongod, log, self.on, **settings))

    def floor(self, name: str, *, workers: int) -> Server:
        """A floor that runs until the end."""
        log = self.place / f"{name}.log"
        return self.stack.enter_context(servers.floor(self.mongod, log, self.on, workers=workers))

    def token(self, database: str) -> str:
        """A tenant in this database, and a token for all of it."""
        return servers.token(TENANT, uri=self.mongod.uri, DOD_MONGODB_DATABASE=database)

    def times(self, share: float = 1) -> dict[str, Any]:
        """Duration and number of rounds."""
        return {"seconds": self.options.seconds * share, "rounds": self.options.rounds}

    def searching(self) -> dict[str, Any]:
        """Legs of searches, on one connection too."""
        alone = self.options.seconds / 4
        return {"status": b"200", "connections": self.options.searchers, "alone": alone, **self.times()}


def arguments() -> argparse.Namespace:
    """The command line; each option has a variable too."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)

    def number(name: str, default: float, text: str) -> None:
        value = os.environ.get("BENCH_" + name.upper(), str(default))
        parser.add_argument(f"--{name}", type=type(default), default=value, help=f"{text} [{default:g}]")

    number("reports", 20_000, "reports in the store")
    number("each", 10, "reports of one patient")
    number("rounds", 5, "rounds of each comparison")
    number("seconds", 2.0, "duration of one leg")
    number("searchers", 32, "connections that search")
    number("pushers", 64, "pushes in flight")
    number(
        "large", 500_000, f"reports in the large store, compared with {SMALL_REPORTS:,}; 0: leave that out"
    )
    number("cache", 4.0, "GiB of mongod's cache")
    parser.add_argument(
        "--no-pin", action="store_true", help="leave the processes where the kernel puts them"
    )
    return parser.parse_args()


async def main() -> None:
    """Start everything, measure, print, end everything."""
    options = arguments()
    started = time.monotonic()
    async with servers.database(pin=not options.no_pin, cache_gigabytes=options.cache) as (mongod, place, on):
        await run(options, mongod, place, on)
    print(f"\n{time.monotonic() - started:.0f} s in all")


async def run(options: argparse.Namespace, mongod: Embedded, place: Path, on: Cores) -> None:
    """All comparisons on a running mongod."""
    with ExitStack() as stack:
        stage = Stage(options, mongod, place, on, stack)
        token = stage.token(DATABASE)
        service = stage.service("service")
        patients = max(int(options.reports / options.each), 1)
        await stores.push_all(service, token, stores.patients_with_reports(options.reports, patients))
        stores.copy_to_floor(mongod.uri, DATABASE)
        print("\n".join(heading(options, on, mongod.uri)), flush=True)
        show(servers.preparing())
        everyone = [
            *await compare_with_floor(stage, service, token, patients),
            *await compare_audit(stage, service, token, patients),
            *await compare_chain(stage, service, token, patients),
            *await compare_include(stage, service, token),
            *await compare_commits(stage, service, token, patients),
            *await compare_pushes(stage, service, token, patients),
            *await compare_batches(stage, service, token, patients),
            *await compare_messages(stage, service, token),
            *await compare_feeds(stage, service, token),
            *(await compare_sizes(stage) if options.large else ()),
        ]
        print(f"\nThe load generator took at most {busiest(everyone):.0%} of a core.")


async def compare_with_floor(stage: Stage, service: Server, token: str, patients: int) -> Sequence[Contender]:
    """A search beside the least code that answers it."""
    options = stage.options
    least = stage.floor("floor", workers=options.searchers)
    await verify_same(service, least, search("patient", 0, token))
    by_patient = tuple(
        Contender(label, server, searches("patient", everybody(patients), token), found(options.each))
        for label, server in (("service", service), ("floor: one find", least))
    )
    return await judged(
        f"Search by patient, {options.searchers} connections",
        by_patient,
        Target(0.6, 0.75),
        **stage.searching(),
    )


async def compare_audit(stage: Stage, service: Server, token: str, patients: int) -> Sequence[Contender]:
    """Compare the service with itself without a record of accesses: what the audit costs a search."""
    options = stage.options
    without = stage.service("unaudited", DOD_AUDIT="off")
    pair = tuple(
        Contender(label, server, searches("patient", everybody(patients), token), found(options.each))
        for label, server in (("on record before it is answered", service), ("without audit", without))
    )
    title = f"Search by patient, {options.searchers} connections, beside the same without audit"
    return await judged(title, pair, Target(0.95), **stage.searching())


async def compare_chain(stage: Stage, service: Server, token: str, patients: int) -> Sequence[Contender]:
    """By the patient's identifier beside by the patient's id."""
    options = stage.options
    pair = tuple(
        Contender(label, service, searches(kind, everybody(patients), token), found(options.each))
        for label, kind in (("patient.identifier=", "chain"), ("subject=", "subject"))
    )
    title = f"Search by the patient's identifier, {options.searchers} connections"
    return await judged(title, pair, Target(1.2, at_most=True), **stage.searching())


async def compare_include(stage: Stage, service: Server, token: str) -> Sequence[Contender]:
    """A page with the Observations of its reports beside the same page without."""
    options, each, site = stage.options, stage.options.each, INCLUDE_SITE
    made = stores.patients_with_results(site, patients=INCLUDE_PATIENTS, each=each, results=INCLUDE_RESULTS)
    await stores.push_all(service, token, made)
    pair = tuple(
        Contender(
            label,
            service,
            searches(kind, everybody(INCLUDE_PATIENTS, site), token),
            found_of_patient(each, included=included),
        )
        for label, kind, included in (
            ("_include=DiagnosticReport:result", "include", each * INCLUDE_RESULTS),
            ("without", "patient", 0),
        )
    )
    title = (
        f"A page of {each} reports and their {each * INCLUDE_RESULTS} Observations,"
        f" {options.searchers} connections"
    )
    return await judged(title, pair, Target(3, at_most=True), **stage.searching())


async def compare_commits(stage: Stage, service: Server, token: str, patients: int) -> Sequence[Contender]:
    """Compare the service with itself without the group commit: what it is worth."""
    pushers = stage.options.pushers
    alone = stage.service("alone", **ONE_WRITE_PER_PUSH)
    pair = (
        Contender("service", service, pushes(patients, token, "4"), stored),
        Contender("one write per push", alone, pushes(patients, token, "5"), stored),
    )
    title = f"Single-report pushes, {pushers} in flight, beside the same without group commit"
    return await judged(title, pair, Target(1.5, 2.5), status=b"201", connections=pushers, **stage.times())


async def compare_pushes(stage: Stage, service: Server, token: str, patients: int) -> Sequence[Contender]:
    """A push beside the least code; its floor has as many driver threads as pushes in flight."""
    pushers = stage.options.pushers
    writer = stage.floor("writer", workers=pushers)
    await verify_same(service, writer, pushes(10**6, token, "3")())
    pair = (
        Contender("service", service, pushes(patients, token, "1"), stored),
        Contender("floor: one bare insert", writer, pushes(patients, token, "2"), stored),
    )
    title = f"Single-report pushes, {pushers} in flight, beside an insert of unread bytes"
    return await judged(title, pair, Target(0.6), status=b"201", connections=pushers, **stage.times())


async def compare_batches(stage: Stage, service: Server, token: str, patients: int) -> Sequence[Contender]:
    """A batch of reports beside one `insert_many` of the same bytes."""
    writer = stage.floor("batches", workers=BATCHES_AT_ONCE)
    template = reports.many(BATCH_REPORTS, patients + 1)
    check = all_stored(BATCH_REPORTS)
    pair = (
        Contender("service", service, bundles(template, token, "6"), check),
        Contender("floor: insert_many", writer, bundles(template, token, "7"), check),
    )
    title = (
        f"A batch of {BATCH_REPORTS} reports, {BATCHES_AT_ONCE} in flight, beside insert_many of the bytes"
    )
    return await judged(title, pair, Target(0.5), status=b"200", connections=BATCHES_AT_ONCE, **stage.times())


async def compare_messages(stage: Stage, service: Server, token: str) -> Sequence[Contender]:
    """A laboratory's message beside the same resources as a batch; a header more is in the message."""
    sent = reports.result_of_a_panel(MESSAGE_RESULTS)
    as_message, as_batch = reports.as_message(sent), reports.as_batch(sent)
    path = f"{BASE}/$process-message"
    pair = (
        Contender("message", service, bundles(as_message, token, "8", path), all_stored(len(sent) + 1)),
        Contender("batch", service, bundles(as_batch, token, "9"), all_stored(len(sent))),
    )
    title = f"A message of {MESSAGE_RESULTS} Observations, report and patient, beside the same as a batch"
    target = Target(2, at_most=True)
    return await judged(title, pair, target, status=b"200", connections=MESSAGES_AT_ONCE, **stage.times())


async def compare_feeds(stage: Stage, service: Server, token: str) -> Sequence[Contender]:
    """An HL7 v2 result beside the same as a FHIR message."""
    pair = feeds.contenders(service, BASE.removeprefix("/fhir/R4/"), token)
    times = stage.times()
    return await judged(feeds.TITLE, pair, feeds.TARGET, status=b"200", connections=MESSAGES_AT_ONCE, **times)


async def compare_sizes(stage: Stage) -> Sequence[Contender]:
    """A patient's reports in a large store beside a small one on one mongod. Last: it fills the cache."""
    options, uri, each = stage.options, stage.mongod.uri, stage.options.each
    patients, sites = SMALL_REPORTS // each, -(-options.large // SMALL_REPORTS)
    small_token, large_token = stage.token(SMALL_DATABASE), stage.token(LARGE_DATABASE)
    small = stage.service("small", DOD_MONGODB_DATABASE=SMALL_DATABASE)
    large = stage.service("large", DOD_MONGODB_DATABASE=LARGE_DATABASE)
    first = stores.site_name(0)
    made = stores.patients_of_site(first, patients=patients, each=each)
    await stores.push_all(small, small_token, made)
    filled = stores.multiply(uri, source=SMALL_DATABASE, target=LARGE_DATABASE, sites=sites)
    last = sites - 1
    theirs = search("patient", patients - 1, large_token, stores.site_name(last))
    ours = search("patient", patients - 1, small_token, first)
    await verify_same(large, small, theirs, ours, renamed=lambda answer: stores.renamed(answer, last))
    size = f"{filled.data_bytes / GIB:.1f} GiB and {filled.index_bytes / GIB:.1f} GiB of indexes"
    show([f"Large store: {filled.documents:,} documents, {size}, filled in {filled.seconds:.0f} s"])
    all_sites = [one for site in range(sites) for one in everybody(patients, stores.site_name(site))]
    everyone: list[Contender] = []
    for connections, share, ratio in ((1, 0.5, None), (MODEST, 1, 1.3), (options.searchers, 0.5, None)):
        pair = tuple(
            Contender(
                f"{size:,} reports",
                server,
                searches("patient", whom, token, requests=LARGE_REQUESTS),
                found_of_patient(each),
            )
            for size, server, whom, token in (
                (sites * patients * each, large, all_sites, large_token),
                (patients * each, small, everybody(patients, first), small_token),
            )
        )
        before = stores.cache_of(uri)
        everyone += await judged(
            f"Search by patient, small and large store, {connections} connection{'s'[: connections > 1]}",
            pair,
            Target(ratio, at_most=True, of_p50=True),
            status=b"200",
            connections=connections,
            **stage.times(share),
        )
        after = stores.cache_of(uri)
        used = f"{after.used / GIB:.1f} of {after.most / GIB:.1f} GiB in use"
        read = f"{after.pages_read - before.pages_read:,} pages read into it meanwhile"
        print(f"  mongod's cache: {used}, {read}", flush=True)
    return everyone


def everybody(patients: int, site: str = "") -> list[tuple[str, int]]:
    """The patients of a site, as they are asked for."""
    return [(site, number) for number in range(patients)]


async def judged(
    title: str,
    pair: tuple[Contender, ...],
    target: Target,
    **asking: Any,  # noqa: ANN401 (handed on to `compare`)
) -> tuple[Contender, ...]:
    """Measure two in turn and print their table."""
    first, second = pair
    await compare((first, second), **asking)
    show(rows(title, (first, second), target))
    return pair


def show(lines: list[str]) -> None:
    """Print a block of the table as soon as it is known."""
    print("\n" + "\n".join(lines), flush=True)


def heading(options: argparse.Namespace, on: Cores, uri: str) -> list[str]:
    """On what this was measured."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
    with MongoClient[dict[str, Any]](uri) as client:
        version = client.server_info()["version"]
        average = client[DATABASE].command("collStats", "resources")["avgObjSize"]
    pinned = "pinned: servers on one core, mongod and load on the rest" if on.server else "not pinned"
    cpu = models[0] if models else platform.machine()
    load = os.getloadavg()[0]
    stored_as = f"{options.each} of each patient, {average:,} bytes stored on average"
    modules = "compiled" if servers.is_compiled() else "not compiled"
    return [
        f"{cpu}, {os.cpu_count()} cores ({pinned}), load average {load:.1f}",
        f"Python {platform.python_version()} ({modules}), MongoDB {version}, its cache {options.cache:g} GiB",
        f"{options.reports:,} reports, {stored_as}",
        f"{options.rounds} rounds of {options.seconds:g} s, A B B A; medians, in parentheses the extremes",
    ]


if __name__ == "__main__":
    asyncio.run(main())
