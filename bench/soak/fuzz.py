"""`make soak-fuzz`: arbitrary bytes, header fields, JSON, HL7 v2 for half an hour, beside a healthy client.

Senders of one tenant send what `bench.soak.odd_bytes` makes, over HTTP and MLLP, whole or in pieces, and
stay, leave or break off. Another tenant's client searches and pushes at a fixed rate.

Ends with 1 when anything is answered by a 5xx but 501 (a transfer coding that is not read), when the client
has an answer other than 2xx, or when a process of the service grows.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import re
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final

from bench import feeds, servers, stores
from bench.client import Client
from bench.requests import TENANT, pushes, searches
from bench.soak.odd_bytes import mutated, request
from bench.soak.steady import held_by, verdicts
from ingest.mllp.framing import framed

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.soak.steady import Held

EVIL: Final = "Evil/Production"
ROOT: Final = f"/fhir/R4/{EVIL}"
STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")
KINDS: Final = re.compile(rb"\bM(?:SH|SA)\|[^\r]*")
NOT_READ: Final = b"501"
PIECES: Final = (1, 7, 500, 20_000, 1_000_000)
"""Bytes that are sent at once."""
WHOLE: Final = 300
"""Bytes of a request that may be sent one by one: beyond, that takes minutes."""
MLLP_PART: Final = 0.25
"""Part of the senders that speak MLLP."""
CLIENT_PAUSE: Final = 0.1
PATIENTS: Final = 50
SETTINGS: Final = {
    "DOD_BODY_SECONDS": "3",
    "DOD_HEAD_SECONDS": "2",
    "DOD_MLLP_PORT": "0",
    "DOD_MLLP_STALL_SECONDS": "3",
    "DOD_MLLP_TENANT": EVIL,
    "DOD_THROTTLE_PAUSE_SECONDS": "0.2",
}
"""Settings by which whoever stands still is let go soon, so that much is sent."""


class Seen:
    """Answers by their status or code, and those that should not have been."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    def http(self, sent: bytes, answer: bytes) -> None:
        """Look at what was answered to requests."""
        for status in STATUS.findall(answer):
            self.answers[status.decode()] += 1
            if status >= b"500" and status != NOT_READ:
                self.wrong.append(f"{sent[:300]!r}: {answer[:600]!r}")

    def mllp(self, sent: bytes, answer: bytes) -> None:
        """Look at the acknowledgments of what was sent."""
        for line in KINDS.findall(answer):
            if line.startswith(b"MSA|"):
                code = line.split(b"|")[1]
                self.answers[code.decode(errors="replace")] += 1
                if code not in (b"AA", b"AE", b"AR", b"CA", b"CE", b"CR"):
                    self.wrong.append(f"{sent[:300]!r}: {answer[:600]!r}")


async def _sent(draw: Random, port: int, data: bytes) -> bytes:
    """Send it in pieces, stay or leave; what was answered."""
    answer = b""
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            at = 0
            while at < len(data):
                size = draw.choice(PIECES if at < WHOLE else PIECES[3:])
                writer.write(data[at : at + size])
                await writer.drain()
                at += size
                if draw.random() < 0.02:
                    await asyncio.sleep(draw.random())
        if draw.random() < 0.1:
            writer.transport.abort()
            return b""
        if draw.random() < 0.5 and writer.can_write_eof():
            writer.write_eof()
        async with asyncio.timeout(draw.choice((0.2, 3, 12))):
            while more := await reader.read(65_536):
                answer += more
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
    return answer


async def over_http(draw: Random, port: int, token: str, seen: Seen, until: float) -> None:
    """Send requests, several on a connection now and then."""
    credentials = (("Authorization", f"Bearer {token}"),)
    while monotonic() < until:
        count = draw.choice((1, 1, 1, 3, 20))
        data = b"".join(request(draw, ROOT, credentials) for _ in range(count))
        with suppress(OSError, TimeoutError):
            seen.http(data, await _sent(draw, port, data))


async def over_mllp(draw: Random, port: int, seen: Seen, until: float) -> None:
    """Send messages, mostly in frames."""
    while monotonic() < until:
        messages = [
            mutated(feeds.oru(b"%012d" % draw.randrange(10**6)), draw) for _ in range(draw.choice((1, 1, 5)))
        ]
        data = b"".join(framed(one) if draw.random() < 0.8 else one for one in messages)
        with suppress(OSError, TimeoutError):
            seen.mllp(data, await _sent(draw, port, data))


