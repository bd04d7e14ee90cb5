"""`make bench-retention`: half of a large store is swept while searches go on; on an embedded mongod.

Printed: p99 of the searches before, meanwhile, and in turn with who sweeps stopped; documents deleted a
second; memory of who sweeps; what `dod retention compact` gives back. Half of the sites have expired;
searches ask for patients of the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel, MongoClient
from pymongo.write_concern import WriteConcern

from bench import servers, stores
from bench.answers import found_of_patient
from bench.load import measure
from bench.requests import TENANT, searches
from store.mongo.embedded import embedded
from store.mongo.indexes import INDEXES, RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.load import Measured
    from bench.servers import Server
    from store.mongo.embedded import Embedded

SOURCE: Final = "dod_source"
TARGET: Final = "dod_swept"
SITE_REPORTS: Final = 5_000
EACH: Final = 10
LEG_SECONDS: Final = 5.0
RATIO_MAX: Final = 2.0


class Swept(NamedTuple):
    """Result of a run."""

    seconds: float
    deleted: int
    legs: list[Measured]
    paused: list[Measured]
    """In turn with the others, with who sweeps stopped: the same noise of the machine, no sweep."""
    memory: list[int]
    """Resident bytes of who swept, a value for each leg."""
    cpu: tuple[float, float]
    """Processor seconds of who swept and, the searches included, of mongod."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.retention", description=__doc__)
    parser.add_argument("--reports", type=int, default=100_000, help="in the store [100000]; half expired")
    parser.add_argument("--connections", type=int, default=4, help="that search [4]")
    parser.add_argument("--seconds", type=float, default=30.0, help="of searching before the sweep [30]")
    parser.add_argument("--batch", type=int, default=0, help="DOD_RETENTION_BATCH; 0: its default")
    parser.add_argument("--rest", type=float, default=-1.0, help="DOD_RETENTION_REST; -1: its default")
    parser.add_argument("--cache", type=float, default=4.0, help="GiB of mongod's cache [4]")
    parser.add_argument("--minutes", type=float, default=0.0, help="of sweeping at most; 0: to the end [0]")
    parser.add_argument("--no-compact", action="store_true", help="leave the disk as it is")
    return parser.parse_args()


