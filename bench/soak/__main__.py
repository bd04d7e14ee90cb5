"""`make soak-service`: everything at once at a fixed rate for an hour, memory and descriptors each minute.

One service on an embedded mongod. Each second, times `--rate`: searches by patient, by identifier and with
`_include`, reads of the change feed, pushes of reports and messages, HL7 v2, what is refused, and reports
that have expired as they come, which a sweep each minute deletes; now and then a large body. A subscriber
hears of every report. Each search's answer is looked at: it must be of the patient that was asked for.

Ends with 1 when a process of the service grows, or when anything was answered as it should not be.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from aiohttp import web

from bench import feeds, reports, servers, stores
from bench.answers import found_of_patient
from bench.client import Client
from bench.load import END_OF_HEAD, ask_once, head, post
from bench.requests import BASE, FHIR, TENANT, bundles, pushes, searches
from bench.soak.steady import Held, held_by, verdicts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SWEPT: Final = "Swept/Production"
"""Tenant whose reports have expired when they come."""
PATIENTS: Final = 500
EACH: Final = 4
RESULTS: Final = 3
SETTINGS: Final = {
    "DOD_RETENTION_INTERVAL_MINUTES": "1",
    "DOD_SUBSCRIPTION_NETWORKS": "127.0.0.0/8",
    "DOD_DEAD_LETTERS_MAX": "1000",
}
TOPIC: Final = "urn:data-on-demand:topic:DiagnosticReport"
BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
LARGE: Final = 200
"""Reports of a batch that is a large body."""


class Kind(NamedTuple):
    """Requests of a kind, so many a second."""

    name: str
    rate: float
    make: Callable[[], bytes]
    status: bytes
    check: Callable[[bytes], None] | None = None


class Watching(Client):
    """A client that says what was answered wrongly, and keeps the latencies of a minute."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.wrong: list[str] = []
        self.asked = 0

    async def told(self, kind: Kind, due: float) -> None:
        """Ask, and look at the answer."""
        answer = await self.answer(kind.make(), due)
        self.asked += 1
        try:
            status = answer.split(b" ", 2)[1:2]
            assert status == [kind.status], answer[:300]
            if kind.check is not None:
                kind.check(answer)
        except (AssertionError, KeyError, ValueError) as error:
            self.wrong.append(f"{kind.name}: {error!r}"[:400])

    def minute(self) -> list[float]:
        """Latencies since the last look, sorted."""
        seen, self.latencies = sorted(self.latencies), []
        return seen


def kinds(token: str, swept: str) -> list[Kind]:
    """All kinds; the rates are those of `--rate 1`, in parts of a second."""
    everyone = [("", number) for number in range(PATIENTS)]
    expired = reports.Template(0)
    numbers = itertools.count(10**11)
    size = len(expired.body(0))
    start = head(f"/fhir/R4/{SWEPT}/DiagnosticReport", media_type=FHIR, token=swept, length=size)
    refused = post(
        f"{BASE}/DiagnosticReport", b'{"resourceType":"DiagnosticReport"}', media_type=FHIR, token=token
    )
    panel, large = reports.as_message(reports.result_of_a_panel(12)), reports.many(LARGE, PATIENTS + 1)
    oru = feeds.pushes(f"{TENANT}/$hl7v2", feeds.oru(b"%012d" % 0), token, "application/hl7-v2")
    changes = _get(f"{BASE}/$changes", token)
    recent = _get(
        f"{BASE}/DiagnosticReport?_lastUpdated=ge2026-01-01&_sort=-_lastUpdated&_total=none&_count=5", token
    )
    by_patient = found_of_patient(EACH)
    return [
        Kind("search", 0.25, searches("patient", everyone, token), b"200", by_patient),
        Kind("search once", 0.05, _once(searches("patient", everyone, token)), b"200", by_patient),
        Kind("chain", 0.15, searches("chain", everyone, token), b"200"),
        Kind(
            "include",
            0.10,
            searches("include", everyone, token),
            b"200",
            found_of_patient(EACH, included=EACH * RESULTS),
        ),
        Kind("newest", 0.05, lambda: recent, b"200"),
        Kind("changes", 0.05, lambda: changes, b"200"),
        Kind("push", 0.15, pushes(PATIENTS, token, "1"), b"201"),
        Kind("message", 0.04, bundles(panel, token, "2", f"{BASE}/$process-message"), b"200"),
        Kind("HL7 v2", 0.03, oru, b"200"),
        Kind("refused", 0.02, lambda: refused, b"422"),
        Kind("expired", 0.10, lambda: start + expired.body(next(numbers)), b"201"),
        Kind("large", 0.002, bundles(large, token, "3"), b"200"),
    ]