async def fuzzed(
    options: argparse.Namespace, server: servers.Server, mllp: int, tokens: tuple[str, str]
) -> bool:
    """Send for so long; whether all was as it should be."""
    client, seen, start = Client(server.port), Seen(), monotonic()
    until = start + options.minutes * 60
    among = int(options.senders * MLLP_PART)
    draws = [Random(f"{options.seed}/{number}") for number in range(options.senders)]
    senders = [asyncio.ensure_future(over_mllp(draw, mllp, seen, until)) for draw in draws[:among]]
    senders += [
        asyncio.ensure_future(over_http(draw, server.port, tokens[1], seen, until)) for draw in draws[among:]
    ]
    asking = asyncio.ensure_future(_ask(client, tokens[0], until))
    minutes: list[dict[str, Held]] = []
    for minute in range(1, int(options.minutes) + 1):
        await asyncio.sleep(max(0.0, start + minute * 60 - monotonic()))
        minutes.append(held_by(server.pid))
        print(_row(minute, client, seen, minutes[-1]), flush=True)
    await asyncio.gather(asking, *senders)
    for one in seen.wrong[:10]:
        print(f"wrong: {one}", flush=True)
    told = verdicts(minutes[options.warm_up :])
    for line, holds in told:
        print(f"{'PASS' if holds else 'FAIL'} {line}", flush=True)
    print(f"{sum(seen.answers.values())} answers, {len(seen.wrong)} wrong, {client.errors} of the client's")
    return all(holds for _, holds in told) and not seen.wrong and not client.errors


async def _ask(client: Client, token: str, until: float) -> None:
    search = searches("patient", [("", one) for one in range(PATIENTS)], token)
    kinds: itertools.cycle[Callable[[], bytes]] = itertools.cycle(
        (search, search, pushes(PATIENTS, token, "1"))
    )
    asked: set[asyncio.Task[None]] = set()
    while monotonic() < until:
        task = asyncio.ensure_future(client.ask(next(kinds)(), perf_counter()))
        asked.add(task)
        task.add_done_callback(asked.discard)
        await asyncio.sleep(CLIENT_PAUSE)
    if asked:
        await asyncio.wait(asked)


def _mllp_port(log: Path) -> int:
    """The port that was taken for MLLP, as the service's log says."""
    lines = map(json.loads, log.read_text(encoding="utf-8").splitlines())
    return next(int(line["address"].rpartition(":")[2]) for line in lines if "listener" in line)


def _row(minute: int, client: Client, seen: Seen, held: dict[str, Held]) -> str:
    latencies, client.latencies = sorted(client.latencies), []
    p50, p99 = (latencies[int(len(latencies) * part)] if latencies else 0.0 for part in (0.5, 0.99))
    roles = "  ".join(f"{n} {one.megabytes:.0f} MB {one.descriptors} fd" for n, one in sorted(held.items()))
    counts = " ".join(f"{name}:{count}" for name, count in sorted(seen.answers.items()))
    wrong = f"{client.errors} errors, {len(seen.wrong)} wrong"
    return f"{minute:4} p50 {p50:.0f} p99 {p99:.0f} ms, {wrong}  {roles}  {counts}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make soak-fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--warm-up", type=int, default=5, help="minutes whose memory is not judged [5]")
    parser.add_argument("--senders", type=int, default=24)
    parser.add_argument("--seed", default="1")
    return parser.parse_args()


async def main() -> None:
    """Fill, fuzz, judge."""
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="dod-fuzz-") as folder:
        async with servers.database(cache_gigabytes=0.5) as (mongod, _, on):
            made = servers.token(TENANT, uri=mongod.uri), servers.token(EVIL, uri=mongod.uri)
            log = Path(folder) / "service.log"
            with servers.service(mongod, log, on, **SETTINGS) as server:
                await stores.push_all(server, made[0], stores.patients_with_reports(400, PATIENTS))
                holds = await fuzzed(options, server, _mllp_port(log), made)
    sys.exit(not holds)


if __name__ == "__main__":
    asyncio.run(main())
