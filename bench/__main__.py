"""`make bench`: this service beside a floor, in one run on one embedded mongod, over loopback.

How to read it is in `docs/performance.md`. The exit code says whether it ran, not whether targets were met.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import random
import re
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson
from pymongo import MongoClient

from bench import floor, reports, servers
from bench.load import END_OF_HEAD, ask_once, head, post
from bench.rounds import Contender, Target, busiest, compare, rows
from store.mongo.embedded import embedded

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.servers import Cores, Server
    from store.mongo.embedded import Embedded

TENANT: Final = "Bench/Production"
BASE: Final = f"/fhir/R4/{TENANT}"
FORM: Final = "application/x-www-form-urlencoded"
FHIR: Final = "application/fhir+json"
BATCH_ENTRIES: Final = 500
REQUESTS: Final = 2_000
"""Search requests made beforehand, each for a random patient, sent round and round."""
SEED: Final = 2026
ONE_WRITE_PER_PUSH: Final = {"DOD_COMMIT_OPERATIONS_MAX": "1", "DOD_COMMIT_PARALLEL": "16"}
"""Each push is a write of its own, as many at once as there are driver threads for."""
VOLATILE: Final = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=X-Request-Id: )[0-9a-f]{32}"
    rb"|(?<=Date: )[^\r]+|(?<=Last-Modified: )[^\r]+|(?<=\"lastUpdated\":\")[^\"]+"
)
"""What differs from one answer to the next: ids, moments."""


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
    parser.add_argument(
        "--no-pin", action="store_true", help="leave the processes where the kernel puts them"
    )
    return parser.parse_args()


async def main() -> None:
    """Start everything, measure, print, end everything."""
    options = arguments()
    started = time.monotonic()
    on = servers.cores(pin=not options.no_pin)
    if on.others:
        os.sched_setaffinity(0, on.others)  # mongod inherits it.
    with tempfile.TemporaryDirectory(prefix="dod-bench-") as directory:
        place = Path(directory)
        async with embedded(place / "data", role="serve") as mongod:
            await run(options, mongod, place, on)
    print(f"\n{time.monotonic() - started:.0f} s in all")


async def run(options: argparse.Namespace, mongod: Embedded, place: Path, on: Cores) -> None:
    """All comparisons on a running mongod."""
    uri = mongod.uri
    servers.dod("tenant", "create", TENANT, uri=uri)
    token = servers.dod("token", "issue", "--tenant", TENANT, "--scope", "system/*.cruds", uri=uri)
    with ExitStack() as stack:
        service = stack.enter_context(servers.service(mongod, place / "service.log", on))
        patients = await fill(service, options, token)
        copy_to_floor(uri)
        least = stack.enter_context(servers.floor(mongod, place / "floor.log", on, workers=options.searchers))
        print("\n".join(heading(options, on, uri)), flush=True)
        await verify_same(service, least, token)
        by_patient = (
            Contender("service", service, searches("patient", patients, token), found(options.each)),
            Contender("floor: one find", least, searches("patient", patients, token), found(options.each)),
        )
        by_chain = (
            Contender(
                "patient.identifier=", service, searches("chain", patients, token), found(options.each)
            ),
            Contender("subject=", service, searches("subject", patients, token), found(options.each)),
        )
        asking = {"status": b"200", "connections": options.searchers, **times(options)}
        await compare(by_patient, **asking)
        show(rows(f"Search by patient, {options.searchers} connections", by_patient, Target(0.6, 0.75)))
        await compare(by_chain, **asking)
        title = f"Search by the patient's identifier, {options.searchers} connections"
        show(rows(title, by_chain, Target(1.2, at_most=True)))

        # The same service with the group commit taken away: what it is worth.
        log = place / "alone.log"
        alone = stack.enter_context(servers.service(mongod, log, on, **ONE_WRITE_PER_PUSH))
        pushing = (
            Contender("service", service, pushes(patients, token, "4"), stored),
            Contender("one write per push", alone, pushes(patients, token, "5"), stored),
        )
        await compare(pushing, status=b"201", connections=options.pushers, **times(options))
        title = f"Single-report pushes, {options.pushers} in flight, beside the same without group commit"
        show(rows(title, pushing, Target(1.5, 2.5)))

        # A floor of its own for pushes: as many driver threads as pushes in flight.
        writer = stack.enter_context(servers.floor(mongod, place / "writer.log", on, workers=options.pushers))
        await verify_same_push(service, writer, token)
        bare = (
            Contender("service", service, pushes(patients, token, "1"), stored),
            Contender("floor: one bare insert", writer, pushes(patients, token, "2"), stored),
        )
        await compare(bare, status=b"201", connections=options.pushers, **times(options))
        title = f"Single-report pushes, {options.pushers} in flight, beside an insert of unread bytes"
        show(rows(title, bare, Target(0.6)))
        everyone = [*by_patient, *by_chain, *pushing, *bare]
        print(f"\nThe load generator took at most {busiest(everyone):.0%} of a core.")


def times(options: argparse.Namespace) -> dict[str, Any]:
    """How long and how often."""
    return {"seconds": options.seconds, "rounds": options.rounds}


def show(lines: list[str]) -> None:
    """Print a block of the table as soon as it is known."""
    print("\n" + "\n".join(lines), flush=True)


def heading(options: argparse.Namespace, on: Cores, uri: str) -> list[str]:
    """On what this was measured."""
    models = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="ascii"))
    with MongoClient[dict[str, Any]](uri) as client:
        version = client.server_info()["version"]
        average = client["dod"].command("collStats", "resources")["avgObjSize"]
    pinned = "pinned: servers on one core, mongod and load on the rest" if on.server else "not pinned"
    cpu = models[0] if models else platform.machine()
    load = os.getloadavg()[0]
    stored_as = f"{options.each} of each patient, {average:,} bytes stored on average"
    return [
        f"{cpu}, {os.cpu_count()} cores ({pinned}), load average {load:.1f}",
        f"Python {platform.python_version()}, MongoDB {version}, {options.reports:,} reports, {stored_as}",
        f"{options.rounds} rounds of {options.seconds:g} s, A B B A; medians, in parentheses the extremes",
    ]


# --- data


async def fill(service: Server, options: argparse.Namespace, token: str) -> int:
    """Push patients and reports through the service; gives the number of patients."""
    patients = max(int(options.reports / options.each), 1)
    made = (reports.patient(number) for number in range(patients))
    pushed = (reports.report(number, number % patients) for number in range(options.reports))
    everything = itertools.chain(made, pushed)
    while resources := list(itertools.islice(everything, BATCH_ENTRIES)):
        body = reports.batch(resources)
        answer = await ask_once(service.port, post(BASE, body, media_type=FHIR, token=token))
        assert answer.count(b"201 Created") == len(resources), answer[:2000]
    return patients


def copy_to_floor(uri: str) -> None:
    """The same bytes in the floor's own collection, copied within mongod."""
    with MongoClient[dict[str, Any]](uri) as client:
        fields = {"_id": "$id", "patient": {"$first": "$index.patient"}, "when": "$when.lo", "raw": 1}
        client["dod"]["resources"].aggregate(
            [
                {"$match": {"type": "DiagnosticReport"}},
                {"$project": fields},
                {"$out": {"db": floor.DATABASE, "coll": floor.COLLECTION}},
            ]
        )