def _get(path: str, token: str) -> bytes:
    lines = f"GET {path} HTTP/1.1\r\nHost: {servers.HOST}\r\nAuthorization: Bearer {token}\r\n\r\n"
    return lines.encode()


def _once(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """The same on a connection that is closed behind the answer."""
    return lambda: make().replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[int]]]:
    """A subscriber's receiver: its URL, and a list with the number of notifications."""
    heard = [0]

    async def hear(request: web.Request) -> web.Response:
        await request.read()
        heard[0] += 1
        return web.Response()

    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/", hear)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", heard
    finally:
        await runner.cleanup()


async def subscribe(server: servers.Server, token: str, url: str) -> None:
    """Subscribe to every report."""
    content = {"extension": [{"url": f"{BACKPORT}backport-payload-content", "valueCode": "id-only"}]}
    channel = {"type": "rest-hook", "endpoint": url, "payload": FHIR, "_payload": content}
    asked = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "soak",
        "criteria": TOPIC,
        "channel": channel,
    }
    answer = await ask_once(
        server.port, post(f"{BASE}/Subscription", orjson.dumps(asked), media_type=FHIR, token=token)
    )
    assert b" 201 " in answer.partition(END_OF_HEAD)[0][:20], answer[:2000]


def row(minute: int, client: Watching, held: dict[str, Held], heard: int) -> str:
    """A minute as a line."""
    seen = client.minute()
    p50, p99 = (seen[min(int(len(seen) * part), len(seen) - 1)] if seen else 0.0 for part in (0.5, 0.99))
    roles = "  ".join(
        f"{role} {one.megabytes:.1f} MB {one.descriptors} fd" for role, one in sorted(held.items())
    )
    return f"{minute:4} {len(seen):7} {len(client.wrong):6} {p50:7.0f} {p99:7.0f} {heard:7}  {roles}"


async def soaked(
    options: argparse.Namespace, server: servers.Server, all_kinds: list[Kind], heard: list[int]
) -> bool:
    """Ask for so long, print each minute; whether all was as it should be."""
    client, start, minutes = Watching(server.port), perf_counter(), []
    print(
        f"{'min':>4} {'asked':>7} {'wrong':>6} {'p50':>7} {'p99 ms':>7} {'heard':>7}  processes", flush=True
    )

    async def asking(kind: Kind) -> None:
        tasks: set[asyncio.Task[None]] = set()
        for number in range(int(options.minutes * 60 * kind.rate * options.rate)):
            due = start + number / kind.rate / options.rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            task = asyncio.ensure_future(client.told(kind, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)

    asks = asyncio.gather(*map(asking, all_kinds))
    for minute in range(1, int(options.minutes) + 1):
        await asyncio.sleep(max(0.0, start + minute * 60 - perf_counter()))
        minutes.append(held_by(server.pid, server.mongod))
        print(row(minute, client, minutes[-1], heard[0]), flush=True)
    await asks
    for told in client.wrong[:20]:
        print(f"wrong: {told}", flush=True)
    said = verdicts(minutes[options.warm_up :])
    for line, holds in said:
        print(f"{'PASS' if holds else 'FAIL'} {line}", flush=True)
    return all(holds for _, holds in said) and not client.wrong


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make soak-service", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-up", type=int, default=15, help="minutes that are not judged [15]")
    parser.add_argument("--rate", type=float, default=60.0, help="requests a second [60]")
    parser.add_argument("--workers", default="", help="DOD_WORKERS; without, one process")
    return parser.parse_args()


async def main() -> None:
    """Fill, soak, judge."""
    options = arguments()
    settings: dict[str, Any] = {**SETTINGS, **({"DOD_WORKERS": options.workers} if options.workers else {})}
    with tempfile.TemporaryDirectory(prefix="dod-soak-") as folder:
        async with servers.database(cache_gigabytes=0.5) as (mongod, _, on), receiver() as (url, heard):
            token = servers.token(TENANT, uri=mongod.uri)
            swept = servers.token(SWEPT, uri=mongod.uri)
            policy = ("retention", "set", SWEPT, "--keep-days", "1", "--counted-from", "effective")
            servers.dod(*policy, uri=mongod.uri)
            servers.dod("tenant", "create", TENANT, "--search-scope", "any", uri=mongod.uri)
            with servers.service(mongod, Path(folder) / "service.log", on, **settings) as server:
                made = stores.patients_with_results("", patients=PATIENTS, each=EACH, results=RESULTS)
                await stores.push_all(server, token, made)
                await subscribe(server, token, url)
                holds = await soaked(options, server, kinds(token, swept), heard)
    sys.exit(not holds)


if __name__ == "__main__":
    asyncio.run(main())