async def main() -> None:
    """Fill, search, sweep while searching, compact."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="dod-bench-") as directory, ExitStack() as stack:
        place = Path(directory)
        async with embedded(place / "data", role="serve", cache_gigabytes=options.cache) as mongod:
            await run(options, mongod, place, stack)


async def run(options: argparse.Namespace, mongod: Embedded, place: Path, stack: ExitStack) -> None:
    """All of it on a running mongod."""
    nowhere = servers.Cores(frozenset(), frozenset())
    quiet = {"DOD_RETENTION_INTERVAL_MINUTES": "0"}
    first, sites = stores.site_name(0), max(options.reports // SITE_REPORTS, 2)
    with servers.service(
        mongod, place / "source.log", nowhere, DOD_MONGODB_DATABASE=SOURCE, **quiet
    ) as source:
        made = stores.patients_of_site(first, patients=SITE_REPORTS // EACH, each=EACH)
        await stores.push_all(source, token_for(mongod, SOURCE), made)
    filled = multiply(mongod.uri, sites=sites)
    say(f"{filled.documents:,} documents, half of them expired, filled in {filled.seconds:.0f} s")
    token = token_for(mongod, TARGET)
    log = place / "service.log"
    service = stack.enter_context(servers.service(mongod, log, nowhere, DOD_MONGODB_DATABASE=TARGET, **quiet))
    patients = [
        (stores.site_name(site), one) for site in range(1, sites, 2) for one in range(SITE_REPORTS // EACH)
    ]
    ask = searches("patient", patients, token, requests=20_000)

    async def leg(seconds: float) -> Measured:
        done = await measure(
            service.port, ask, status=b"200", connections=options.connections, seconds=seconds
        )
        assert not done.failures
        for answer in done.sample:
            found_of_patient(EACH)(answer)
        return done

    await leg(LEG_SECONDS)
    before = [await leg(LEG_SECONDS) for _ in range(max(int(options.seconds / LEG_SECONDS), 1))]
    show("before", before, service)
    swept = await sweep_meanwhile(options, mongod, leg)
    show("meanwhile", swept.legs, service)
    show("paused", swept.paused, service)
    for name, others in (("before", before), ("paused", swept.paused)):
        ratio = p99(swept.legs) / p99(others)
        verdict = "PASS" if ratio <= RATIO_MAX else "FAIL"
        say(f"p99 meanwhile / {name}: {ratio:.2f} {verdict} (target <= {RATIO_MAX:g})")
    rate, memory = (
        swept.deleted / swept.seconds,
        ", ".join(f"{one / 1e6:.0f}" for one in evenly(swept.memory)),
    )
    say(f"deleted {swept.deleted:,} in {swept.seconds:.0f} s: {rate:,.0f} documents/s")
    own, mongods = (seconds / swept.deleted * 1e6 for seconds in swept.cpu)
    say(
        f"processor time a document: {own:.0f} us of who swept, {mongods:.0f} us of mongod, searches included"
    )
    say(f"memory of who swept: {memory} MB")
    show("afterwards", [await leg(LEG_SECONDS)], service)
    if not options.no_compact:
        started = time.monotonic()
        say(servers.dod("retention", "compact", uri=mongod.uri, DOD_MONGODB_DATABASE=TARGET))
        say(f"compacted in {time.monotonic() - started:.0f} s")


async def sweep_meanwhile(options: argparse.Namespace, mongod: Embedded, leg: Any) -> Swept:  # noqa: ANN401
    """`dod retention run` in a process of its own, as the service of role `jobs` does it."""
    settings = {"DOD_MONGODB_URI": mongod.uri, "DOD_MONGODB_DATABASE": TARGET}
    if options.batch:
        settings["DOD_RETENTION_BATCH"] = str(options.batch)
    if options.rest >= 0:
        settings["DOD_RETENTION_REST"] = str(options.rest)
    command = [sys.executable, "-c", servers.COMMAND_LINE, "retention", "run", "--json"]
    with subprocess.Popen(  # noqa: ASYNC220 -- it is read when it has ended
        command, env=servers.environment(**settings), cwd=servers.SERVED, stdout=subprocess.PIPE, text=True
    ) as process:
        legs, paused, memory, cpu = [], [], [], 0.0
        mongod_before, started = servers.cpu_seconds(mongod.pid), time.monotonic()
        there, ends = stored(mongod.uri), started + (options.minutes * 60 or float("inf"))
        while process.poll() is None and time.monotonic() < ends:
            legs.append(await leg(LEG_SECONDS))
            memory.append(resident(process.pid))
            if memory[-1]:
                cpu = servers.cpu_seconds(process.pid)
            if process.poll() is None:
                process.send_signal(signal.SIGSTOP)
                paused.append(await leg(LEG_SECONDS))
                process.send_signal(signal.SIGCONT)
        mongod_cpu = servers.cpu_seconds(mongod.pid) - mongod_before
        assert process.stdout is not None
        ended = process.poll() is not None
        process.terminate()  # In vain when it has ended; else it ends between two batches.
        seconds = json.loads(process.stdout.read())["seconds"] if ended else time.monotonic() - started
    # The last leg outlasts the sweep.
    known = [one for one in memory if one]
    seconds -= sum(one.seconds for one in paused)
    legs = legs[:-1] or legs if ended else legs
    return Swept(seconds, there - stored(mongod.uri), legs, paused, known, (cpu, mongod_cpu))


def stored(uri: str) -> int:
    """Documents in the store."""
    with MongoClient[dict[str, Any]](uri) as client:
        return client[TARGET][RESOURCES].estimated_document_count()


def multiply(uri: str, *, sites: int) -> stores.Filled:
    """The resources of the source for all sites: every other one expired yesterday."""
    started = time.monotonic()
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with MongoClient[RawBSONDocument](uri, document_class=RawBSONDocument) as client:
        client[SOURCE][RESOURCES].update_many({}, [{"$set": {"policy": 1, "needs": needs()}}])
        living = [bytes(one.raw) for one in client[SOURCE][RESOURCES].find({})]
        client[SOURCE][RESOURCES].update_many({}, {"$set": {"expires_at": yesterday}})
        expired = [bytes(one.raw) for one in client[SOURCE][RESOURCES].find({})]
        resources = client[TARGET].get_collection(RESOURCES, write_concern=WriteConcern(w=1))
        for site in range(sites):
            copies = (stores.renamed(one, site) for one in (expired, living)[site % 2])
            resources.insert_many([RawBSONDocument(one) for one in copies], ordered=False)
    with MongoClient[dict[str, Any]](uri) as client:
        specs = [spec for spec in INDEXES if spec.collection == RESOURCES]
        models = [IndexModel(list(spec.keys), name=spec.name, **spec.options) for spec in specs]
        client[TARGET][RESOURCES].create_indexes(models)
        client.admin.command("fsync")
        size = client[TARGET].command("collStats", RESOURCES)
    return stores.Filled(size["count"], time.monotonic() - started, size["size"], size["totalIndexSize"])


def needs() -> dict[str, Any]:
    """Needs of a report, as the service would write them under a policy."""
    return {"$setUnion": [{"$ifNull": [f"$index.{name}", []]} for name in ("subject", "result", "based-on")]}


def token_for(mongod: Embedded, database: str) -> str:
    """A tenant there, and a token for it."""
    where = {"uri": mongod.uri, "DOD_MONGODB_DATABASE": database}
    servers.dod("tenant", "create", TENANT, **where)
    return servers.dod("token", "issue", "--tenant", TENANT, "--scope", "system/*.cruds", **where)


def resident(pid: int) -> int:
    """Bytes of memory a process has now; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except (OSError, IndexError):
        return 0


def p99(legs: list[Measured]) -> float:
    """Over all of them, in milliseconds."""
    latencies = sorted(one for leg in legs for one in leg.latencies)
    return latencies[int(len(latencies) * 0.99)] * 1000


def evenly(values: list[int]) -> Iterator[int]:
    """Ten of them at most, from first to last."""
    step = max(len(values) // 10, 1)
    yield from values[::step]


def show(title: str, legs: list[Measured], service: Server) -> None:
    """A line for some legs."""
    rate = sum(len(leg.latencies) for leg in legs) / sum(leg.seconds for leg in legs)
    p50 = sorted(leg.milliseconds(0.5) for leg in legs)[len(legs) // 2]
    say(f"{title:11} {rate:8,.0f} searches/s, p50 {p50:6.1f} ms, p99 {p99(legs):6.1f} ms ({service.name})")


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