# --- requests


def searches(kind: str, patients: int, token: str) -> Callable[[], bytes]:
    """Searches for random patients."""
    chosen = random.Random(SEED).choices(range(patients), k=REQUESTS)
    endless = itertools.cycle([search(kind, number, token) for number in chosen])
    return endless.__next__


def search(kind: str, number: int, token: str) -> bytes:
    """One search for one patient."""
    reference = f"Patient/{reports.patient_id(number)}"
    form = {
        "patient": f"patient={reference}",
        "subject": f"subject={reference}",
        "chain": f"patient.identifier={quote(f'{reports.PATIENT_SYSTEM}|{reports.mrn(number)}')}",
    }[kind]
    path = f"{BASE}/DiagnosticReport/_search"
    return post(path, form.encode(), media_type=FORM, token=token)


def pushes(patients: int, token: str, prefix: str) -> Callable[[], bytes]:
    """Distinct reports of patients that no search asks for."""
    template = reports.Template(patients + 1)
    numbers = itertools.count(int(prefix) * 10**11)
    size = len(template.body(next(numbers)))
    start = head(f"{BASE}/DiagnosticReport", media_type=FHIR, token=token, length=size)
    return lambda: start + template.body(next(numbers))


# --- answers


def content(answer: bytes) -> bytes:
    """The body of an answer."""
    return answer.partition(END_OF_HEAD)[2]


def found(each: int) -> Callable[[bytes], None]:
    """Whether a Bundle holds as many reports as a patient has."""

    def check(answer: bytes) -> None:
        bundle = orjson.loads(content(answer))
        assert bundle["total"] == each == len(bundle["entry"]), bundle["total"]

    return check


def stored(answer: bytes) -> None:
    """Whether a push was answered with the report."""
    report = orjson.loads(content(answer))
    assert report["meta"]["versionId"] == "1", report["meta"]


async def verify_same(service: Server, least: Server, token: str) -> None:
    """Both give the same bytes for a search, but for the Bundle's id."""
    await _same(service, least, search("patient", 0, token))


async def verify_same_push(service: Server, least: Server, token: str) -> None:
    """Both give the same bytes for a push, but for the id and the moment."""
    request = pushes(10**6, token, "3")()
    await _same(service, least, request)


async def _same(service: Server, least: Server, request: bytes) -> None:
    ours, theirs = [comparable(await ask_once(one.port, request)) for one in (service, least)]
    assert ours[0] == theirs[0], f"the floor's head differs: {ours[0]} {theirs[0]}"
    assert ours[1] == theirs[1], f"the floor's body differs: {ours[1][:2000]!r} {theirs[1][:2000]!r}"


def comparable(answer: bytes) -> tuple[list[bytes], bytes]:
    """Head lines in alphabetical order and body, without what is new in each answer."""
    lines, _, body = VOLATILE.sub(b"*", answer).partition(END_OF_HEAD)
    return sorted(lines.split(b"\r\n")), body


if __name__ == "__main__":
    asyncio.run(main())
